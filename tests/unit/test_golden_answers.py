"""How a service's answers are held to the offline ones, for each kind of answer."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stores.golden import TOLERANCE, TOLERANCE_FLOAT32, compare


def ranked(*pairs: tuple[str, float]) -> dict[str, Any]:
    return {"items": [{"item": item, "score": score} for item, score in pairs]}


def apart(served: dict[str, Any], offline: Any) -> float:
    return compare(served, offline)[1]


def test_a_probability_is_compared_as_a_number():
    assert compare({"probability": 0.25}, 0.75) == (0.25, 0.5, TOLERANCE)
    for wrong in ({"probability": math.nan}, {"probability": "0.5"}, {"probability": True},
                  {"probability": None}, {}):  # fmt: skip
        assert apart(wrong, 0.5) == math.inf


def test_labels_are_compared_by_name_and_unknown_is_not_zero():
    offline = {"a": 0.5, "b": None}
    assert compare({"labels": {"b": None, "a": 0.25}}, offline)[1:] == (0.25, TOLERANCE_FLOAT32)
    for wrong in ({"a": 0.5}, {"a": 0.5, "b": 0.0}, {"a": None, "b": None},
                  {"a": 0.5, "b": None, "c": 0.1}, {"a": math.nan, "b": None}, None):  # fmt: skip
        assert apart({"labels": wrong}, offline) == math.inf


def test_another_order_is_as_far_off_as_the_scores_that_changed_places():
    served = ranked(("a", 3.0), ("b", 2.0), ("c", 1.5))
    assert apart(served, ["a", "b", "c"]) == 0.0
    assert apart(served, ["a", "c", "b"]) == 0.25  # (2 - 1.5) / 2
    assert apart(ranked(("a", 1000.0), ("b", 1000.001)), ["b", "a"]) == pytest.approx(
        1e-6, rel=1e-3
    )


@pytest.mark.parametrize("offline", [["a", "b"], ["a", "b", "d"], ["a", "b", "c", "d"], []])
def test_other_items_are_another_answer(offline: list[str]):
    assert apart(ranked(("a", 3.0), ("b", 2.0), ("c", 1.5)), offline) == math.inf


def test_no_items_are_an_answer_too():
    assert apart({"items": []}, []) == 0.0
