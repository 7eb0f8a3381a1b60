"""Ranking products as the stages see them: checks, fits, units, answers, the prediction log."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.contracts.learner import FitContext, Query
from models.contracts.product import Trial
from models.core.ranking import frames, questions, watch
from models.kinds import Draft, Model, Tables
from models.recommendation.films.product import PRODUCT
from tests.unit.ranked_tables import ITEMS, KIND, crowd, divided, fitted


@pytest.fixture(scope="module")
def tables() -> Tables:
    return divided()


@pytest.fixture(scope="module")
def model(tables: Tables) -> Model:
    return fitted(Trial(name="itemknn", params={"model": "itemknn"}), tables, FitContext())


def test_the_kind_makes_the_checks_it_names():
    from models.core.splits import split

    table, items = crowd()
    draft = Draft(table, split(table, PRODUCT.data.split), None, {ITEMS: items}, True)
    found = KIND.check(PRODUCT.data, draft)
    assert [result.name for result in found] == list(KIND.checks)
    assert all(result.passed for result in found)
    broken = KIND.check(PRODUCT.data, draft._replace(more={ITEMS: items[1:]}))
    assert {"catalogue", "judged_users"} <= {result.name for result in broken if not result.passed}


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


def test_users_asked_one_by_one_for_the_latency_get_a_list_each(tables: Tables, model: Model):
    units = KIND.units(PRODUCT, tables).iloc[:4]
    lists = [call() for call in KIND.singles(model, units)]
    assert [len(one) for one in lists] == [1] * 4
    for (ranking,), history in zip(lists, units["history"], strict=True):
        assert ranking.items
        assert set(ranking.items).isdisjoint(json.loads(history))


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
