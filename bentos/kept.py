"""A pool behind the cache: rows that were said before, and one computation of the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from bentos import kept_file
from bentos.cache import Cache, tiers
from bentos.lru import Memory
from bentos.pool import Pool
from bentos.runtime import Runtime
from gateway.asked import Asked
from gateway.redis_store import RedisStore

#: Where answers are kept while no process of a service runs; without it they are not.
FILE = "ASSAY_CACHE_FILE"

T = TypeVar("T")
R = TypeVar("R")


class Form(NamedTuple, Generic[R]):
    """How the result of one row is kept as bytes."""

    pack: Callable[[R], bytes]
    unpack: Callable[[bytes], R]


class Kept(Generic[T, R]):
    """A pool behind a cache: what was said of a row is said again while it holds.

    Args:
        runtime: Its product says for how long; 0 keeps nothing. Nor does a process without room.
        pool: Computes.
        form: Of a result.
    """

    def __init__(self, runtime: Runtime, pool: Pool[T, R], form: Form[R]) -> None:
        self._pool, self._form = pool, form
        seconds, (memory, redis) = runtime.product.serving.cache_s, process_tiers()
        product, version = runtime.product.key, runtime.version
        kept = seconds and (memory.most_bytes or redis)
        self._cache = Cache(product, version, seconds, memory, redis=redis) if kept else None

    async def run(
        self, rows: Sequence[Any], items: Sequence[T], asked: Asked
    ) -> tuple[list[R], str | None]:
        """Results of a request's rows, and ``hit``, ``part`` or ``miss``; None without a cache.

        Golden requests are always computed: a wrong model must not pass with the right one's words.

        Args:
            rows: n validated rows.
            items: What the pool is asked of each.
            asked: The request.
        """
        if self._cache is None or asked.purpose == "golden":
            return await self._ask(items, asked), None

        async def make(places: Sequence[int]) -> list[bytes]:
            missing = [items[place] for place in places]
            said = await self._ask(missing, asked)
            return [self._form.pack(one) for one in said]

        found = await self._cache.once([self._cache.key(row) for row in rows], make)
        return [self._form.unpack(value) for value in found.values], found.state

    async def _ask(self, items: Sequence[T], asked: Asked) -> list[R]:
        return await self._pool.run(items, asked.deadline, asked.purpose, asked.trace)


@lru_cache(1)
def process_tiers() -> tuple[Memory, RedisStore | None]:
    """Where the releases of this process keep what they said.

    Raises:
        StartError: See ``bentos.cache.tiers``.
    """
    return tiers()


def take_over(worker: int = 0) -> None:
    """Keep what the former process of this service kept, before anybody asks.

    Args:
        worker: Number of the worker, each of which has its own file.
    """
    if path := _file(worker):
        kept_file.take(path, process_tiers()[0])


def hand_on(worker: int = 0) -> None:
    """Write down what is kept, for the next process of this service."""
    if path := _file(worker):
        kept_file.save(path, process_tiers()[0])


def _file(worker: int) -> Path | None:
    """None where nobody names one, nothing is kept, or Redis outlives the process anyway."""
    memory, redis = process_tiers()
    name = os.environ.get(FILE, "")
    return Path(f"{name}.{worker}") if name and memory.most_bytes and redis is None else None
