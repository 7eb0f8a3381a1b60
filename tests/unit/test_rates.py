"""The rate of a key: GCRA by hand computation, in memory and in a really started Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from gateway.rate import MemoryRates, RedisRates
from gateway.redis_store import RedisStore
from tests.unit import redis_server


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def take(rates: MemoryRates, cost: int, rate: float = 10.0, burst: int = 20) -> float:
    return round(asyncio.run(rates.take("k", cost, rate, burst)), 6)


def test_a_burst_then_the_rate():
    clock = Clock()
    rates = MemoryRates(clock)
    assert [take(rates, 5) for _ in range(4)] == [0, 0, 0, 0]
    assert take(rates, 1) == 0.1  # 20 rows are out; the 21st has its turn 1/10 s later
    assert take(rates, 5) == 0.5
    clock.now += 0.5
    assert take(rates, 5) == 0
    clock.now += 100  # a pause saves up the burst and no more
    assert take(rates, 20) == 0
    assert take(rates, 1) == 0.1


def test_what_is_refused_costs_nothing():
    clock = Clock()
    rates = MemoryRates(clock)
    assert take(rates, 20) == 0
    assert [take(rates, 10) for _ in range(5)] == [1.0] * 5
    clock.now += 1
    assert take(rates, 10) == 0


def test_more_than_a_burst_waits_for_a_level_account_and_is_paid_afterwards():
    clock = Clock()
    rates = MemoryRates(clock)
    assert take(rates, 50) == 0
    assert take(rates, 50) == 5.0  # until 50 rows are paid
    clock.now += 5
    assert take(rates, 1) == 0


def test_in_the_long_run_it_is_the_rate():
    clock = Clock()
    rates = MemoryRates(clock)

    async def let_through() -> int:
        let = 0
        for _ in range(10_000):
            clock.now += 0.01
            let += await rates.take("k", 3, 10, 20) == 0
        return let

    # 100 s at 10 rows a second and one burst of 20
    assert 1_000 <= 3 * asyncio.run(let_through()) <= 1_023


def test_accounts_are_apart():
    rates = MemoryRates(Clock())
    assert asyncio.run(rates.take("a", 20, 10, 20)) == 0
    assert asyncio.run(rates.take("b", 20, 10, 20)) == 0


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    port = redis_server.free_port()
    with redis_server.running(port):
        yield f"redis://127.0.0.1:{port}/0"


def test_two_processes_share_an_account_in_redis(redis_url: str):
    async def scene() -> list[float]:
        one, other = RedisStore(redis_url, seconds=5), RedisStore(redis_url, seconds=5)
        rates = RedisRates(one), RedisRates(other)
        try:
            # one row a minute: what the clock does meanwhile is no matter
            waits = [await rates[n % 2].take("shared", 1, 1 / 60, 4) for n in range(6)]
            return [*waits, await rates[0].take("another", 10, 1 / 60, 4)]
        finally:
            await one.close()
            await other.close()

    *shared, another = asyncio.run(scene())
    assert shared[:4] == [0] * 4
    assert all(50 < wait <= 60 for wait in shared[4:])
    assert another == 0


def test_without_redis_the_process_counts_itself():
    pytest.importorskip("redis")

    async def scene() -> list[float]:
        store = RedisStore("redis://127.0.0.1:1/0")
        rates = RedisRates(store)
        try:
            return [await rates.take("k", 1, 1 / 60, 2) for _ in range(4)]
        finally:
            await store.close()

    waits = asyncio.run(scene())
    assert waits[:2] == [0, 0]
    assert all(50 < wait <= 60 for wait in waits[2:])
