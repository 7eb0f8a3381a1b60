"""Copies of requests to another release: nobody waits for them, and there are never many.

A copy has the purpose ``shadow``: the service logs it, and keeps it apart from traffic.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from gateway.meters import METERS
from gateway.ports import Backend, Call, Reply, Unreachable

#: Of one product, under way at once; more are dropped and counted.
MOST = 16
#: After this nobody wants to know what the copy was answered.
COPY_SECONDS = 5.0

#: Told the answer, None where there was none, and the milliseconds it took.
Done = Callable[[Reply | None, float], None]


class Mirror:
    """Sends copies.

    Args:
        backend: Reaches releases.
        most: See `MOST`.
    """

    def __init__(self, backend: Backend, most: int = MOST) -> None:
        self._backend, self._most = backend, most
        self._under_way: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def copy(self, call: Call, version: str, done: Done) -> bool:
        """Send a copy of a request to a release.

        Args:
            call: As it goes to whoever answers it.
            version: Release that sees the copy.
            done: Called once, after this returned, unless it was dropped.

        Returns:
            Whether it was sent.
        """
        dropped = METERS.bound("assay_mirror_dropped_total", product=call.product)  # 0 is said, too
        if self._under_way[call.product] >= self._most:
            dropped.inc()
            return False
        METERS.inc("assay_mirror_total", product=call.product)
        self._under_way[call.product] += 1
        asked = call.asked._replace(purpose="shadow", deadline=time.monotonic() + COPY_SECONDS)
        sent = self._send(call._replace(version=version, asked=asked), done)
        task = asyncio.create_task(sent)
        self._tasks.add(task)  # the loop itself keeps no task
        task.add_done_callback(self._tasks.discard)
        return True

    async def _send(self, call: Call, done: Done) -> None:
        begun, reply = time.monotonic_ns(), None
        try:
            reply = await self._backend.ask(call)
        except Unreachable:
            pass
        finally:
            self._under_way[call.product] -= 1
        done(reply, (time.monotonic_ns() - begun) / 1e6)
