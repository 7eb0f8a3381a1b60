"""A first look in eight bits changes no answer: its errors are bounded, and few items are left."""

import numpy as np
import pytest

from models.contracts.learner import Query
from models.core.ranking import factored, screen
from models.core.ranking.content import Content
from models.core.ranking.ials import Ials, Weights
from models.core.ranking.recommender import CatalogueRecommender
from models.core.ranking.screen import Screen, products
from tests.unit.ranking_sample import rows_of

ITEMS, FACTORS, USERS = 3000, 24, 12


def table(kind: str) -> np.ndarray:
    """Item factors, some of them hard: of very unequal lengths, many alike, few directions."""
    generator = np.random.default_rng(3)
    drawn = generator.normal(size=(ITEMS, FACTORS))
    made = {
        "alike in length": drawn,
        "unequal in length": drawn * generator.lognormal(0, 3, (ITEMS, 1)),
        "many the same, many zero": drawn[generator.integers(0, 40, ITEMS)]
        * (generator.random((ITEMS, 1)) < 0.7),
        "one large factor each": drawn**9,
        "tiny": drawn * 1e-12,
    }
    return made[kind].astype(np.float32)


KINDS = ["alike in length", "unequal in length", "many the same, many zero",
         "one large factor each", "tiny"]  # fmt: skip


def in_full(items, query, k, left_out=()):
    """The answer by the definition: every item's product, a stable sort."""
    scores = products(items, query)
    scores[list(left_out)] = -np.inf
    order = np.argsort(-scores, kind="stable")
    best = order[np.isfinite(scores[order])][:k]
    return best.tolist(), scores[best].tolist()


def test_two_items_by_hand():
    """Of (2, 0), in steps of 2/127, and (1, 0), in steps of 1/63: 127 x 63 of both steps are 2."""
    found = Screen(np.float32([[2, 0], [-1, 1]])).estimates(np.float32([[1, 0]]))
    assert found.scores[0] == pytest.approx([2, -1], abs=1e-6)
    best, scores = found.best(0, 2)
    assert (best.tolist(), scores.tolist()) == ([0, 1], [2, -1])


@pytest.mark.parametrize("kind", KINDS)
def test_no_estimate_is_further_off_than_its_bound(kind):
    items, queries = table(kind), np.random.default_rng(4).normal(size=(8, FACTORS))
    queries[1] *= 1e-6
    queries[2, 1:] = 0
    found = Screen(items).estimates(queries.astype(np.float32))
    true = queries.astype(np.float32).astype(float) @ items.T.astype(float)
    off = np.abs(found.scores - true)
    assert (off <= found.lengths @ found.screen.losses).all()
    # and the bound is no empty one: a few hundredths of what the product could be
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(items, axis=1)
    assert (found.lengths @ found.screen.losses <= 0.06 * lengths).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_are_those_of_all_items_scored_in_full(kind):
    items = table(kind)
    queries = np.random.default_rng(5).normal(size=(10, FACTORS)).astype(np.float32)
    left_out = np.random.default_rng(6).choice(ITEMS, 500, replace=False)
    for k in (1, 10, 100, ITEMS + 5):
        found = Screen(items).estimates(queries)
        found.scores[:, left_out] = -np.inf
        for row, query in enumerate(queries):
            best, scores = found.best(row, k)
            assert (best.tolist(), scores.tolist()) == in_full(items, query, k, left_out)


def test_few_items_are_scored_in_full(monkeypatch):
    scored = []
    monkeypatch.setattr(
        screen, "products", lambda items, query: scored.append(len(items)) or products(items, query)
    )
    queries = np.random.default_rng(7).normal(size=(20, FACTORS)).astype(np.float32)
    found = Screen(table("alike in length")).estimates(queries)
    for row in range(20):
        found.best(row, 10)
    assert max(scored) < 0.02 * ITEMS


def test_the_largest_whole_numbers_do_not_overflow():
    """On processors that add in sixteen bits they would, were a query's numbers above 127."""
    signs = np.where(np.random.default_rng(8).random((300, 64)) < 0.5, -1, 1).astype(np.float32)
    signs[0], query = 1, np.ones((1, 64), np.float32)
    assert Screen(signs).estimates(query).scores[0] == pytest.approx(signs.sum(axis=1), abs=1e-4)


def test_a_query_of_zeros_leaves_the_order_of_the_catalogue():
    found = Screen(table("alike in length")).estimates(np.zeros((1, FACTORS), np.float32))
    best, scores = found.best(0, 3)
    assert (best.tolist(), scores.tolist()) == ([0, 1, 2], [0, 0, 0])


def test_factors_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="diverged"):
        Screen(np.float32([[1, np.nan]]))


def recommenders():
    generator = np.random.default_rng(9)
    pairs = [(user, int(item)) for user in range(USERS) for item in generator.integers(0, ITEMS, 9)]
    rows = rows_of(pairs, USERS, ITEMS)
    lengths = np.linalg.norm(items := table("alike in length"), axis=1, keepdims=True)
    return {
        "ials": CatalogueRecommender.of(rows, {"m": Ials(items / 5, Weights(0.3, 0.007, 1.0))}),
        "content": CatalogueRecommender.of(rows, {"m": Content(items / lengths, 50.0)}),
    }


QUERIES = [
    *(Query(f"u{user}") for user in range(USERS)),
    Query("u1", k=100, history=("i4", "i5"), seen=True),
    Query("u2", exclude=frozenset({"i1", "i2"}), only=frozenset(f"i{n}" for n in range(900))),
    Query("u3", only=frozenset({"i7", "i8"})),
    Query(None, history=("i9",)),
    Query(None),
]


@pytest.mark.parametrize("name", ["ials", "content"])
def test_a_recommender_answers_the_same_with_and_without(name, monkeypatch):
    plain = recommenders()[name].recommend(QUERIES)
    monkeypatch.setattr(factored, "_LARGE", 0)
    first = recommenders()[name].recommend(QUERIES)
    for ours, theirs in zip(first, plain, strict=True):
        assert ours._replace(scores=()) == theirs._replace(scores=())
        assert ours.scores == pytest.approx(theirs.scores, rel=1e-4, abs=1e-6)


def test_a_query_alone_gets_the_very_answer_it_gets_among_others(monkeypatch):
    monkeypatch.setattr(factored, "_LARGE", 0)
    made = recommenders()["content"]
    assert made.recommend(QUERIES) == tuple(made.recommend([query])[0] for query in QUERIES)


def test_a_first_look_is_for_large_tables_of_factors_only(monkeypatch):
    made = recommenders()["ials"].members["m"]
    asked = np.array([0]), [np.array([1, 2])]
    assert isinstance(factored.scored(made, *asked), factored.Plain)
    monkeypatch.setattr(factored, "_LARGE", made.items.size)
    assert isinstance(factored.scored(made, *asked), screen.Estimates)
