"""Answers said again: what is kept how long, for whom, and one computation for all who ask."""

import asyncio

import pytest

from bentos.cache import Cache, Found, tiers
from bentos.lru import ENTRY_BYTES, Memory
from gateway.errors import StartError
from models.contracts.api import rankings, texts
from models.registry import get

TEXTS, FILMS = get("moderation/text_toxicity"), get("recommendation/films")
KEYS = [bytes([number]) * 16 for number in range(5)]


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Meters:
    """Counts as the process's would, without it."""

    def __init__(self):
        self.counted, self.bytes = {}, 0

    def inc(self, name, n=1, **labels):
        assert name == "assay_cache_total"
        assert labels.pop("product") == "p"
        key = labels["tier"], labels["result"]
        self.counted[key] = self.counted.get(key, 0) + n

    def set(self, name, value, **labels):
        assert (name, labels) == ("assay_cache_bytes", {"tier": "memory"})
        self.bytes = value


class Model:
    """Says the place and how often it was asked; can wait, and fail."""

    def __init__(self):
        self.asked, self.gate, self.fault = [], None, None

    async def __call__(self, places):
        self.asked.append(list(places))
        number = len(self.asked)
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return [f"{place}:{number}".encode() for place in places]


def cache(most=100_000, seconds=900.0, clock=None):
    meters = Meters()
    return Cache("p", "v1", seconds, Memory(most, clock or Clock()), meters=meters), meters


def row(product, **given):
    module = {"text_labels": texts, "ranked_items": rankings}[product.contract]
    return module.row_model(product)(**given)


def test_memory_is_bounded_in_bytes_and_the_least_recently_used_goes():
    memory = Memory(3 * (ENTRY_BYTES + 10))
    for key in KEYS[:3]:
        memory.put(key, b"0123456789", 9.0)
    assert memory.get(KEYS[0]) is not None
    memory.put(KEYS[3], b"0123456789", 9.0)
    assert [memory.get(key) is not None for key in KEYS] == [True, False, True, True, False]
    assert (len(memory), memory.bytes) == (3, 3 * (ENTRY_BYTES + 10))
    memory.put(KEYS[4], b"x" * (ENTRY_BYTES + 20), 9.0)  # takes the place of two
    assert [memory.get(key) is not None for key in KEYS] == [False, False, False, True, True]
    memory.put(KEYS[3], b"", 9.0)
    assert memory.bytes == 3 * ENTRY_BYTES + 20
    memory.put(KEYS[3], b"x" * 3 * ENTRY_BYTES, 9.0)
    assert memory.get(KEYS[3]) is None, "larger than everything may be"
    assert memory.get(KEYS[4]) is not None


def test_an_answer_ends():
    clock = Clock()
    memory = Memory(10_000, clock)
    memory.put(KEYS[0], b"a", 900.0)
    clock.now += 899.9
    assert memory.get(KEYS[0]) == b"a"
    clock.now += 0.1
    assert memory.get(KEYS[0]) is None
    assert (len(memory), memory.bytes) == (0, 0)


def test_what_was_said_is_said_again_and_copies_within_a_request_are_computed_once():
    async def run():
        one, meters = cache()
        model = Model()
        first = await one.once([KEYS[0], KEYS[1], KEYS[0], None, None], model)
        assert model.asked == [[0, 1, 3, 4]]
        assert first == Found([b"0:1", b"1:1", b"0:1", b"3:1", b"4:1"], 1)
        part = await one.once([KEYS[2], KEYS[1]], model)
        assert part == Found([b"0:2", b"1:1"], 1)
        again = await one.once([KEYS[0], KEYS[1], KEYS[2]], model)
        assert again == Found([b"0:1", b"1:1", b"0:2"], 3)
        assert [found.state for found in (first, part, again)] == ["part", "part", "hit"]
        assert (await one.once([None], model)).state == "miss"
        assert meters.counted == {("memory", "hit"): 4, ("memory", "miss"): 7}
        assert meters.bytes == 3 * (ENTRY_BYTES + 3)
        assert await one.get([KEYS[0], KEYS[4]]) == [b"0:1", None]

    asyncio.run(run())


