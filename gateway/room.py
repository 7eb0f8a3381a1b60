"""Requests to one release that are under way, and those that wait for their turn.

More at once than a release answers would only wait there, unseen. What waits here is counted, so
that who comes when it is too much is sent away at once instead of answered late. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.ports import Shed
from models.contracts.traffic import Purpose

#: Estimated wait from which on a request is sent away, as before a model.
LONGEST_WAIT = 2.0
#: Weight of the newest answer in the average time of one.
_NEWEST = 0.1


class Room:
    """Places for requests.

    Args:
        places: Requests under way at once.
        longest_wait: See `LONGEST_WAIT`, in seconds.
    """

    def __init__(self, places: int, longest_wait: float = LONGEST_WAIT) -> None:
        self._places, self._longest = places, longest_wait
        self._free = asyncio.Semaphore(places)
        self._waiting, self._took = 0, 0.0

    @property
    def wait_seconds(self) -> float:
        """How long a request that comes now would probably wait."""
        return self._waiting * self._took / self._places

    def check(self, seconds: float, purpose: Purpose) -> None:
        """Let a request wait, or not.

        Args:
            seconds: That are left for its answer.
            purpose: Golden requests may always wait, copies half as long as others.

        Raises:
            Shed: So much waits that it would probably be late.
        """
        most = min(self._longest, max(0.0, seconds) / 2)
        if purpose != "golden" and self.wait_seconds > (most / 2 if purpose == "shadow" else most):
            raise Shed(max(1, math.ceil(self.wait_seconds)))

    async def enter(self) -> None:
        """Wait for a place; `leave` gives it back."""
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place that was entered, and how long it is taken."""
        began = time.monotonic()
        try:
            yield
            took = time.monotonic() - began
            self._took += _NEWEST * (took - self._took) if self._took else took
        finally:
            self._free.release()
