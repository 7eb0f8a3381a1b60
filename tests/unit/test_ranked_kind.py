"""Ranking products as the stages see them: questions, checks, fits, units, answers, the log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.contracts.learner import Catalogue, FitContext, Interactions, Query
from models.contracts.product import Trial
from models.contracts.results import Candidate
from models.core.checks import interactions as checks
from models.core.ranking import blend, frames, questions, watch
from models.core.ranking.recommender import CatalogueRecommender
from models.kinds import Draft, Model, Tables, kind_of
from models.recommendation.films.learner import FilmsLearner
from models.recommendation.films.product import PRODUCT

KIND = kind_of("ranked_items")
ITEMS = PRODUCT.data.tables[0]


def feature_table(rows: list[tuple[str, str, float, int]]) -> pd.DataFrame:
    """A feature table of (user, item, stars, hour), with point-in-time counts worked out here."""
    frame = pd.DataFrame(rows, columns=["user", "item", "strength", "hour"])
    past = [
        int(((frame["user"] == user) & (frame["hour"] < hour)).sum())
        for user, hour in zip(frame["user"], frame["hour"], strict=True)
    ]
    of_item = [
        int(((frame["item"] == item) & (frame["hour"] < hour)).sum())
        for item, hour in zip(frame["item"], frame["hour"], strict=True)
    ]
    moment = pd.Timestamp("2024-01-01").as_unit("us") + pd.to_timedelta(frame["hour"], "h").astype(
        "timedelta64[us]"
    )
    return frame.assign(
        event_id=[f"e{number}" for number in range(len(frame))],
        tenant="films",
        event_time=moment,
        known_time=moment,
        label=(frame["strength"] >= 4).astype(np.int32),
        judged=True,
        slice_cold=[n < 5 for n in past],
        user_past_interactions=past,
        item_past_interactions=of_item,
    ).drop(columns="hour")


def catalogue(*ids: str) -> Catalogue:
    return Catalogue(ids, {})


def numbered(frame: pd.DataFrame, *items: str) -> Interactions:
    return frames.interactions(frame, catalogue(*items))


def crowd(people: int = 60, films: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two circles that each watch their half of the films, round and round, four an hour."""
    rows = []
    for step in range(12):
        for person in range(people):
            half = person % 2 * (films // 2)
            film = half + (person // 2 + step) % (films // 2)
            rows.append((f"u{person:02d}", f"f{film:02d}", 5.0 if step % 3 else 2.0, step))
    table = feature_table(rows)
    items = pd.DataFrame(
        {"item": [f"f{n:02d}" for n in range(films)], "title": "", "category": "x"}
    )
    return table, items


@pytest.fixture(scope="module")
def tables() -> Tables:
    table, items = crowd()
    border = table["event_time"].sort_values().iloc[int(len(table) * 0.7)]
    train, holdout = table[table["event_time"] < border], table[table["event_time"] >= border]
    return Tables(train.reset_index(drop=True), holdout.reset_index(drop=True), {ITEMS: items})


@pytest.fixture(scope="module")
def model(tables: Tables) -> Model:
    return fitted(Trial(name="itemknn", params={"model": "itemknn"}), tables, FitContext())


def fitted(trial: Trial, tables: Tables, context: FitContext) -> Model:
    """A trial through the kind, as the stages keep it."""
    found = KIND.fit(PRODUCT, FilmsLearner(), trial, tables, context)
    candidate = Candidate(
        product=PRODUCT.key, trial=trial.name, candidate_id="c", snapshot_id="s", learner="l",
        code_version="v", params=trial.params, columns=PRODUCT.data.names, tenants=("films",),
        seed=0, cv=dict(found.cv), threshold=found.threshold, thresholds=dict(found.thresholds),
        fit_seconds=found.seconds, files={},
    )  # fmt: skip
    return Model(candidate, found.predictor)


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


def test_the_kind_makes_the_checks_it_names():
    from models.core.splits import split

    table, items = crowd()
    draft = Draft(table, split(table, PRODUCT.data.split), None, {ITEMS: items}, True)
    found = KIND.check(PRODUCT.data, draft)
    assert [result.name for result in found] == list(KIND.checks)
    assert all(result.passed for result in found)
    broken = KIND.check(PRODUCT.data, draft._replace(more={ITEMS: items[1:]}))
    assert {"catalogue", "judged_users"} <= {result.name for result in broken if not result.passed}


# fit, units, answers


def test_units_are_users_with_what_they_go_on_to_like(tables: Tables):
    units = KIND.units(PRODUCT, tables)
    assert units["event_id"].is_unique
    assert units.index.tolist() == list(range(len(units)))
    row = units.iloc[0]
    mine = tables.holdout[tables.holdout["user"] == row["user"]]
    later = mine[mine["event_time"] >= row["event_time"]]
    assert set(json.loads(row["relevant"])) <= set(later[later["label"] == 1]["item"])
    assert set(json.loads(row["history"])).isdisjoint(later["item"])
    assert units["event_time"].is_monotonic_increasing


def test_a_model_answers_better_than_chance_and_never_what_was_known(tables: Tables, model: Model):
    units = KIND.units(PRODUCT, tables)
    answers = KIND.answer(PRODUCT, model, units, tables)
    assert set(KIND.metrics) <= set(answers)
    scores = KIND.paired(PRODUCT, units, (model.candidate, answers), (model.candidate, answers))
    scores.check()
    assert (len(scores), scores.paired) == (len(units), True)
    # ten of the 15 films of the circle are left, so a model that knows the circle finds the next
    assert scores.value("hit_rate_at_10") == answers["hit_rate_at_10"].mean() > 0.9
    (first,) = model.predictor.recommend([Query("u00", 10, tuple(json.loads(units["history"][0])))])
    assert set(first.items).isdisjoint(json.loads(units["history"][0]))


def test_validation_is_of_rows_the_fit_did_not_see(tables: Tables, model: Model):
    older, newer = frames.newest(tables.train, PRODUCT.data.folds.k)
    known = model.predictor.popularity.counts.sum()
    assert known == len(older.drop_duplicates(["user", "item"]))
    assert len(newer) > 0
    assert {len(values) for values in model.candidate.cv.values()} == {1}


def test_golden_requests_say_what_the_model_says(tables: Tables, model: Model):
    units = KIND.units(PRODUCT, tables)
    golden = KIND.golden(PRODUCT, model, units, 4)
    assert [set(row) - {"user"} for row in golden.rows] == [{"tenant", "k", "history"}] * 4
    assert ["user" in row for row in golden.rows] == [True, False, True, False]
    first = golden.rows[1]
    (again,) = model.predictor.recommend([Query(None, first["k"], tuple(first["history"]))])
    assert golden.expected[1] == list(again.items)


def test_what_is_examined_is_a_share_where_it_says_so(tables: Tables, model: Model):
    units = KIND.units(PRODUCT, tables)
    found = KIND.examine(PRODUCT, model, units, tables)
    assert 0 < found["catalogue.coverage_at_10"].value <= 1
    assert found["cold.share_of_new_users"].value == 0.0, "all of the crowd were there before"
    assert "cold.ndcg_at_10" not in found
    guarded = {g.metric for g in PRODUCT.gate.guardrails if "." in g.metric}
    assert guarded <= set(found)


# the prediction log


def test_the_log_is_the_same_for_service_and_evaluation(tables: Tables, model: Model):
    units = KIND.units(PRODUCT, tables)
    answers = KIND.answer(PRODUCT, model, units, tables)
    seen = KIND.watched(PRODUCT, units, answers, tables)
    query = questions.query(
        questions.Question("u", tuple(json.loads(units["history"][3])), (), 0), 10
    )._replace(user=units["user"][3])
    (ranking,) = model.predictor.recommend([query])
    noted = watch.watch(PRODUCT, model.candidate.thresholds, model.predictor, query, ranking)
    assert noted.inputs == tuple(seen.inputs[3])
    assert noted.score == seen.scores[3]
    assert KIND.rescore(PRODUCT, model, seen.inputs) is None
    promised = KIND.promised(PRODUCT, None, seen, model.candidate.threshold)
    assert promised[KIND.watched_metric(PRODUCT)].value == pytest.approx(seen.labels.mean())


def test_items_that_came_with_the_request_count_once(model: Model):
    mine = model.predictor.items[int(model.predictor.seen.of(0, False)[0])]
    before = watch.past(model.predictor, Query("u00"))
    assert watch.past(model.predictor, Query("u00", history=(mine, "unheard of"))) == before
    assert watch.past(model.predictor, Query(None, history=(mine, mine))) == 1


def test_a_column_that_no_request_has_is_named(model: Model):
    column = PRODUCT.data.columns[0].model_copy(update={"name": "age"})
    data = PRODUCT.data.model_copy(update={"columns": (column,)})
    other = PRODUCT.model_copy(update={"data": data})
    (ranking,) = model.predictor.recommend([Query(None)])
    with pytest.raises(ValueError, match=r"columns \['age'\] are not known of a request"):
        watch.watch(other, model.candidate.thresholds, model.predictor, Query(None), ranking)


def test_hits_follow_what_is_known_of_the_user():
    """The fitted curve gives back the share of hits among those who are alike."""
    known = np.repeat([0.0, 20.0], 1000)
    hits = np.concatenate([np.arange(1000) < 200, np.arange(1000) < 700]).astype(float)
    curve = watch.fit_hits(known, hits)
    assert watch.hit_probability(curve, np.array([0.0, 20.0])) == pytest.approx(
        [0.2, 0.7], abs=0.01
    )


def test_without_misses_the_probability_is_below_one():
    curve = watch.fit_hits(np.array([1.0, 5.0, 9.0]), np.ones(3))
    assert watch.hit_probability(curve, np.array([100.0])) == pytest.approx([3.5 / 4])


# the blend


def test_a_blend_keeps_its_members_and_is_the_same_when_loaded(tables: Tables, tmp_path: Path):
    names = ("popularity", "itemknn")
    bases = {
        name: fitted(Trial(name=name, params={"model": name}), tables, FitContext()).predictor
        for name in names
    }
    trial = Trial(name="blend", params={"model": "blend"}, after=names)
    found = fitted(trial, tables, FitContext(bases=bases)).predictor
    weights = found.members["blend"].weights
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["itemknn"] > weights["popularity"], "only one of them knows the circles"
    assert found.algorithms == ("blend", "popularity", "itemknn")
    found.save(tmp_path)
    again = FilmsLearner().load(tmp_path)
    queries = [Query(f"u{n:02d}", algorithm=name) for n in range(9) for name in found.algorithms]
    assert again.recommend(queries) == found.recommend(queries)
    alone = bases["itemknn"].recommend([Query("u03")])
    assert found.recommend([Query("u03", algorithm="itemknn")])[0].items == alone[0].items


def test_members_count_alike_whatever_their_scale(tables: Tables):
    rows = frames.interactions(tables.train, frames.catalogue(tables.more[ITEMS]))
    found = FilmsLearner().fit(Trial(name="a", params={"model": "itemknn"}), rows, FitContext())
    member = found.members["a"]
    scores = blend.standardised(
        member, np.array([0, -1]), [np.array([1, 2]), np.empty(0, np.int64)]
    )
    assert (scores[0].mean(), scores[0].std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1))
    assert not scores[1].any(), "it has nothing to answer from"


def test_a_blend_without_members_or_with_picky_ones_is_refused(tables: Tables):
    rows = frames.interactions(tables.train, frames.catalogue(tables.more[ITEMS]))
    with pytest.raises(ValueError, match="blends 0 members"):
        FilmsLearner().fit(Trial(name="b", params={"model": "blend"}), rows, FitContext())
    picky = CatalogueRecommender.of(
        rows,
        FilmsLearner()
        .fit(Trial(name="a", params={"model": "itemknn", "liked_only": True}), rows, FitContext())
        .members,
    )
    with pytest.raises(ValueError, match=r"\['a'\] read liked items only"):
        blend.Blend(picky.members, {"a": 1.0})
