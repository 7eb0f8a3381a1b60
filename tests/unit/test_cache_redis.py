"""The tier that processes share: another process's answers, and requests that go on without it."""

import asyncio
import logging
import struct
import time

import pytest

from bentos.cache import Cache, Found, tiers
from bentos.lru import Memory
from gateway.redis_store import RedisStore
from tests.unit import redis_server
from tests.unit.test_cache import KEYS, Clock, Meters, Model

#: Seconds for one answer of Redis here: this machine may be busy.
PATIENCE = 5.0


@pytest.fixture(scope="module")
def url():
    port = redis_server.free_port()
    with redis_server.running(port):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(autouse=True)
def _empty(request):
    if "url" in request.fixturenames:
        asyncio.run(_ask(request.getfixturevalue("url"), lambda client: client.flushall()))


async def _ask(url, call):
    store = RedisStore(url, seconds=PATIENCE)
    try:
        return await store.ask(call)
    finally:
        await store.close()


class Process:
    """A process that shares nothing but Redis."""

    def __init__(self, url, version="v1", seconds=900.0, patience=PATIENCE, **options):
        self.store, self.meters = RedisStore(url, seconds=patience, **options), Meters()
        self.memory, self.model = Memory(100_000), Model()
        self.cache = Cache("p", version, seconds, self.memory, redis=self.store, meters=self.meters)

    async def once(self, *keys):
        return await self.cache.once(keys, self.model)

    async def written(self):
        while self.cache._writing:
            await asyncio.sleep(0.005)


def test_another_process_says_what_one_computed(url):
    async def run():
        one, other = Process(url), Process(url)
        assert await one.once(*KEYS[:2]) == Found([b"0:1", b"1:1"], 0)
        await one.written()
        found = await other.once(KEYS[1], KEYS[2], KEYS[0])
        assert found == Found([b"1:1", b"1:1", b"0:1"], 2)
        assert other.model.asked == [[1]]
        assert (await other.once(*KEYS[:3])).state == "hit"
        assert other.meters.counted == {
            ("memory", "miss"): 3, ("redis", "hit"): 2, ("redis", "miss"): 1, ("memory", "hit"): 3,
        }  # fmt: skip
        await other.written()
        assert await one.cache.get([KEYS[2], KEYS[3]]) == [b"1:1", None]
        for process in (one, other):
            await process.store.close()

    asyncio.run(run())


def test_put_is_for_all_and_ends_for_all_at_the_same_time(url):
    async def run():
        one, other = Process(url, seconds=2.0), Process(url, seconds=2.0)
        began = time.time()
        await one.cache.put({KEYS[0]: b"a"})
        await asyncio.sleep(1.0)
        assert await other.cache.get([KEYS[0]]) == [b"a"]  # now kept there as well
        await asyncio.sleep(max(0.0, began + 2.1 - time.time()))
        assert await other.cache.get([KEYS[0]]) == [None], "not another two seconds"
        for process in (one, other):
            await process.store.close()

    asyncio.run(run())


def test_a_value_of_another_key_is_never_said(url):
    async def run():
        one = Process(url)
        wrong = struct.pack("<16sd", KEYS[1], time.time() + 60) + b"not yours"
        for kept in (wrong, b"short", b"x" * 24):
            await _ask(url, lambda client, kept=kept: client.set(b"assay:said:" + KEYS[0], kept))
            assert await one.cache.get([KEYS[0]]) == [None]
        await one.store.close()

    asyncio.run(run())


def test_requests_go_on_while_redis_is_gone_and_it_is_left_alone(caplog):
    port = redis_server.free_port()  # nobody listens

    async def run():
        clock = Clock()
        one = Process(f"redis://:secret@127.0.0.1:{port}", failures=3, pause=30.0, clock=clock)
        for key in KEYS[:3]:
            assert (await one.once(key)).values == [f"0:{len(one.model.asked)}".encode()]
            await one.written()
        assert one.store.resting
        errors = one.meters.counted["redis", "error"]
        await one.once(KEYS[3])
        assert one.meters.counted["redis", "error"] == errors, "it is not even asked"
        with redis_server.running(port) as server:
            clock.now += 30.0
            assert not one.store.resting
            server.kill()
        await one.store.close()

    with caplog.at_level(logging.WARNING, "assay.redis"):
        asyncio.run(run())
    assert [record.message for record in caplog.records] == [
        "Redis fails (ConnectionError): left out for 30 s"
    ]


def test_a_slow_redis_is_not_waited_for(url):
    """It answers nobody for a second; a request waits 20 ms, as it does by default."""

    async def run():
        one = Process(url, patience=0.02)
        await _ask(url, lambda client: client.execute_command("CLIENT", "PAUSE", "1000", "ALL"))
        assert await one.once(KEYS[0]) == Found([b"0:1"], 0)
        await one.written()
        assert one.meters.counted == {("memory", "miss"): 1, ("redis", "error"): 2}
        await one.store.close()

    asyncio.run(run())


def test_the_address_comes_from_the_environment(url):
    async def run():
        memory, store = tiers({"ASSAY_REDIS_URL": url, "ASSAY_CACHE_MB": "1"})
        assert memory.most_bytes == 1_000_000
        store._seconds = PATIENCE
        assert await store.ask(lambda client: client.ping()) is True
        await store.close()

    asyncio.run(run())


def test_answers_late_at_the_same_time_are_one_failure_and_are_not_cut_off():
    async def run():
        clock, ended = Clock(), []

        async def slow(_):
            await asyncio.sleep(0.05)
            ended.append(1)
            return 1

        store = RedisStore("redis://127.0.0.1:1", seconds=0.01, failures=2, clock=clock)
        assert await asyncio.gather(*(store.ask(slow) for _ in range(5))) == [None] * 5
        assert not store.resting
        clock.now += 1
        assert await store.ask(slow) is None
        assert store.resting
        await asyncio.sleep(0.1)
        assert len(ended) == 6  # a connection in the making was made
        await store.close()

    asyncio.run(run())
