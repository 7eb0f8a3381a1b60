"""What a model said before, so that the same question is computed once.

Belongs here: keeping answers of rows, in this process and optionally in Redis, and one computation
for all who ask the same at once. Does not belong here: what an answer is; it is bytes to this
module, and never an id, a log line or a count of a request: those are new for every hit.

A key holds product, release, tenant and the row, so another release never answers from here, and
no hit tells one tenant what another asked. All of it runs on one event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from bentos.lru import Memory
from gateway.errors import StartError
from gateway.meters import METERS, Meters
from gateway.redis_store import RedisStore
from models.contracts.product import EVENT_ID, EVENT_TIME

MEGABYTES, REDIS_URL = "ASSAY_CACHE_MB", "ASSAY_REDIS_URL"
_MEGABYTES = "64"
KEY_BYTES = 16
#: Fields that say something of the request, not of what is asked.
_NOT_ASKED = {EVENT_ID, EVENT_TIME}
#: What a value in Redis begins with: its key, and when it ends in seconds since 1970. A value of
#: another key, from a connection that got out of step, is noticed.
_HEAD = struct.Struct(f"<{KEY_BYTES}sd")
_PREFIX = b"assay:said:"

#: Computes the rows at these places of a request, in their order.
Make = Callable[[Sequence[int]], Awaitable[Sequence[bytes]]]


class Found(NamedTuple):
    """Answers of a request's rows.

    Attributes:
        values: One per row.
        hits: Rows nothing was computed for here.
    """

    values: list[bytes]
    hits: int

    @property
    def state(self) -> Literal["hit", "part", "miss"]:
        """For the header ``x-assay-cache``."""
        if self.hits == len(self.values):
            return "hit"
        return "part" if self.hits else "miss"


class Cache:
    """What one release said.

    Args:
        product: Key of the product.
        version: Of the release.
        seconds: How long an answer holds.
        memory: This process's, shared by its releases.
        redis: Shared by processes; None for none.
        meters: Where hits are counted.
    """

    def __init__(
        self,
        product: str,
        version: str,
        seconds: float,
        memory: Memory,
        *,
        redis: RedisStore | None = None,
        meters: Meters = METERS,
    ) -> None:
        self._seconds, self._memory, self._redis = seconds, memory, redis
        self._meters, self._product = meters, product
        self._base = hashlib.blake2b(digest_size=KEY_BYTES)
        self._base.update(f"{product}\0{version}\0".encode())
        self._flying: dict[bytes, asyncio.Future[bytes | None]] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def key(self, row: BaseModel) -> bytes | None:
        """Of a validated row; None where it is not kept: a row that tells its own history.

        When and under which id it was asked does not matter; its tenant does.
        """
        if getattr(row, "history", None):
            return None
        own = self._base.copy()
        own.update(row.__pydantic_serializer__.to_json(row, exclude=_NOT_ASKED))
        return own.digest()

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What is kept of each, here or in Redis."""
        values = [self._memory.get(key) for key in keys]
        places = [place for place, value in enumerate(values) if value is None]
        self._count("memory", hit=len(keys) - len(places), miss=len(places))
        for place, value in zip(places, await self._shared([keys[p] for p in places]), strict=True):
            values[place] = value
        return values

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep answers here and in Redis."""
        self._keep(values)
        await self._share(values)

    async def once(self, keys: Sequence[bytes | None], make: Make) -> Found:
        """Answers of a request's rows; what nobody said or is computing now is computed, once.

        Args:
            keys: One per row, by ``key``; None is always computed.
            make: Asked for all rows that are missing, and again for those that another request was
                computing in vain: what went wrong there (a client that left) may be its own affair.

        Raises:
            Exception: What ``make`` raises.
        """
        values = [self._memory.get(key) if key else None for key in keys]
        missing = [place for place, value in enumerate(values) if value is None]
        self._count("memory", hit=len(keys) - len(missing), miss=len(missing))
        mine, joined = self._divide(keys, missing)
        try:
            computed = await self._lead(mine, keys, values, make)
        finally:
            self._land(mine, keys, values)
        if joined:
            await asyncio.wait({*joined.values()})  # leaves them alone when this one is cancelled
            for place, flying in joined.items():
                values[place] = flying.result()
            computed += await self._compute(
                [place for place in joined if values[place] is None], keys, values, make
            )
        return Found([value for value in values if value is not None], len(keys) - computed)

    def _divide(
        self, keys: Sequence[bytes | None], missing: Sequence[int]
    ) -> tuple[list[int], dict[int, asyncio.Future[bytes | None]]]:
        """Places this request computes, from now on for all; and places that are being computed."""
        mine, joined = [], {}
        for place in missing:
            key = keys[place]
            if key is not None and (flying := self._flying.get(key)) is not None:
                joined[place] = flying
                continue
            mine.append(place)
            if key is not None:
                self._flying[key] = asyncio.get_running_loop().create_future()
        return mine, joined

    async def _lead(
        self,
        mine: Sequence[int],
        keys: Sequence[bytes | None],
        values: list[bytes | None],
        make: Make,
    ) -> int:
        """Find the values of these places in Redis or compute them; how many were computed."""
        asked = [(place, key) for place in mine if (key := keys[place]) is not None]
        found = await self._shared([key for _, key in asked])
        for (place, _), value in zip(asked, found, strict=True):
            values[place] = value
        return await self._compute([p for p in mine if values[p] is None], keys, values, make)

    async def _compute(
        self,
        places: Sequence[int],
        keys: Sequence[bytes | None],
        values: list[bytes | None],
        make: Make,
    ) -> int:
        if not places:
            return 0
        fresh = {}
        for place, value in zip(places, await make(places), strict=True):
            values[place] = value
            if (key := keys[place]) is not None:
                fresh[key] = value
        self._keep(fresh)
        if self._redis is not None and not self._redis.resting:
            writing = asyncio.create_task(self._share(fresh))  # nobody waits for it
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
        return len(places)

    def _land(
        self,
        mine: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
    ) -> None:
        """Tell those who wait; None where the computation did not end well."""
        for place in mine:
            if (key := keys[place]) is not None:
                self._flying.pop(key).set_result(values[place])

    async def _shared(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What Redis has of each; kept here too, for the rest of its time."""
        nothing: list[bytes | None] = [None] * len(keys)
        if self._redis is None or not keys or self._redis.resting:
            return nothing
        found = await self._redis.ask(lambda client: client.mget([_PREFIX + key for key in keys]))
        if found is None:
            self._count("redis", error=len(keys))
            return nothing
        values = [self._opened(key, kept) for key, kept in zip(keys, found, strict=True)]
        hits = sum(value is not None for value in values)
        self._count("redis", hit=hits, miss=len(keys) - hits)
        return values

    def _opened(self, key: bytes, kept: bytes | None) -> bytes | None:
        if kept is None or len(kept) < _HEAD.size:
            return None
        own, ends = _HEAD.unpack_from(kept)
        left = min(ends - time.time(), self._seconds)
        if own != key or not left > 0:
            return None
        value = kept[_HEAD.size :]
        self._keep({key: value}, left)
        return value

    async def _share(self, values: Mapping[bytes, bytes]) -> None:
        if self._redis is None or not values:
            return
        ends, milliseconds = time.time() + self._seconds, max(1, round(1000 * self._seconds))

        async def write(client: Any) -> bool:
            async with client.pipeline(transaction=False) as pipe:
                for key, value in values.items():
                    pipe.set(_PREFIX + key, _HEAD.pack(key, ends) + value, px=milliseconds)
                await pipe.execute()
            return True

        if not await self._redis.ask(write):
            self._count("redis", error=len(values))

    def _keep(self, values: Mapping[bytes, bytes], seconds: float | None = None) -> None:
        for key, value in values.items():
            self._memory.put(key, value, self._seconds if seconds is None else seconds)
        self._meters.set("assay_cache_bytes", self._memory.bytes, tier="memory")

    def _count(self, tier: str, **results: int) -> None:
        for result, rows in results.items():
            if rows:
                self._meters.inc(
                    "assay_cache_total", rows, product=self._product, tier=tier, result=result
                )


def tiers(environment: Mapping[str, str] = os.environ) -> tuple[Memory, RedisStore | None]:
    """What all releases of a process share: ``ASSAY_CACHE_MB``, and ``ASSAY_REDIS_URL`` if set.

    Raises:
        StartError: The first holds no whole number.
    """
    text = environment.get(MEGABYTES, "") or _MEGABYTES
    if not text.isdecimal():
        raise StartError(f"{MEGABYTES} is {text!r}; give whole megabytes, 0 for no cache")
    url = environment.get(REDIS_URL, "")
    return Memory(int(text) * 1_000_000), RedisStore(url) if url else None
