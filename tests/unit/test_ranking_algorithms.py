"""Each ranking algorithm against its formula worked out by hand, and all of them on two tastes."""

import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from models.contracts.learner import FitContext, Query
from models.contracts.product import Trial
from models.core.ranking import recommender
from models.core.ranking.content import Content, project
from models.core.ranking.ials import Weights, each_row, solve
from models.core.ranking.recommender import CatalogueRecommender
from models.core.ranking.scorers import fit_scorer, history_matrix
from models.core.ranking.social import communities, pagerank
from models.core.ranking.svdpp import Svdpp
from tests.unit.ranking_sample import ITEMS, USERS, rows_of, two_tastes

PARAMS = {
    "popularity": {},
    "itemknn": {"neighbours": 7},
    "ease": {"penalty": 20.0},
    "ials": {"factors": 2, "epochs": 5},
    "graph_filter": {"vectors": 4},
    "content": {},
    "social": {},
    "svdpp": {"factors": 4, "negatives": 3, "max_epochs": 8, "learning_rate": 0.03,
              "device": "cpu"},
}  # fmt: skip
ROWS = two_tastes()


def fitted(kind, rows, **params):
    trial = Trial(name=kind, params={"model": kind, **params})
    return fit_scorer(trial, rows, FitContext())


@pytest.fixture(scope="module")
def all_of_them():
    members = {kind: fitted(kind, ROWS, **params) for kind, params in PARAMS.items()}
    return CatalogueRecommender.of(ROWS, members)


def history(*items):
    return [np.array(items, np.int64)]


STRANGER = np.array([-1])


def test_popularity_counts_users_not_clicks():
    rows = rows_of([(0, 0), (0, 0), (0, 1), (1, 1)], 2, 3, liked=[1, 1, 0, 1])
    assert fitted("popularity", rows).score(STRANGER, history()).tolist() == [[1, 2, 0]]
    liked = fitted("popularity", rows, liked_only=True)
    assert liked.score(STRANGER, history()).tolist() == [[1, 1, 0]]


def test_ease_by_hand():
    """Users had {0, 1} and {1, 2}; with penalty 1 the inverse of X'X + 1 is adj / 8."""
    ease = fitted("ease", rows_of([(0, 0), (0, 1), (1, 1), (1, 2)], 2, 3), penalty=1.0)
    # P = [[5, -2, 1], [-2, 4, -2], [1, -2, 5]] / 8, and B = -P / diag(P) by column
    expected = [[0, 0.5, -0.2], [0.4, 0, 0.4], [-0.2, 0.5, 0]]
    assert ease.weights == pytest.approx(np.array(expected), abs=1e-6)
    assert ease.score(STRANGER, history(0, 2))[0] == pytest.approx([-0.2, 1.0, -0.2], abs=1e-6)


def test_ease_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="take ials or itemknn"):
        fitted("ease", rows_of([(0, 0)], 1, 5), max_items=4)