def test_who_asks_the_same_at_once_waits_for_one_computation():
    async def run():
        one, _ = cache()
        model = Model()
        model.gate = asyncio.Event()
        asking = [asyncio.create_task(one.once([key], model)) for key in (*KEYS[:2], *KEYS[:2])]
        mixed = asyncio.create_task(one.once([KEYS[0], KEYS[2]], model))
        await asyncio.sleep(0)
        assert model.asked == [[0], [0], [1]]
        model.gate.set()
        found = await asyncio.gather(*asking)
        assert [one.values for one in found] == [[b"0:1"], [b"0:2"], [b"0:1"], [b"0:2"]]
        assert [one.hits for one in found] == [0, 0, 1, 1]
        assert await mixed == Found([b"0:1", b"1:3"], 1)

    asyncio.run(run())


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_who_waited_for_a_request_that_ended_badly_computes_itself(how):
    async def run():
        one, _ = cache()
        model = Model()
        model.gate = asyncio.Event()
        leader = asyncio.create_task(one.once([KEYS[0]], model))
        await asyncio.sleep(0)
        follower = asyncio.create_task(one.once([KEYS[1], KEYS[0]], model))
        await asyncio.sleep(0)
        assert model.asked == [[0], [0]]
        if how == "cancelled":
            leader.cancel()
        else:
            model.fault = ArithmeticError("this request's")
        model.gate.set()
        with pytest.raises(asyncio.CancelledError if how == "cancelled" else ArithmeticError):
            await leader
        assert await follower == Found([b"0:2", b"1:3"], 0)
        assert await one.once([KEYS[0]], model) == Found([b"1:3"], 1), "it is kept"

    asyncio.run(run())


def test_a_follower_that_leaves_disturbs_nobody():
    async def run():
        one, _ = cache()
        model = Model()
        model.gate = asyncio.Event()
        leader, follower, other = (asyncio.create_task(one.once([KEYS[0]], model)) for _ in "abc")
        await asyncio.sleep(0)
        follower.cancel()
        await asyncio.sleep(0)
        model.gate.set()
        assert (await leader).values == (await other).values == [b"0:1"]
        assert model.asked == [[0]]

    asyncio.run(run())


def test_a_fault_is_not_kept():
    async def run():
        one, _ = cache()
        model = Model()
        model.fault = ArithmeticError("once")
        with pytest.raises(ArithmeticError):
            await one.once(KEYS[:2], model)
        assert await one.once(KEYS[:2], model) == Found([b"0:2", b"1:2"], 0)

    asyncio.run(run())


def test_a_key_is_of_release_tenant_and_row_and_of_nothing_else():
    memory = Memory(1000)
    one = Cache("p", "v1", 9.0, memory)
    asked = {"tenant": "acme", "text": "hello"}
    same = one.key(row(TEXTS, **asked))
    assert len(same) == 16
    assert same == one.key(row(TEXTS, **asked, event_id="e", event_time="2026-01-31T12:00:00Z"))
    others = [
        one.key(row(TEXTS, **asked, context="there")),
        one.key(row(TEXTS, tenant="other", text="hello")),
        one.key(row(TEXTS, tenant="acme", text="hello ")),
        Cache("p", "v2", 9.0, memory).key(row(TEXTS, **asked)),
        Cache("q", "v1", 9.0, memory).key(row(TEXTS, **asked)),
        Cache("pv", "1", 9.0, memory).key(row(TEXTS, **asked)),
    ]
    assert len({same, *others}) == 7


def test_rankings_are_kept_by_user_and_algorithm_but_not_with_an_own_history():
    one = Cache("p", "v1", 9.0, Memory(1000))
    asked = {"tenant": "acme", "user": "u1"}
    keys = {
        one.key(row(FILMS, **asked, **more))
        for more in ({}, {"algorithm": "ease"}, {"k": 5}, {"seen": True}, {"exclude": ["i1"]})
    }
    assert len(keys) == 5
    assert None not in keys
    assert one.key(row(FILMS, **asked, history=["i1"])) is None
    assert one.key(row(FILMS, **asked, history=[])) == one.key(row(FILMS, **asked))


def test_how_much_is_kept_is_set_by_the_environment():
    memory, redis = tiers({})
    assert (memory.most_bytes, redis) == (64_000_000, None)
    off, _ = tiers({"ASSAY_CACHE_MB": "0"})
    off.put(KEYS[0], b"a", 9.0)
    assert off.get(KEYS[0]) is None
    with pytest.raises(StartError, match=r"is '1\.5'; give whole megabytes"):
        tiers({"ASSAY_CACHE_MB": "1.5"})


def test_products_that_keep_answers():
    """Rankings for 900 s, by user and algorithm; rows of numbers take less than asking would."""
    kept = {key: get(key).serving.cache_s for key in ("risk/sync_conflict", TEXTS.key, FILMS.key)}
    assert kept == {"risk/sync_conflict": 0.0, TEXTS.key: 900.0, FILMS.key: 900.0}
