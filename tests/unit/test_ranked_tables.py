"""A ranking product's tables: as numbers, as questions, and what their checks refuse."""

from __future__ import annotations

import pandas as pd
import pytest

from models.contracts.learner import Catalogue, Interactions, Query
from models.core.checks import interactions as checks
from models.core.ranking import frames, questions
from tests.unit.ranked_tables import crowd, feature_table


def catalogue(*ids: str) -> Catalogue:
    return Catalogue(ids, {})


def numbered(frame: pd.DataFrame, *items: str) -> Interactions:
    return frames.interactions(frame, catalogue(*items))


# questions


def test_a_user_is_asked_in_the_middle_with_what_was_known_by_then():
    earlier = numbered(feature_table([("u", "a", 5, 0)]), "a", "b", "c", "d", "e")
    later = numbered(
        feature_table([("u", "b", 1, 1), ("u", "c", 5, 2), ("u", "d", 5, 3), ("u", "e", 2, 4)]),
        "a", "b", "c", "d", "e",
    )  # fmt: skip
    (one,) = questions.questions(later, earlier)
    assert one == questions.Question("u", ("a", "b", "c"), ("d",), 2)
    assert questions.query(one, 10) == Query("u", 10, ("a", "b", "c"))


def test_rows_of_one_moment_do_not_tell_of_each_other():
    rows = feature_table([("u", "a", 5, 1), ("u", "b", 5, 1), ("u", "c", 5, 1)])
    (one,) = questions.questions(numbered(rows, "a", "b", "c"))
    assert one == questions.Question("u", (), ("a", "b", "c"), 0)


def test_what_is_liked_again_is_not_new_and_who_likes_nothing_new_is_not_asked():
    earlier = numbered(feature_table([("u", "a", 5, 0)]), "a", "b")
    later = feature_table([("u", "a", 5, 1), ("v", "b", 2, 2), ("w", "b", 4, 3)])
    asked = questions.questions(numbered(later, "a", "b"), earlier)
    assert [(one.user, one.relevant) for one in asked] == [("w", ("b",))]


def test_a_long_history_is_cut_to_its_newest():
    ids = [f"f{n:03d}" for n in range(questions.MOST_HISTORY + 11)]
    rows = [("u", item, 5.0, hour) for hour, item in enumerate(ids)]
    earlier = numbered(feature_table(rows[:-1]), *ids)
    (one,) = questions.questions(numbered(feature_table(rows[-1:]), *ids), earlier)
    assert one.history == tuple(ids[-questions.MOST_HISTORY - 1 : -1])


# tables to numbers


def test_numbers_follow_ids_and_time_not_the_order_of_the_table():
    table = feature_table([("v", "b", 3, 2), ("u", "a", 5, 1)])
    items = pd.DataFrame({"item": ["b", "a"], "title": ["B", None]})
    found = frames.interactions(table, frames.catalogue(items))
    assert found.catalogue == Catalogue(("a", "b"), {"title": ("", "B")})
    assert found.user_ids == ("u", "v")
    assert (found.users.tolist(), found.items.tolist()) == ([0, 1], [0, 1])
    assert (found.liked.tolist(), found.strengths.tolist()) == ([True, False], [5.0, 3.0])
    assert (found.times - found.times[0]).tolist() == [0.0, 3600.0]


def test_a_row_without_its_item_and_an_item_twice_are_refused():
    with pytest.raises(ValueError, match=r"1 rows are of items .*e\.g\. z"):
        frames.interactions(feature_table([("u", "z", 5, 1)]), catalogue("a"))
    with pytest.raises(ValueError, match=r"1 items stand in the catalogue twice \(e\.g\. a\)"):
        frames.catalogue(pd.DataFrame({"item": ["a", "a"]}))


def test_the_newest_rows_validate_and_one_moment_is_not_divided():
    table = feature_table([("u", "a", 5, 1), ("u", "b", 5, 2), ("v", "a", 5, 3), ("v", "b", 5, 3)])
    older, newer = frames.newest(table, 4)
    assert (older["event_id"].tolist(), newer["event_id"].tolist()) == (["e0", "e1"], ["e2", "e3"])
    with pytest.raises(ValueError, match="leave none to fit on"):
        frames.newest(table[2:], 2)


# checks


def test_interactions_of_one_who_is_many_or_delivered_twice_are_refused():
    table, _ = crowd()
    assert checks.interactions(current=table).passed
    twice = pd.concat([table, table[:100].assign(event_id="again")], ignore_index=True)
    assert "100 rows repeat a pair" in checks.interactions(current=twice).message
    one = table.assign(user=["u00"] * 200 + table["user"].tolist()[200:])
    assert "user u00 has" in checks.interactions(current=one).message
    all_liked = table.assign(label=1)
    assert "100.0% of the rows are liked" in checks.interactions(current=all_liked).message
    halves = table.assign(label=0.5)
    assert "neither 0 nor 1" in checks.interactions(current=halves).message
    empty = table.assign(item=[None, *table["item"][1:]])
    assert (
        "1 rows lack user, item or strength (e.g. e0)" in checks.interactions(current=empty).message
    )
    assert not checks.interactions(current=table.drop(columns="user")).passed


def test_a_catalogue_holds_every_item_once():
    table, items = crowd()
    found = checks.catalogue(current=table, items=items)
    assert (found.passed, found.numbers) == (True, {"items": 30, "untouched": 0})
    missing = checks.catalogue(current=table, items=items[1:])
    assert "rows are of items that are not in the catalogue (e.g. e" in missing.message
    twice = checks.catalogue(current=table, items=pd.concat([items, items[:1]]))
    assert "1 items stand in the catalogue twice" in twice.message


def test_too_few_judged_users_are_named():
    assert checks.judged_users({"validation": 30, "holdout": 31}).passed
    found = checks.judged_users({"validation": 29, "holdout": 31})
    assert "29 in the validation, at least 30" in found.message