def test_itemknn_by_hand():
    """Item 0 had by users 0, 1; item 1 by 0, 1, 2; item 2 by 2; shrinkage 1."""
    rows = rows_of([(0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (2, 2)], 3, 3)
    near, far = 2 / (np.sqrt(6) + 1), 1 / (np.sqrt(3) + 1)
    whole = fitted("itemknn", rows, shrinkage=1.0).likeness.toarray()
    assert whole == pytest.approx(np.array([[0, near, 0], [near, 0, far], [0, far, 0]]), abs=1e-6)
    only = fitted("itemknn", rows, shrinkage=1.0, neighbours=1)
    assert only.score(STRANGER, history(0, 2))[0] == pytest.approx([0, near, 0], abs=1e-6)


def test_itemknn_is_the_same_in_blocks(monkeypatch):
    whole = fitted("itemknn", ROWS, neighbours=3).likeness.toarray()
    monkeypatch.setattr("models.core.ranking.itemknn._BLOCK", 5)
    assert fitted("itemknn", ROWS, neighbours=3).likeness.toarray().tolist() == whole.tolist()
    assert ((whole > 0).sum(axis=0) <= 3).all()


def test_ials_step_by_hand():
    """One factor, items 1 and 2; the user had the second: 2 / (4 + .5 (1 + 4) + .1 (1 + .5 2))."""
    others = np.array([[1.0], [2.0]], np.float32)
    found = solve([*history(1), *history()], others, others.T @ others, Weights(0.5, 0.1, 1.0))
    assert found.ravel().tolist() == [pytest.approx(2 / 6.7), 0.0]


def test_ials_step_equals_that_of_implicit():
    """Theirs: weight c = 1 + 1/w, penalty over w; our solution is theirs over 1 + w."""
    from implicit.cpu.als import AlternatingLeastSquares

    generator = np.random.default_rng(0)
    others = generator.normal(size=(9, 3)).astype(np.float32)
    had = history_matrix([np.array([0, 3, 8]), np.array([5])], 9)
    weight, penalty = 0.25, 0.4
    with threadpool_limits(1, "blas"):  # implicit warns of more
        theirs = AlternatingLeastSquares(factors=3, regularization=penalty / weight, num_threads=1)
        theirs.item_factors = others
        expected = theirs.recalculate_user(np.arange(2), sp.csr_matrix(had * (1 + 1 / weight)))
    ours = solve(each_row(had), others, others.T @ others, Weights(weight, penalty, 0.0))
    assert ours == pytest.approx(expected / (1 + weight), rel=1e-4)


def test_ials_lowers_its_own_objective_with_every_epoch():
    weights = Weights(0.1, 0.01, 0.0)
    had = history_matrix([ROWS.items[ROWS.users == u] for u in range(USERS)], ITEMS)

    def objective(epochs):
        made = fitted("ials", ROWS, factors=3, epochs=epochs, unobserved_weight=0.1, penalty=0.01,
                      penalty_exponent=0.0)  # fmt: skip
        users = solve(each_row(had), made.items, made.items.T @ made.items, weights)
        told, seen = users @ made.items.T, had.toarray()
        return ((seen * (1 - told) ** 2).sum() + 0.1 * (told**2).sum()
                + 0.01 * ((users**2).sum() + (made.items**2).sum()))  # fmt: skip

    values = [objective(epochs) for epochs in (1, 2, 4, 8)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.9 * values[0]


def test_graph_filter_by_hand():
    """Users had {0, 1} and {0}: N'N = [[.75, s], [s, .5]], s = 1/sqrt 8; V = (sqrt 2, 1)."""
    made = fitted("graph_filter", rows_of([(0, 0), (0, 1), (1, 0)], 2, 2), weight=0.3)
    step, ideal = np.array([0.75, 1 / np.sqrt(8)]), np.array([2 / 3, 1 / 3])
    assert made.score(STRANGER, history(0))[0] == pytest.approx(step + 0.3 * ideal, abs=1e-6)


def test_svdpp_formula_by_hand():
    """mean 3, b_u .5, b_i (.1, -.2), p 1, q (2, 3), y (.5, -1.5); the user had both items."""
    made = Svdpp.of({name: np.array(value, np.float32) for name, value in {
        "mean": 3, "bu": [0.5], "bi": [0.1, -0.2], "p": [[1]], "q": [[2], [3]],
        "y": [[0.5], [-1.5]],
    }.items()})  # fmt: skip
    user = 1 + (0.5 - 1.5) / np.sqrt(2)
    expected = [3 + 0.5 + 0.1 + 2 * user, 3 + 0.5 - 0.2 + 3 * user]
    assert made.score(np.array([0]), history(0, 1))[0] == pytest.approx(expected)
    assert made.score(STRANGER, history(0))[0] == pytest.approx([3.1 + 2 * 0.5, 2.8 + 3 * 0.5])


def test_svdpp_learns_planted_factors():
    """Ratings of rank two and little noise: far below the deviation of the ratings themselves."""
    generator = np.random.default_rng(1)
    truth = 3 + generator.normal(size=(40, 2)) @ generator.normal(size=(2, 30))
    seen = generator.random(truth.shape) < 0.7
    pairs = np.argwhere(seen)
    noisy = (truth + generator.normal(0, 0.1, truth.shape))[seen]
    rows = rows_of(pairs.tolist(), 40, 30, strengths=noisy.tolist())
    made = fitted("svdpp", rows, factors=4, max_epochs=20, learning_rate=0.05, penalty=0.001,
                  batch_size=8, device="cpu")  # fmt: skip
    told = made.score(np.arange(40), [pairs[pairs[:, 0] == u, 1] for u in range(40)])
    unseen = np.square(told - truth)[~seen].mean() ** 0.5
    assert unseen < 0.5 * truth[~seen].std()


def test_content_is_a_decaying_mean_of_unit_vectors():
    made = Content(np.float32([[1, 0], [0, 1], [0.6, 0.8]]), half_life=1.0)
    mean = np.array([0.5, 1.0])  # the older counts half
    expected = np.array([[1, 0], [0, 1], [0.6, 0.8]]) @ mean / np.linalg.norm(mean)
    assert made.score(STRANGER, history(0, 1))[0] == pytest.approx(expected)


def test_content_answers_an_item_that_nobody_had():
    texts = ("a dog and a cat", "the dog barks", "spies in the dark", "a dark night of spies", "")
    rows = rows_of([(0, 0), (0, 2)], 1, 5, fields={"title": texts})
    made = fitted("content", rows)
    assert made.score(STRANGER, history(2))[0].argsort()[::-1][:2].tolist() == [2, 3]
    assert made.score(STRANGER, history(2))[0, 4] == 0
    assert made.score(STRANGER, history(4))[0].tolist() == [0] * 5


def test_content_projection_keeps_the_angles_of_low_rank_texts():
    generator = np.random.default_rng(0)
    wide = generator.normal(size=(12, 3)) @ generator.normal(size=(3, 40))
    narrow = project(wide, 3, seed=0)
    units = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    assert narrow.shape == (12, 3)
    assert narrow @ narrow.T == pytest.approx(units @ units.T, abs=1e-5)


def test_content_without_its_fields_says_which_there_are():
    rows = rows_of([(0, 0)], 1, 1, fields={"plot": ("x",)})
    with pytest.raises(ValueError, match=r"has the fields \['plot'\]"):
        fitted("content", rows)


def test_pagerank_equals_that_of_networkx():
    import networkx as nx

    edges = [(0, 1), (1, 2), (2, 0), (2, 3)]
    graph = nx.Graph(edges)
    graph.add_node(4)
    shares = sp.csr_array(nx.to_scipy_sparse_array(graph, nodelist=range(5)), dtype=np.float32)
    shares = sp.csr_array(shares / np.maximum(shares.sum(axis=1), 1)[:, None])
    found = pagerank(shares, np.array([0, 3, 4]), 0.85, 100)
    for row, start in zip(found, (0, 3, 4), strict=True):
        expected = nx.pagerank(graph, 0.85, personalization={start: 1.0}, tol=1e-8)
        assert row.tolist() == pytest.approx([expected[node] for node in range(5)], abs=1e-5)


def test_communities_of_two_cliques():
    cliques = [(a, b) for part in (range(4), range(4, 8)) for a in part for b in part if a < b]
    found = communities(np.array([*cliques, (3, 4)]), 9, seed=0)
    assert found.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]


def test_social_answers_with_the_things_of_friends():
    """User 0's friend 1 had item 1; 2 and 3 are strangers and had item 2."""
    rows = rows_of([(0, 0), (1, 1), (2, 2), (3, 2)], 5, 4, friends=[(0, 1), (2, 3)])
    made = CatalogueRecommender.of(rows, {"social": fitted("social", rows)})
    near, alone = made.recommend([Query("u0"), Query("u4")])
    assert near.items[:2] == ("i1", "i2")
    assert alone.items[0] == "i2"  # nobody near: what most people had
    with pytest.raises(ValueError, match="carry no friends"):
        fitted("social", rows_of([(0, 0)], 1, 1))


@pytest.mark.parametrize("kind", [kind for kind in PARAMS if kind != "popularity"])
def test_it_finds_the_two_tastes(all_of_them, kind):
    """The two unseen items of a user's own taste come first, for nearly everybody."""
    ranked = all_of_them.rank(np.arange(USERS), 2, kind)
    right = ranked % 2 == np.arange(USERS)[:, None] % 2
    assert right.mean() >= 0.95


@pytest.mark.parametrize("kind", ["itemknn", "ease", "ials", "graph_filter", "content", "svdpp"])
def test_a_stranger_is_answered_from_their_history(all_of_them, kind):
    (answer,) = all_of_them.recommend(
        [Query(None, k=4, history=("i1", "i5", "i7", "i9"), algorithm=kind)]
    )
    assert answer.algorithm == kind
    assert {int(item[1:]) % 2 for item in answer.items} == {1}


def test_all_of_them_answer_the_same_when_saved_and_loaded(all_of_them, tmp_path):
    all_of_them.save(tmp_path)
    again = recommender.load(tmp_path)
    queries = [Query(user, history=since, algorithm=kind) for kind in PARAMS
               for user, since in (("u3", ()), ("u4", ("i1",)), (None, ("i2", "i6")))]  # fmt: skip
    assert again.recommend(queries) == all_of_them.recommend(queries)


@pytest.mark.parametrize("kind", PARAMS)
def test_a_batch_scores_as_one_by_one_and_the_fit_repeats(all_of_them, kind):
    member = all_of_them.members[kind]
    users = np.array([2, 5, 8])
    histories = [all_of_them.seen.of(int(user), member.liked_only) for user in users]
    whole = member.score(users, histories)
    assert whole.shape == (3, ITEMS)
    assert whole.dtype == np.float32
    for row, user, own in zip(whole, users, histories, strict=True):
        assert member.score(np.array([user]), [own])[0] == pytest.approx(row, abs=1e-5)
    if kind != "svdpp":
        assert fitted(kind, ROWS, **PARAMS[kind]).score(users, histories).tolist() == whole.tolist()


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="no model 'slim'"):
        fitted("slim", ROWS)
