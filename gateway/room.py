"""Requests to one release that are under way, and those that wait for their turn.

More at once than a release answers would only wait there, unseen. What waits here is counted, so
that who comes when it is too much is sent away at once instead of answered late. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway import shedding
from models.contracts.traffic import Purpose

#: Weight of the newest answer in the average time of one.
_NEWEST = 0.1


class Room:
    """Places for requests.

    Args:
        places: Requests under way at once.
        longest_wait: Estimated wait in seconds from which on requests are sent away.
    """

    def __init__(self, places: int, longest_wait: float = shedding.LONGEST_WAIT) -> None:
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
            purpose: See `shedding.check`.

        Raises:
            Shed: So much waits that it would probably be late.
        """
        shedding.check(self.wait_seconds, seconds, self._longest, purpose)

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
