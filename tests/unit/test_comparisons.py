"""Candidates side by side: any two, average ranks over data sets, label by label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from assets.stages.comparisons import average_ranks, every_pair, label_rows, model_answers
from models.contracts.results import Estimate
from models.registry import get
from tests.unit.report_sample import CARDS, DEMSAR, RANKS, candidate

ROWS, TEXTS = get("risk/sync_conflict"), get("moderation/text_toxicity")
IDS = [letter * 16 for letter in "abcd"]
MODELS = [candidate(one, f"trial_{one[0]}") for one in IDS]


def card(number: int, slices: dict[str, float]):
    metrics = {
        name: {"roc_auc": Estimate(value=value, low=value, high=value)}
        for name, value in slices.items()
    }
    changes = {"candidate_id": IDS[number], "trial": f"trial_{IDS[number][0]}", "metrics": metrics}
    return CARDS[0].model_copy(update=changes)


def ranked_over(prefix: str, sets: int = 14):
    return [card(j, {f"{prefix}{i}": DEMSAR[i, j] for i in range(sets)}) for j in range(4)]


def test_average_ranks_over_tenants_are_those_of_the_paper():
    found = average_ranks("roc_auc", 0.05, ranked_over("tenant="), MODELS)
    assert found == RANKS.model_copy(update={"models": tuple(f"trial_{i}" for i in "abcd")})
    unknown = ranked_over("tenant=")
    unknown[0].metrics["tenant=3"].clear()
    assert average_ranks("roc_auc", 0.05, unknown, MODELS).sets == 13  # a set that all have


def test_without_five_tenants_folds_are_ranked_then_slices():
    few = [
        one.model_copy(update={"metrics": one.metrics | two.metrics})
        for one, two in zip(ranked_over("tenant=", 4), ranked_over("slice_"), strict=True)
    ]
    folded = [
        one.model_copy(update={"cv": {"roc_auc": tuple(DEMSAR[:, j])}})
        for j, one in enumerate(MODELS)
    ]
    assert average_ranks("roc_auc", 0.05, few, folded).over == "folds"
    assert average_ranks("roc_auc", 0.05, few, MODELS).over == "slices"
    assert average_ranks("roc_auc", 0.05, ranked_over("tenant=", 4), MODELS) is None


def test_forms_are_no_models_of_their_own_in_the_ranks():
    forms = [one.model_copy(update={"form": True}) for one in MODELS[2:]]
    found = average_ranks("roc_auc", 0.05, ranked_over("tenant="), [*MODELS[:2], *forms])
    assert found is None  # two models are left: that is a test of two, not of many


def test_a_lower_brier_score_ranks_first():
    cards = [
        card(j, {}).model_copy(update={"metrics": {
            f"tenant={i}": {"brier": Estimate(value=v, low=v, high=v)} for i in range(5)
        }})
        for j, v in enumerate((0.3, 0.1, 0.2))
    ]  # fmt: skip
    assert average_ranks("brier", 0.05, cards, MODELS[:3]).ranks == (3, 1, 2)


def test_any_two_models_are_tested_and_corrected_over_all_pairs():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2.0
    good = np.where(labels == 1, 0.9, 0.1) + rng.uniform(-0.05, 0.05, 200)
    bad = good.copy()
    bad[:8] = 1 - good[:8]  # eight rows that the bad one gets wrong
    scores = {"good": good, "bad": bad, "same": bad}
    manifest = candidate("a" * 16, "any").model_copy(update={"threshold": 0.5})
    answered = {name: (manifest, {"score": values}) for name, values in scores.items()}
    found = {
        (pair.better, pair.other): pair
        for pair in every_pair(ROWS, pd.DataFrame({"label": labels}), answered)
    }
    assert set(found) == {("good", "bad"), ("good", "same"), ("bad", "same")}
    # 8 disagreements, all won: 2 * 0.5 ** 8, and Holm's factor for the smallest of three
    assert found["good", "bad"].p["mcnemar_exact"] == pytest.approx(3 * 2 / 256)
    assert found["good", "bad"].effect.value == 1.0  # the whole error is gone
    equal = found["bad", "same"]
    assert (equal.effect.value, set(equal.p.values())) == (0.0, {1.0})
    assert set(equal.p) == {"paired_bootstrap", "mcnemar_exact", "delong"}


def test_models_are_compared_on_the_labels_that_all_of_them_answer():
    rng = np.random.default_rng(1)
    first, other = TEXTS.data.labels[0], TEXTS.data.labels[1]
    truth = {f"label_{name}": np.full(120, np.nan) for name in TEXTS.data.labels}
    truth[f"label_{first}"] = truth[f"label_{other}"] = np.arange(120) % 2.0
    thresholds = dict.fromkeys(TEXTS.data.labels, 0.5)
    manifest = candidate("a" * 16, "any").model_copy(update={"thresholds": thresholds})
    nothing = {name: np.full(120, np.nan) for name in TEXTS.data.labels}
    same = rng.random(120)
    both = nothing | {first: same, other: truth[f"label_{other}"]}  # right on the other label
    answered = {"both": (manifest, both), "one": (manifest, nothing | {first: same})}
    (pair,) = every_pair(TEXTS, pd.DataFrame(truth), answered)
    assert (pair.effect.value, pair.p) == (0.0, {"paired_bootstrap": 1.0})


def test_labels_are_judged_where_they_are_known():
    labels = TEXTS.data.labels
    truth = {f"label_{name}": np.full(6, np.nan) for name in labels}
    truth[f"label_{labels[0]}"] = np.array([1, 0, 1, 0, np.nan, np.nan])
    truth[f"label_{labels[1]}"] = np.array([0, 0, np.nan, np.nan, np.nan, np.nan])
    answers = dict.fromkeys(labels, np.full(6, np.nan))
    answers |= dict.fromkeys(labels[:2], np.array([0.9, 0.8, 0.7, 0.1, 0.99, 0.99]))
    manifest = candidate("a" * 16, "any").model_copy(update={"thresholds": {labels[0]: 0.75}})
    one, two, *rest = label_rows(TEXTS, pd.DataFrame(truth), {"any": (manifest, answers)})
    # positives at 0.9 and 0.7, negatives at 0.8 and 0.1: three of four pairs are in order
    assert (one.known, one.positives, one.roc_auc, one.threshold) == (4, 2, 0.75, 0.75)
    assert one.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert one.f1 == pytest.approx(0.5)  # one of two found, one of two alarms right
    assert (two.known, two.positives) == (2, 0)
    assert np.isnan([two.roc_auc, two.threshold]).all()  # one class only
    assert {row.known for row in rest} == {0}
    assert label_rows(ROWS, pd.DataFrame(truth), {"any": (manifest, answers)}) == []


def test_answers_of_one_model_are_its_columns_alone():
    kept = pd.DataFrame({"label": [1.0], "a:score": [0.5], "ab:score": [0.6]})
    assert {name: list(v) for name, v in model_answers(kept, "a").items()} == {"score": [0.5]}
