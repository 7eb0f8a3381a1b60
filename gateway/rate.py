"""How fast a key may ask: the generic cell rate algorithm (GCRA), in memory or in Redis.

GCRA (ITU-T I.371) keeps one number a key: when its account will be level again. A request of
``cost`` rows moves it by ``cost / rate`` seconds and is let through while it lies at most
``burst / rate`` seconds ahead. A request larger than the burst waits for a level account and then
goes into debt, so it is slow and not impossible.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from gateway.redis_store import RedisStore

#: Redis' own clock, so that routers on several machines agree; times as text, or Lua cuts them.
_SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local cost, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local level = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local wait = level + (math.min(cost, burst) - burst) / rate - now
if wait > 0.000001 then return string.format('%.6f', wait) end
level = level + cost / rate
redis.call('SET', KEYS[1], string.format('%.6f', level), 'PX', math.ceil((level - now) * 1000) + 1)
return '0'
"""


class Rates(Protocol):
    """Accounts by key."""

    async def take(self, key: str, cost: int, rate: float, burst: int) -> float:
        """Take ``cost`` rows from a key's account.

        Args:
            key: Id of the key.
            cost: Rows, at least 1.
            rate: Rows a second.
            burst: Rows at once.

        Returns:
            0 when they were taken, else the seconds after which they can be.
        """
        ...


class MemoryRates:
    """Accounts of this process; as many as there are keys."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._level: dict[str, float] = {}

    async def take(self, key: str, cost: int, rate: float, burst: int) -> float:
        """See `Rates`."""
        now = self._clock()
        level = max(now, self._level.get(key, now))
        wait = level + (min(cost, burst) - burst) / rate - now
        if wait > 1e-6:
            return wait
        self._level[key] = level + cost / rate
        return 0.0


class RedisRates:
    """Accounts that several processes share.

    Args:
        store: Where they lie.
        own: This process's, while Redis does not answer.
    """

    def __init__(self, store: RedisStore, own: Rates | None = None) -> None:
        self._store, self._own = store, own or MemoryRates()

    async def take(self, key: str, cost: int, rate: float, burst: int) -> float:
        """See `Rates`."""
        given = (f"assay:rate:{key}", cost, rate, burst)
        said = await self._store.ask(lambda client: client.eval(_SCRIPT, 1, *given))
        if said is None:
            return await self._own.take(key, cost, rate, burst)
        return float(said)
