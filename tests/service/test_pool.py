"""Rows of many requests computed together, by hand-made models that note what they are asked."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from bentos.pool import Pool
from gateway.ports import Late, Shed

SLOW = 0.02


class Model:
    """Says the length of a text; a call waits while the gate is closed."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[tuple[list[str], bool]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.seconds = seconds
        self.most = 10**9
        self.busy, self.together = 0, 0

    def __call__(self, texts: Sequence[str], alone: bool) -> list[int]:
        self.busy += 1
        self.together = max(self.together, self.busy)
        self.calls.append((list(texts), alone))
        try:
            self.gate.wait(5)
            time.sleep(self.seconds)
            if len(texts) > self.most:
                raise OutOfMemoryError
            if "bad" in texts:
                raise ValueError("bad")
            return [len(text) for text in texts]
        finally:
            self.busy -= 1


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@contextmanager
def pool(model: Model, lanes: int = 1, rows: int = 4, wait: float = 2.0) -> Iterator[Pool]:  # type: ignore[type-arg]
    made: Pool[str, int] = Pool(lanes, rows, model, len, longest_wait=wait, product="a/b")
    try:
        yield made
    finally:
        model.gate.set()
        made.close()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_row_that_comes_alone_is_asked_at_once_and_has_all_cores():
    model = Model()
    with pool(model, lanes=2) as asked:
        assert asyncio.run(asked.run(["abc"])) == [3]
        assert model.calls == [(["abc"], True)]
        assert asyncio.run(asked.run(["a", "bb"])) == [1, 2]
        assert not any(alone for _, alone in model.calls[1:])


def test_two_requests_of_one_row_that_are_asked_together_are_not_alone():
    model = Model()
    with pool(model) as asked:
        model.gate.clear()
        held = asked.submit(["hold"])
        until(lambda: len(model.calls) == 1)
        waiting = [asked.submit(["a"]), asked.submit(["b"])]
        model.gate.set()
        for one in (held, *waiting):
            one.result()
    assert model.calls[1:] == [(["a", "b"], False)]


def test_rows_of_several_requests_are_asked_together_and_go_back_to_their_own():
    model = Model()
    with pool(model, rows=4) as asked:
        model.gate.clear()
        first = asked.submit(["x"])
        until(lambda: len(model.calls) == 1)
        others = [asked.submit(["a" * n, "b" * n]) for n in (1, 2, 3)]
        model.gate.set()
        assert first.result() == [1]
        assert [one.result() for one in others] == [[1, 1], [2, 2], [3, 3]]
    assert [len(texts) for texts, _ in model.calls] == [1, 4, 2]


def test_a_large_request_is_split_and_a_batch_is_never_larger_than_allowed():
    model = Model()
    with pool(model, lanes=2, rows=4) as asked:
        texts = ["x" * n for n in range(30)]
        assert asyncio.run(asked.run(texts)) == list(range(30))
    assert max(len(texts) for texts, _ in model.calls) == 4


def test_few_rows_are_shared_between_the_lanes():
    model = Model(SLOW)
    with pool(model, lanes=2, rows=32) as asked:
        asyncio.run(asked.run(["a"] * 8))
    assert model.together == 2
    assert max(len(texts) for texts, _ in model.calls) == 4


def test_rows_of_like_length_are_asked_together_and_the_oldest_is_always_next():
    model = Model()
    with pool(model, rows=2) as asked:
        model.gate.clear()
        held = asked.submit(["hold"])
        until(lambda: len(model.calls) == 1)
        lengths = [100, 1, 101, 2, 99, 3]
        waiting = [asked.submit(["x" * n]) for n in lengths]
        model.gate.set()
        assert [one.result() for one in (held, *waiting)] == [[4], *([n] for n in lengths)]
    asked_lengths = [sorted(len(text) for text in texts) for texts, _ in model.calls[1:]]
    assert asked_lengths == [[100, 101], [1, 2], [3, 99]]


def test_a_row_whose_time_is_over_is_never_asked():
    model = Model()
    with pool(model) as asked:
        model.gate.clear()
        held = asked.submit(["hold"])
        until(lambda: len(model.calls) == 1)

        async def late() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SLOW):
                    await asked.run(["late"], time.monotonic() + SLOW)

        asyncio.run(late())
        gone = asked.submit(["gone"])
        gone.cancel()
        model.gate.set()
        held.result()
        assert asked.submit(["next"]).result() == [4]
    assert [texts for texts, _ in model.calls] == [["hold"], ["next"]]


