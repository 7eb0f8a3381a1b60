"""What the recommender does around any algorithm: filters, seen items, cold start, ties, files."""

from dataclasses import dataclass

import numpy as np
import pytest

from models.contracts.learner import Query
from models.core.artifact import ArtifactError
from models.core.ranking import recommender
from models.core.ranking.popularity import Popularity
from models.core.ranking.recommender import CatalogueRecommender
from models.core.ranking.top import top
from tests.unit.ranking_sample import rows_of

#: u0 had i0, i1 (which was not liked); u1 had i1; u2 had i1, i3. i2 and i4 nobody.
ROWS = rows_of([(0, 0), (1, 1), (0, 1), (2, 1), (2, 3)], 4, 5, liked=[1, 1, 0, 1, 1])


@dataclass(frozen=True)
class Told:
    """Scores as told; remembers what it was asked."""

    scores: tuple[float, ...]
    reads: tuple[str, ...] = ("history",)
    liked_only: bool = False
    kind: str = "ease"
    asked: tuple[list, ...] = ([],)

    def score(self, users, histories):
        self.asked[0].extend(zip(users.tolist(), [h.tolist() for h in histories], strict=True))
        return np.tile(np.float32(self.scores), (len(users), 1))


def told(scores=(1, 2, 3, 4, 5), **settings):
    return Told(tuple(scores), asked=([],), **settings)


def one(member, **query):
    (answer,) = CatalogueRecommender.of(ROWS, {"first": member}).recommend([Query(**query)])
    return answer


def test_seen_items_and_those_since_are_left_out_unless_asked_for():
    assert one(told(), user="u0", k=9).items == ("i4", "i3", "i2")
    assert one(told(), user="u0", history=("i4",)).items == ("i3", "i2")
    assert one(told(), user="u0", k=2, seen=True, history=("i4",)).items == ("i4", "i3")


def test_exclusions_and_filters_bind_together_and_unknown_ids_do_nothing():
    found = one(told(), user="u2", only=frozenset({"i2", "i4", "i1", "x"}),
                exclude=frozenset({"i4", "y"}), history=("z",))  # fmt: skip
    assert found.items == ("i2",)
    assert one(told(), user="u2", only=frozenset()).items == ()


def test_the_history_is_in_time_order_with_what_came_since_last():
    member = told()
    one(member, user="u2", history=("i0", "x", "i2"))
    assert member.asked[0] == [(2, [1, 3, 0, 2])]


def test_a_member_fitted_on_liked_items_gets_liked_histories_but_all_seen_are_left_out():
    member = told(liked_only=True)
    found = one(member, user="u0", k=9)
    assert member.asked[0] == [(0, [0])]
    assert "i1" not in found.items


def test_equal_scores_are_in_the_order_of_the_catalogue():
    assert one(told((1, 7, 7, 7, 7)), user="nobody", history=("i0",), k=2).items == ("i1", "i2")


def test_who_answers_whom():
    """A stranger with a history: the member; without one, or to a member of users: popularity."""
    member, by_user = told(), told(reads=("user",))
    assert one(member, user=None, history=("i0",))[2:] == ("first", False)
    assert one(member, user=None)[2:] == ("popularity", False)
    assert one(member, user=None).items[:3] == ("i1", "i0", "i3")  # 3, 1, 1 users
    assert one(member, user="u3")[2:] == ("popularity", True)  # known, but had nothing
    assert one(by_user, user=None, history=("i0",)).algorithm == "popularity"
    assert one(by_user, user="u3").algorithm == "first"


def test_a_stranger_whom_the_member_cannot_answer_goes_to_content_first():
    members = {"graph": told(reads=("user",)), "texts": told((9, 8, 7, 6, 5), kind="content")}
    both = CatalogueRecommender.of(ROWS, members)
    known, stranger, bare = both.recommend([
        Query(user="u1"), Query(user="x", history=("i0",)), Query(user="x"),
    ])  # fmt: skip
    assert [a.algorithm for a in (known, stranger, bare)] == ["graph", "texts", "popularity"]
    assert stranger.items[0] == "i1"


def test_members_are_asked_for_by_name_and_mixed_batches_keep_their_order():
    both = CatalogueRecommender.of(ROWS, {"a": told(), "b": told((5, 4, 3, 2, 1))})
    queries = [Query("u1", k=1, algorithm=name) for name in ("b", "a", None, "b")]
    answers = both.recommend(queries)
    assert [(a.algorithm, a.items) for a in answers] == [
        ("b", ("i0",)), ("a", ("i4",)), ("a", ("i4",)), ("b", ("i0",)),
    ]  # fmt: skip
    assert answers == tuple(both.recommend([query])[0] for query in queries)
    assert both.algorithms == ("a", "b")


