"""Scorecards, the choice of the challenger, and robustness to disturbed inputs."""

import numpy as np
import pytest
from scipy.special import expit

from models.contracts.product import Column
from models.contracts.results import Candidate, Scorecard
from models.core import bootstrap, evaluation, metrics, significance


def holdout(n=600, seed=0):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(float)
    scores = np.round(expit(generator.standard_normal(n) + 2 * labels - 1.5), 3)
    tenants = np.array(["acme"] * (n - 50) + ["lonely"] * 50)
    labels[-50:] = 0  # a tenant with one class
    slices = {"slice_hard": scores > 0.3, "slice_empty": np.zeros(n, bool)}
    return evaluation.Holdout(labels, tenants, slices), scores


def score(rows, scores, **changes):
    given = {"latency_ms": (0.5, 1.5), "size_bytes": 123, "importance": {"a": 1.0}, **changes}
    return evaluation.scorecard("c1", "xgboost", scores, rows, 0.4, **given)


def test_a_scorecard_has_every_metric_of_every_slice():
    rows, scores = holdout()
    card = score(rows, scores, replicates=200)
    assert set(card.metrics) == {
        "overall",
        "slice_hard",
        "slice_empty",
        "tenant=acme",
        "tenant=lonely",
    }
    hard = rows.slices["slice_hard"]
    assert card.rows == {
        "overall": 600,
        "slice_hard": hard.sum(),
        "slice_empty": 0,
        "tenant=acme": 550,
        "tenant=lonely": 50,
    }
    assert card.positives["slice_hard"] == rows.labels[hard].sum()
    for name in metrics.METRICS:
        estimate = card.metrics["slice_hard"][name]
        value = metrics.compute(name, rows.labels[hard], scores[hard], 0.4)
        assert estimate.value == pytest.approx(value)
        assert estimate.low < value < estimate.high
    assert (card.latency_p50_ms, card.latency_p95_ms, card.size_bytes) == (0.5, 1.5, 123)


def test_roc_auc_has_the_delong_interval_and_the_others_the_bootstrap_interval():
    rows, scores = holdout()
    card = score(rows, scores, alpha=0.1, replicates=300)
    expected = significance.delong_interval(rows.labels, scores, alpha=0.1)
    assert card.metrics["overall"]["roc_auc"] == expected
    drawn = bootstrap.estimate("brier", rows.labels, scores, alpha=0.1, size=3000)
    brier = card.metrics["overall"]["brier"]
    assert brier.low == pytest.approx(drawn.low, rel=0.03)
    assert brier.high == pytest.approx(drawn.high, rel=0.03)


def test_undefined_metrics_are_nan_and_survive_json():
    rows, scores = holdout()
    card = score(rows, scores, replicates=50)
    lonely = card.metrics["tenant=lonely"]
    assert np.isnan([lonely["roc_auc"].value, lonely["roc_auc"].low, lonely["recall"].high]).all()
    assert lonely["brier"].low < lonely["brier"].high
    assert card.metrics["slice_empty"] == {}
    again = Scorecard.model_validate_json(card.model_dump_json())
    assert again.metrics["overall"] == card.metrics["overall"]
    assert np.isnan(again.metrics["tenant=lonely"]["roc_auc"].value)


def test_a_slice_does_not_change_the_intervals_of_the_others():
    rows, scores = holdout()
    fewer = rows._replace(slices={"slice_hard": rows.slices["slice_hard"]})
    a, b = score(rows, scores, replicates=50), score(fewer, scores, replicates=50)
    assert a.metrics["tenant=acme"] == b.metrics["tenant=acme"]
    assert score(rows, scores, replicates=50, seed=1).metrics != a.metrics


def test_a_scorecard_refuses_bad_rows():
    rows, scores = holdout()
    with pytest.raises(ValueError, match="equally long"):
        score(rows, scores[:-1])
    with pytest.raises(ValueError, match=r"within \[0, 1\]"):
        score(rows, scores + 1)


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


COLUMNS = (
    Column(name="signal", description="", minimum=-5, maximum=5, nullable=True),
    Column(name="count", kind="int", description="", minimum=0),
    Column(name="unused", description="", nullable=True),
)


def model(seen=None):
    """Inputs -> probability from the first two columns, null as 0; keeps what it was given."""

    def predict(inputs):
        if seen is not None:
            seen.append(inputs.copy())
        return expit(2 * np.nan_to_num(inputs[:, 0]) + 0.1 * inputs[:, 1])

    return predict


def inputs(n=2000, seed=0):
    generator = np.random.default_rng(seed)
    matrix = np.stack(
        [
            np.clip(generator.standard_normal(n), -5, 5),
            generator.integers(0, 4, n).astype(float),
            generator.standard_normal(n),
        ],
        axis=1,
    )
    labels = (generator.random(n) < model()(matrix)).astype(float)
    matrix[::10, 0] = np.nan
    return matrix, labels


def test_robustness_shows_what_the_model_leans_on():
    matrix, labels = inputs()
    before = matrix.copy()
    table = evaluation.robustness(model(), matrix, labels, COLUMNS, "roc_auc")
    by_name = {(row.name, row.column): row for row in table}
    assert list(by_name) == [
        ("none", None),
        ("noise", None),
        ("outliers", None),
        ("missing", "signal"),
        ("missing", "unused"),
    ]
    plain = by_name["none", None]
    assert plain.value == metrics.compute("roc_auc", labels, model()(matrix))
    assert plain.error_increase == 0
    assert by_name["missing", "unused"].value == plain.value
    assert by_name["missing", "signal"].value < 0.6 < plain.value
    assert 0 < by_name["noise", None].error_increase < 0.1
    assert 0 < by_name["outliers", None].error_increase < 0.2
    assert np.array_equal(matrix, before, equal_nan=True)


def test_disturbed_inputs_stay_valid_and_repeatable():
    matrix, labels = inputs()
    seen, again = [], []
    evaluation.robustness(model(seen), matrix, labels, COLUMNS, "brier", seed=3)
    evaluation.robustness(model(again), matrix, labels, COLUMNS, "brier", seed=3)
    _, noisy, outlying, *_ = seen
    for case, same in zip(seen, again, strict=True):
        assert np.array_equal(case, same, equal_nan=True)
    for disturbed in (noisy, outlying):
        assert np.array_equal(np.isnan(disturbed), np.isnan(matrix))
        assert np.nanmax(np.abs(disturbed[:, 0])) <= 5
        assert (disturbed[:, 1] == np.round(disturbed[:, 1])).all()
        assert disturbed[:, 1].min() >= 0
    moved = np.nanstd(noisy[:, 2] - matrix[:, 2]) / matrix[:, 2].std()
    assert moved == pytest.approx(0.1, rel=0.1)
    hit = (outlying[:, 2] != matrix[:, 2]).mean()
    assert hit == pytest.approx(0.01, abs=0.007)


def test_robustness_refuses_inputs_of_another_shape():
    matrix, labels = inputs(50)
    with pytest.raises(ValueError, match="are not 50 rows x 2"):
        evaluation.robustness(model(), matrix, labels, COLUMNS[:2], "brier")
