"""Metrics of every slice, comparisons, guardrail tests, and the choice of the challenger."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from models.contracts.product import Guardrail
from models.contracts.results import Candidate, Scorecard
from models.core import bootstrap, evaluation, guardrails, metrics, significance, slices


class Holdout(NamedTuple):
    """Judged rows without a model."""

    labels: np.ndarray
    tenants: np.ndarray
    slices: dict[str, np.ndarray]


def holdout(n=600, seed=0):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(float)
    scores = np.round(expit(generator.standard_normal(n) + 2 * labels - 1.5), 3)
    tenants = np.array(["acme"] * (n - 50) + ["lonely"] * 50)
    labels[-50:] = 0  # a tenant with one class
    slices = {"slice_hard": scores > 0.3, "slice_empty": np.zeros(n, bool)}
    return Holdout(labels, tenants, slices), scores


def score(rows, scores, **changes):
    units = slices.Scores(rows.labels, scores, None, (0.4, 0.4))
    judged = units, rows.tenants, rows.slices
    return evaluation.on_slices(*judged, names=metrics.BINARY, **changes)


def test_every_slice_has_every_metric():
    rows, scores = holdout()
    found = score(rows, scores, replicates=200)
    assert set(found.metrics) == {
        "overall",
        "slice_hard",
        "slice_empty",
        "tenant=acme",
        "tenant=lonely",
    }
    hard = rows.slices["slice_hard"]
    assert found.rows == {
        "overall": 600,
        "slice_hard": hard.sum(),
        "slice_empty": 0,
        "tenant=acme": 550,
        "tenant=lonely": 50,
    }
    assert found.positives["slice_hard"] == rows.labels[hard].sum()
    for name in metrics.BINARY:
        estimate = found.metrics["slice_hard"][name]
        value = metrics.compute(name, rows.labels[hard], scores[hard], 0.4)
        assert estimate.value == pytest.approx(value)
        assert estimate.low < value < estimate.high


def test_roc_auc_has_the_delong_interval_and_the_others_the_bootstrap_interval():
    rows, scores = holdout()
    found = score(rows, scores, alpha=0.1, replicates=300)
    expected = significance.delong_interval(rows.labels, scores, alpha=0.1)
    assert found.metrics["overall"]["roc_auc"] == expected
    drawn = bootstrap.estimate("brier", rows.labels, scores, alpha=0.1, size=3000)
    brier = found.metrics["overall"]["brier"]
    assert brier.low == pytest.approx(drawn.low, rel=0.03)
    assert brier.high == pytest.approx(drawn.high, rel=0.03)


def test_undefined_metrics_are_nan_and_survive_json():
    rows, scores = holdout()
    found = score(rows, scores, replicates=50)
    lonely = found.metrics["tenant=lonely"]
    assert np.isnan([lonely["roc_auc"].value, lonely["roc_auc"].low, lonely["recall"].high]).all()
    assert lonely["brier"].low < lonely["brier"].high
    assert found.metrics["slice_empty"] == {}
    card = Scorecard(
        candidate_id="c1", trial="xgboost", **found._asdict(), latency_p50_ms=0.5,
        latency_p95_ms=1.5, size_bytes=123, importance={"a": 1.0},
    )  # fmt: skip
    again = Scorecard.model_validate_json(card.model_dump_json())
    assert again.metrics["overall"] == card.metrics["overall"]
    assert np.isnan(again.metrics["tenant=lonely"]["roc_auc"].value)


def test_a_slice_does_not_change_the_intervals_of_the_others():
    rows, scores = holdout()
    fewer = rows._replace(slices={"slice_hard": rows.slices["slice_hard"]})
    a, b = score(rows, scores, replicates=50), score(fewer, scores, replicates=50)
    assert a.metrics["tenant=acme"] == b.metrics["tenant=acme"]
    assert score(rows, scores, replicates=50, seed=1).metrics != a.metrics


def test_bad_rows_are_refused():
    rows, scores = holdout()
    with pytest.raises(ValueError, match="equally long"):
        score(rows, scores[:-1])
    with pytest.raises(ValueError, match=r"within \[0, 1\]"):
        score(rows, scores + 1)


def two_models(n=900, seed=0):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(float)
    shared, own = generator.standard_normal((2, n))
    new, old = shared + 2.0 * labels - 1.5, 0.9 * shared + 0.4 * own + 1.7 * labels - 1.5
    return slices.Scores(labels, expit(new), expit(old), (0.5, 0.4))


@pytest.mark.parametrize("name", ["roc_auc", "accuracy", "brier"])
def test_a_comparison_states_the_standard_error_of_its_own_test(name):
    rows = two_models()
    drawn = slices.replicate([name], rows, "overall", 500, 0)
    found = evaluation.compare(name, rows, drawn)
    expected = metrics.compute(name, rows.labels, rows.champion, 0.4)
    assert found.champion.value == pytest.approx(expected)
    champion_error = metrics.error(name, found.champion.value)
    first = found.tests[0]
    if name == "accuracy":
        scores = rows.challenger, rows.champion
        disagreements = first.detail["only_a_right"] + first.detail["only_b_right"]
        wrong = [(s >= t) != rows.labels for s, t in zip(scores, rows.thresholds, strict=True)]
        assert disagreements == (wrong[0] != wrong[1]).sum()
        assert found.se == pytest.approx(np.sqrt(disagreements) / 900 / champion_error)
    else:
        gain = metrics.error(name, found.champion.value) - metrics.error(
            name, found.challenger.value
        )
        assert found.se == pytest.approx(gain / first.statistic / champion_error)
    assert evaluation.compare(name, replace(rows, champion=None), drawn).effect is None


def test_a_guardrail_tests_the_excess_over_its_tolerance():
    rows = two_models()
    worse = slices.Scores(rows.labels, rows.champion, rows.challenger, (0.5, 0.5))
    drawn = slices.replicate(["brier"], worse, "overall", 800, 0)
    new, old = (worse.value("brier", champion=old) for old in (False, True))
    p_values = []
    for tolerated in (0.0, 0.1, 1.0):
        guardrail = Guardrail(metric="brier", max_loss=tolerated)
        found = guardrails.harm(guardrail, "overall", worse, drawn)
        assert found.relative_loss == pytest.approx(new / old - 1)
        noise = drawn.challenger["brier"] - (1 + tolerated) * drawn.champion["brier"]
        expected = norm.sf((new - (1 + tolerated) * old) / noise.std(ddof=1))
        assert found.p_value == pytest.approx(expected, rel=1e-6)
        p_values.append(found.p_value)
    assert p_values[0] < 0.05 < p_values[2]


def test_guardrails_are_one_family():
    guardrail = Guardrail(metric="roc_auc", floor=0.5)
    family = [
        guardrails.Harm(guardrail, f"tenant={i}", 0.8, 0.9, 1.0, p_value, i != 3)
        for i, p_value in enumerate([0.01, 0.04, 0.02, 0.0001])
    ]
    results = guardrails.judge_harms(family, 0.05)
    assert [result.adjusted_p for result in results] == [
        pytest.approx(0.03),
        pytest.approx(0.04),
        pytest.approx(0.04),
        None,
    ]
    assert [result.status for result in results] == [*["violated"] * 3, "too_few_rows"]
    assert [result.status for result in guardrails.judge_harms(family, 0.035)] == [
        "violated",
        "passed",
        "passed",
        "too_few_rows",
    ]


def candidate(trial, **cv):
    return Candidate(
        product="risk/x",
        trial=trial,
        candidate_id=trial,
        snapshot_id="s",
        learner="l",
        code_version="v",
        params={},
        columns=(),
        tenants=(),
        seed=0,
        cv=cv,
        threshold=0.5,
        fit_seconds=1.0,
        files={},
    )


def test_the_challenger_has_the_smallest_mean_error_and_ties_go_to_the_first():
    simple = candidate("simple", roc_auc=(0.8, 0.9), brier=(0.1, 0.3))
    strong = candidate("strong", roc_auc=(0.9, 0.9), brier=(0.3, 0.3))
    equal = candidate("equal", roc_auc=(0.95, 0.85), brier=(0.2, 0.2))
    assert evaluation.pick_challenger([simple, strong, equal], "roc_auc") == strong
    assert evaluation.pick_challenger([simple, equal, strong], "roc_auc") == equal
    assert evaluation.pick_challenger([strong, simple], "brier") == simple


def test_a_form_is_no_challenger():
    plain = candidate("torch", roc_auc=(0.8,))
    form = candidate("int8", roc_auc=(0.9,)).model_copy(update={"form": True})
    assert evaluation.pick_challenger([form, plain], "roc_auc") == plain
    with pytest.raises(ValueError, match="that is no form"):
        evaluation.pick_challenger([form], "roc_auc")


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], "no candidates"),
        ([candidate("a", brier=(0.1,))], "candidate 'a' has no complete cross-validation"),
        ([candidate("a", roc_auc=(0.9, np.nan))], r"\[0.9, nan\]"),
    ],
)
def test_candidates_that_cannot_be_compared_are_refused(candidates, message):
    with pytest.raises(ValueError, match=message):
        evaluation.pick_challenger(candidates, "roc_auc")
