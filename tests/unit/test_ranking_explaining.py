"""Why an item was recommended: shares by hand, and what is said where there are none."""

from dataclasses import dataclass

import numpy as np
import pytest

from models.contracts.learner import Query
from models.core.ranking import explaining
from models.core.ranking.content import Content
from models.core.ranking.ease import Ease
from models.core.ranking.explaining import explain, refusal
from models.core.ranking.ials import Ials, Weights
from models.core.ranking.popularity import Popularity
from models.core.ranking.recommender import CatalogueRecommender
from tests.unit.ranking_sample import rows_of

#: u0 had i0, then i1; u1 had i1; nobody had i2 or i3.
ROWS = rows_of([(0, 0), (1, 1), (0, 1)], 2, 4)
WEIGHTS = np.zeros((4, 4), np.float32)
WEIGHTS[0, 2], WEIGHTS[1, 2], WEIGHTS[1, 3] = 0.3, -0.1, 0.05
EASE = Ease(WEIGHTS)


@dataclass(frozen=True)
class Squared:
    """The score of an item is the square of the sum of a history's numbers, each plus one."""

    reads: tuple[str, ...] = ("user", "history")
    liked_only: bool = False
    kind: str = "svdpp"

    def score(self, users, histories):
        del users
        sums = [float(np.sum(history + 1)) ** 2 for history in histories]
        return np.tile(np.float32(sums)[:, None], (1, 4))


@dataclass(frozen=True)
class Looking(Squared):
    """Its attention is on the newest three places; two blocks of one head."""

    reads: tuple[str, ...] = ("history",)
    kind: str = "sasrec"

    def attention(self, history):
        del history
        return np.float32([[[0.2, 0.3, 0.5]], [[0.4, 0.1, 0.5]]])


def why(member, method="history", name="first", **query):
    model = CatalogueRecommender.of(ROWS, {name: member})
    asked = Query(**{"user": "u0", **query})
    (ranking,) = model.recommend([asked])
    found = explain(model, asked, ranking, method)
    assert [one.item for one in found] == list(ranking.items)[:10]
    return {one.item: one for one in found}


def shares(explanation):
    return {part.item: pytest.approx(part.share, abs=1e-6) for part in explanation.parts}


def test_a_sum_of_weights_is_divided_by_them():
    found = why(EASE)
    assert shares(found["i2"]) == {"i0": 0.75, "i1": -0.25}
    assert shares(found["i3"]) == {"i1": 1.0}
    assert found["i2"].method == "sum"
    assert shares(why(EASE, history=("i3",))["i2"]) == {"i0": 0.75, "i1": -0.25}


def test_nothing_of_the_history_says_something():
    found = why(Ease(np.zeros((4, 4), np.float32)))
    assert all(one.parts == [] for one in found.values())


def test_of_factors_every_item_of_the_history_adds_some():
    """One factor of 1, 2, 3, 0: left is 1 + 4, half of 1 + 4 + 9, and the penalty 1: 13."""
    items = np.float32([[1], [2], [3], [0]])
    member = Ials(items, Weights(unobserved_weight=0.5, penalty=1.0, penalty_exponent=0.0))
    parts = member.parts(np.array([0, 1]))
    np.testing.assert_allclose(parts, [[1 / 13], [2 / 13]], rtol=1e-6)
    np.testing.assert_allclose(parts.sum(0), member.users([np.array([0, 1])])[0], rtol=1e-6)
    assert shares(why(member)["i2"]) == {"i0": 1 / 3, "i1": 2 / 3}
    # met twice it is observed once
    again = member.parts(np.array([1, 0, 1]))
    np.testing.assert_allclose(again.sum(0), parts.sum(0), rtol=1e-6)


def test_of_a_profile_newer_items_are_more():
    """The older one counts half: 0.5 of cosine 0.6, and 1 of cosine 0.8."""
    member = Content(np.float32([[1, 0], [0, 1], [0.6, 0.8], [0, 0]]), 1.0, liked_only=False)
    assert shares(why(member)["i2"]) == {"i1": 8 / 11, "i0": 3 / 11}
    history = np.array([0, 1])
    np.testing.assert_allclose(member.parts(history).sum(0), member.users([history])[0], rtol=1e-6)
    # i0, i1, i0: 0.25 and 1 of cosine 0.6, 0.5 of cosine 0.8
    found = why(member, user=None, history=("i0", "i1", "i0"))["i2"]
    assert shares(found) == {"i0": 0.75 / 1.15, "i1": 0.4 / 1.15}


def test_others_fall_when_an_item_is_left_out():
    """(1 + 2)^2 is 9; without the first 4 are left, without the second 1."""
    found = why(Squared())["i2"]
    assert shares(found) == {"i1": 8 / 13, "i0": 5 / 13}
    assert found.method == "left_out"
    assert "without the item" in found.note


def test_attention_is_shown_as_a_hint():
    found = why(Looking(), "attention", history=("i2",))["i3"]
    assert shares(found) == {"i2": 0.5, "i0": 0.3, "i1": 0.2}
    assert found.method == "attention"
    assert "hint only" in found.note
    assert why(Looking())["i3"].method == "left_out"


def test_a_long_history_is_weighed_by_its_newest_and_few_are_named(monkeypatch):
    monkeypatch.setattr(explaining, "WEIGHED", 1)
    found = why(Squared())["i2"]
    assert shares(found) == {"i1": 1.0}
    assert found.note.endswith("; shares of the newest 1 of 2 items")
    monkeypatch.setattr(explaining, "EXPLAINED", 1)
    monkeypatch.setattr(explaining, "WEIGHED", 50)
    monkeypatch.setattr(explaining, "NAMED", 1)
    (only,) = explain_all(Squared())
    assert [part.item for part in only.parts] == ["i1"]


def explain_all(member):
    model = CatalogueRecommender.of(ROWS, {"first": member})
    return explain(model, Query("u0"), model.recommend([Query("u0")])[0])


def test_what_comes_from_no_history_says_so():
    for found in (why(Popularity(np.ones(4, np.float32))), why(EASE, user="nobody")):
        assert {(one.method, len(one.parts)) for one in found.values()} == {("none", 0)}
        assert all("same ranking for everybody" in one.note for one in found.values())


def test_who_cannot_be_explained_and_who_can():
    members = {"own": Squared(reads=("user",)), "ease": EASE, "deep": Looking()}
    model = CatalogueRecommender.of(ROWS, members)
    assert refusal(model, "ease", "history") is None
    assert refusal(model, "deep", "attention") is None
    said = refusal(model, None, "history")
    assert said == "own knows users, not what they had to do with; ask ease, deep"
    assert refusal(model, "ease", "attention") == "ease has no attention; ask deep"
    alone = CatalogueRecommender.of(ROWS, {"ease": EASE})
    assert refusal(alone, None, "attention") == "ease has no attention; take method history"