@pytest.mark.parametrize(
    ("query", "message"),
    [(Query("u0", k=0), "at least 1"), (Query("u0", algorithm="c"), "ask for first")],
)
def test_a_query_that_cannot_be_answered_is_refused(query, message):
    with pytest.raises(ValueError, match=message):
        CatalogueRecommender.of(ROWS, {"first": told()}).recommend([query])


def test_memory_is_bounded_by_answering_some_users_at_a_time(monkeypatch):
    whole = CatalogueRecommender.of(ROWS, {"first": told()}).rank(np.arange(4), 3)
    monkeypatch.setattr(recommender, "_AT_ONCE", 10)  # two users of five items
    member = told()
    widths = []
    monkeypatch.setattr(
        Told, "score", lambda self, users, _: widths.append(len(users)) or np.tile(
            np.float32(self.scores), (len(users), 1)))  # fmt: skip
    parts = CatalogueRecommender.of(ROWS, {"first": member}).rank(np.arange(4), 3)
    assert widths == [2, 1]  # u3 had nothing and goes to popularity
    assert parts.tolist() == whole.tolist()
    assert whole.tolist()[2] == [4, 2, 0]
    assert CatalogueRecommender.of(ROWS, {"first": member}).rank(np.array([0]), 4).tolist() == [
        [4, 3, 2, -1]
    ]


def test_saved_and_loaded_it_answers_the_same_and_holds_no_pickle(tmp_path):
    from models.core import contents

    members = {"popular": Popularity(np.float32([1, 2, 3, 4, 5])),
               "liked/../x": Popularity(np.float32([5, 4, 3, 2, 1]), liked_only=True)}  # fmt: skip
    made = CatalogueRecommender.of(ROWS, members)
    made.save(tmp_path)
    again = recommender.load(tmp_path)
    queries = [Query(user, algorithm=name) for user in ("u0", "x") for name in (*members, None)]
    assert again.recommend(queries) == made.recommend(queries)
    assert again.algorithms == made.algorithms
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert [contents.refusal(path.name, path.read_bytes()) for path in files] == [None] * 6


def test_a_folder_without_a_recommender_or_with_an_unknown_member_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="fit the candidate again"):
        recommender.load(tmp_path)
    CatalogueRecommender.of(ROWS, {"p": Popularity(np.zeros(5, np.float32))}).save(tmp_path)
    settings = tmp_path / "member_0" / "scorer.json"
    settings.write_text(settings.read_text().replace("popularity", "os"))
    with pytest.raises(ArtifactError, match="kind 'os'"):
        recommender.load(tmp_path)


def test_top_equals_a_full_stable_sort_on_ties_and_large_catalogues():
    generator = np.random.default_rng(0)
    for size, k in ((5, 10), (300, 10), (5000, 10), (5000, 40), (2560, 11)):
        scores = generator.integers(0, 50, size).astype(np.float32)
        scores[generator.random(size) < 0.1] = -np.inf
        order = np.argsort(-scores, kind="stable")
        expected = order[np.isfinite(scores[order])][:k]
        assert top(scores, k).tolist() == expected.tolist()
    assert top(np.full(4, -np.inf, np.float32), 2).tolist() == []


def test_top_refuses_nan():
    for place in (3, 700):
        scores = np.zeros(701, np.float32)
        scores[place] = np.nan
        with pytest.raises(ValueError, match="diverged"):
            top(scores, 2)


def test_a_recommender_needs_a_member():
    with pytest.raises(ValueError, match="at least one"):
        CatalogueRecommender.of(ROWS, {})


def test_a_filter_by_category_or_tag_knows_no_case(tmp_path):
    fields = {
        "category": ("Sci-Fi", "Drama", "", "drama", ""),
        "tags": ("space", "slow", "slow", "", ""),
    }
    rows = rows_of([(0, 0)], 1, 5, fields=fields)
    CatalogueRecommender.of(rows, {"popularity": Popularity(np.ones(5, np.float32))}).save(tmp_path)
    found = recommender.load(tmp_path)
    assert found.in_categories(frozenset({"DRAMA"})) == {"i1", "i3"}
    assert found.in_categories(frozenset({"sci-fi", "slow"})) == {"i0", "i1", "i2"}
    assert found.in_categories(frozenset({"horror"})) == frozenset()


def test_an_item_met_again_stands_once_in_the_history_where_it_was_met_last():
    member = told()
    one(member, user="u2", history=("i0", "i1"))
    assert member.asked[0] == [(2, [3, 0, 1])]


def test_a_stranger_s_history_is_read_by_the_first_member_that_can():
    by_user, reader = told(reads=("user",)), told()
    members = {"first": by_user, "second": reader}
    query = Query(user=None, history=("i4",), algorithm="first")
    (answer,) = CatalogueRecommender.of(ROWS, members).recommend([query])
    assert answer.algorithm == "second"
    assert answer.items[0] == "i3"