def test_only_the_row_at_fault_fails():
    model = Model()
    with pool(model, rows=4) as asked:
        model.gate.clear()
        held = asked.submit(["hold"])
        until(lambda: len(model.calls) == 1)
        jobs = [asked.submit([text]) for text in ("a", "bad", "ccc", "dddd")]
        model.gate.set()
        held.result()
        assert [jobs[n].result() for n in (0, 2, 3)] == [[1], [3], [4]]
        with pytest.raises(ValueError, match="bad"):
            jobs[1].result()


def test_what_waits_too_long_is_sent_away_golden_requests_never_and_copies_first():
    model = Model(SLOW)
    with pool(model, rows=1, wait=0.5) as asked:
        asyncio.run(asked.run(["a"] * 3))  # learns what a row takes
        model.gate.clear()
        asked.submit(["a"] * 2)
        until(lambda: asked.waiting == 1)

        async def ask(purpose: str, deadline: float = math.inf) -> str:
            try:
                async with asyncio.timeout(SLOW):
                    await asked.run(["a"], deadline, purpose)
            except Shed as shed:
                return f"shed {shed.seconds}"
            except TimeoutError:
                return "waits"
            return "answered"

        def outcome(waiting: float, purpose: str, left: float = math.inf) -> str:
            asked._rows.seconds = waiting
            return asyncio.run(ask(purpose, time.monotonic() + left))

        assert outcome(0.2, "traffic") == "waits"
        assert outcome(0.6, "traffic") == "shed 1"
        assert outcome(1.6, "traffic") == "shed 2"
        assert outcome(0.3, "shadow") == "shed 1"
        assert outcome(0.2, "shadow") == "waits"
        assert outcome(9.0, "golden") == "waits"
        assert outcome(0.2, "traffic", left=0.3) == "shed 1"


def test_the_wait_is_learnt_by_length_and_gone_with_the_queue():
    model = Model(SLOW)
    with pool(model, rows=1) as asked:
        assert asked.wait_seconds == 0.0
        asyncio.run(asked.run(["a" * 200] * 2))
        model.seconds = 0.0
        asyncio.run(asked.run(["a"] * 2))
        model.gate.clear()
        asked.submit(["hold"])
        until(lambda: len(model.calls) == 5)
        asked.submit(["b" * 180] * 3)
        long = asked.wait_seconds
        assert 3 * SLOW * 0.9 < long < 3 * SLOW * 10
        asked.submit(["b"] * 3)
        assert asked.wait_seconds - long < long / 3
        model.gate.set()
        until(lambda: len(model.calls) == 11)
        assert asked.wait_seconds == 0.0


def test_what_hooks_into_the_model_runs_while_nothing_else_does():
    model = Model(SLOW)
    with pool(model, lanes=2, rows=1) as asked:
        seen: list[tuple[int, int]] = []

        def hook() -> None:
            before = len(model.calls)
            time.sleep(SLOW)
            seen.append((model.busy, len(model.calls) - before))

        jobs = [asked.submit(["a"] * 4), asked.apart(hook), asked.apart(hook)]
        jobs.append(asked.submit(["b"] * 4))
        for one in jobs:
            one.result()
    assert seen == [(0, 0)] * 2


def test_out_of_memory_makes_smaller_batches_until_it_went_well_for_long(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("bentos.pool._GOOD_BATCHES", 10)
    model = Model()
    model.most = 2
    with pool(model, rows=8) as asked:
        assert asyncio.run(asked.run(["a"] * 8)) == [1] * 8
        assert asked.batch_rows == 2
        model.most = 8
        for _ in range(20):
            asyncio.run(asked.run(["a"]))
        assert asked.batch_rows == 8


def test_a_closed_pool_leaves_nobody_waiting():
    model = Model()
    with pool(model) as asked:
        model.gate.clear()
        asked.submit(["hold"])
        until(lambda: len(model.calls) == 1)
        waiting = asked.submit(["a"])
        threading.Timer(SLOW, model.gate.set).start()
        asked.close()
        with pytest.raises(Late):
            waiting.result(1)
        with pytest.raises(Late):
            asked.submit(["b"])
