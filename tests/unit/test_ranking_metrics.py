"""Ranking metrics against published examples and values computed by hand."""

import numpy as np
import pytest
import scipy.sparse as sp

from models.core.ranking.metrics import coverage, gini, hits_of, per_user

#: The example of recommenders-team/recommenders, tests/unit/recommenders/evaluation: three users'
#: rankings, and what each rated; item ids as there.
RANKED = np.array([
    [3, 10, 12, -1, -1, -1, -1, -1, -1, -1],
    [10, 3, 5, 11, 13, -1, -1, -1, -1, -1],
    [4, 10, 7, 13, 1, 3, 5, 2, 11, 14],
])  # fmt: skip
RATED = ([1, 2, 3], [1, 4, 5, 6, 7], [2, 5, 6, 8, 9, 10, 11, 12, 13, 14])


def relevance(lists, items):
    rows = np.repeat(np.arange(len(lists)), [len(some) for some in lists])
    pairs = rows, np.concatenate(lists)
    return sp.csr_array((np.ones(len(rows), np.float32), pairs), shape=(len(lists), items))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("ndcg_at_10", 0.38172),
        ("precision_at_10", 0.26666),
        ("recall_at_10", 0.37777),
        ("map_all_at_10", 0.23613),
        ("map_at_10", 0.23613),
    ],
)
def test_published_example(name, published):
    values = per_user([name], RANKED, relevance(RATED, 15), np.ones(15))[name]
    assert values.shape == (3,)
    assert values.mean() == pytest.approx(published, abs=1e-5)


def test_by_hand_where_k_is_less_than_what_is_relevant():
    """Hits at places 1 and 3 of three, four relevant."""
    names = ("ndcg_at_3", "recall_at_3", "precision_at_3", "map_at_3", "map_all_at_3",
             "hit_rate_at_3", "hit_rate_at_1")  # fmt: skip
    ranked = np.array([[0, 5, 2, 1]])
    values = per_user(names, ranked, relevance([[0, 1, 2, 3]], 6), np.ones(6))
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    told = {name: value.item() for name, value in values.items()}
    assert told == pytest.approx({
        "ndcg_at_3": (1 + 1 / 2) / ideal, "recall_at_3": 2 / 4, "precision_at_3": 2 / 3,
        "map_at_3": (1 + 2 / 3) / 3, "map_all_at_3": (1 + 2 / 3) / 4,
        "hit_rate_at_3": 1.0, "hit_rate_at_1": 1.0,
    })  # fmt: skip


def test_nothing_answered_is_no_hit_and_no_novelty():
    names = ("ndcg_at_2", "hit_rate_at_2", "novelty_at_2", "popularity_at_2")
    values = per_user(names, np.array([[-1, -1]]), relevance([[0]], 3), np.array([5.0, 1, 1]))
    assert {name: value.item() for name, value in values.items()} == dict.fromkeys(names, 0.0)


def test_novelty_of_the_published_example():
    """Counts 1, 1, 2, 3, 1 have the novelties 3, 3, 2, 1.41504, 3 bits."""
    ranked = np.array([[0, 1], [2, 3], [4, -1]])
    found = per_user(["novelty_at_2"], ranked, relevance([[0]] * 3, 5), np.array([1, 1, 2, 3, 1.0]))
    assert found["novelty_at_2"] == pytest.approx([3, (2 + 1.41504) / 2, 3], abs=1e-5)


def test_popularity_is_the_middle_of_the_percentiles_of_equals():
    """Of four items the first is the most popular: 3.5 / 4; then two equal ones; the last."""
    ranked = np.array([[0], [1], [2], [3]])
    found = per_user(["popularity_at_1"], ranked, relevance([[0]] * 4, 4), np.array([9, 2, 2, 0.0]))
    assert found["popularity_at_1"].tolist() == [0.875, 0.5, 0.5, 0.125]


def test_coverage_of_the_published_example_and_gini_by_hand():
    ranked = np.array([[3, 5], [2, 5], [1, 2]]) - 1
    assert coverage(ranked, 5) == 0.8
    assert gini(np.array([[0, 1], [2, 3]]), 4) == 0
    assert gini(np.array([[0], [0]]), 4) == 0.75  # one of four takes all: 1 - 1/4
    assert gini(np.array([[0, 1], [0, -1]]), 2) == pytest.approx(1 / 6)  # 2 and 1


def test_hits_are_of_the_own_user():
    hits = hits_of(np.array([[0, 1], [0, 1]]), relevance([[1], [0]], 2))
    assert hits.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("name", "message"),
    [("ndcg", "write <metric>_at_<k>"), ("auc_at_3", "metrics: ndcg"), ("ndcg_at_9", "have 2")],
)
def test_a_name_that_cannot_be_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        per_user([name], np.array([[0, 1]]), relevance([[1]], 2), np.ones(2))


def test_a_user_without_anything_relevant_is_refused():
    with pytest.raises(ValueError, match="1 users have no relevant item"):
        per_user(["ndcg_at_1"], np.array([[0], [0]]), relevance([[1], []], 2), np.ones(2))
