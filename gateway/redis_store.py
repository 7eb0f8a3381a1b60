"""A Redis that may be slow or gone: whoever asks it goes on without.

Belongs here: the limit on its time, and leaving it alone for a while. Does not belong here: what is
kept there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

_LOG = logging.getLogger("assay.redis")


class RedisStore:
    """One process's connections to Redis.

    Args:
        url: ``redis://`` address.
        seconds: A longer answer counts as none.
        failures: So many in a row, and it is left alone for ``pause`` seconds.
        pause: See ``failures``.
        clock: Monotonic clock.
    """

    def __init__(
        self,
        url: str,
        seconds: float = 0.02,
        failures: int = 5,
        pause: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._client: Any = Redis.from_url(
            url, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0)
        )
        self._seconds, self._most, self._pause, self._clock = seconds, failures, pause, clock
        self._failed, self._off_until, self._counted = 0, 0.0, -math.inf

    @property
    def resting(self) -> bool:
        """Whether it failed too often to be asked now."""
        return self._clock() < self._off_until

    async def ask(self, call: Callable[[Any], Awaitable[T]]) -> T | None:
        """What a call on the client gives; None where it failed, was too slow, or is not asked.

        Args:
            call: Takes the ``redis.asyncio.Redis``.
        """
        if self.resting:
            return None
        asking = asyncio.ensure_future(call(self._client))
        asking.add_done_callback(_heard)
        # not cancelled when it is late: a connection that is never finished would be late for ever
        done, _ = await asyncio.wait({asking}, timeout=self._seconds)
        error = asking.exception() if done else TimeoutError()
        if error is not None:
            self._note(error)
            return None
        self._failed = 0
        return asking.result()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _note(self, error: BaseException) -> None:
        """Count a failure; answers that are late at the same time, as when all connect, are one."""
        if isinstance(error, TimeoutError):
            if self._clock() < self._counted + self._seconds:
                return
            self._counted = self._clock()
        self._failed += 1
        if self._failed >= self._most:
            self._failed, self._off_until = 0, self._clock() + self._pause
            # its message may hold the address, and that a password
            _LOG.warning("Redis fails (%s): left out for %.0f s", type(error).__name__, self._pause)


def _heard(asked: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more; what went wrong was counted."""
    if not asked.cancelled():
        asked.exception()
