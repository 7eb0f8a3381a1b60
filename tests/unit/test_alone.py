"""A text alone: whichever way is faster now, and the other one now and then."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from bentos.text_labels import alone, answers
from bentos.text_labels.alone import EVERY, Alone


class Clock:
    """Passes when a way is asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds = {"one": 0.005, "all": 0.003}
        self.asked: Counter[str] = Counter()

    def say(self, way: Any, texts: list[str]) -> str:
        self.asked[way] += 1
        self.now += self.seconds[way] * (1 + len(texts[0]) / 50)
        return f"{way} {texts[0]}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(answers, "say", made.say)
    monkeypatch.setattr(alone.time, "perf_counter", lambda: made.now)
    return made


def of(*ways: str) -> Alone:
    return Alone(*ways)  # type: ignore[arg-type]


def test_the_faster_way_answers_and_the_other_is_tried_now_and_then(clock: Clock):
    both = of("one", "all")
    said = [both.say("a") for _ in range(2 + 10 * EVERY)]
    assert said[:3] == ["one a", "all a", "all a"]
    assert clock.asked["one"] == 1 + 10


def test_a_neighbour_that_comes_and_goes_turns_it_around(clock: Clock):
    both = of("one", "all")

    def share(count: int) -> float:
        clock.asked.clear()
        for _ in range(count):
            both.say("a")
        return clock.asked["all"] / count

    assert share(400) > 0.9
    clock.seconds["all"] = 0.009
    assert share(20) < 0.8  # a few texts tell
    assert share(400) < 0.1
    clock.seconds["all"] = 0.003
    share(32 * EVERY)  # it is asked seldom now, so this takes longer to see
    assert share(400) > 0.9


def test_texts_of_all_lengths_are_compared(clock: Clock):
    both = of("one", "all")
    both.say("a")
    both.say("a" * 1000)  # takes longer than the short one, and is sooner done than on one thread
    assert both.say("b") == "all b"


def test_warming_up_asks_every_way_and_says_nothing_of_their_speed(clock: Clock):
    both = of("one", "all")
    clock.seconds["all"] = 1.0
    both.warm_up("a")
    clock.seconds["all"] = 0.003
    assert clock.asked == {"one": 1, "all": 1}
    assert [both.say("a") for _ in range(3)] == ["one a", "all a", "all a"]


def test_a_single_way_is_always_asked(clock: Clock):
    only = of("one")
    assert {only.say("a") for _ in range(3 * EVERY)} == {"one a"}
