"""The metrics against scikit-learn, on random rows with ties and at their undefined edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from models.core import calibration, metrics

THRESHOLD = 0.4


@st.composite
def rows(draw):
    """Labels with both classes and scores on a coarse grid, so that ties are common."""
    n = draw(st.integers(2, 60))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    labels[0], labels[1] = 0, 1
    scores = draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))
    return np.array(labels, float), np.array(scores) / 8


def by_scikit_learn(name, labels, scores):
    called, nan = (scores >= THRESHOLD).astype(int), {"zero_division": np.nan}
    if name == "precision_at_80_recall":
        precision, recall, _ = reference.precision_recall_curve(labels, scores)
        return precision[recall >= 0.8 - 1e-12].max()
    return {
        "roc_auc": lambda: reference.roc_auc_score(labels, scores),
        "average_precision": lambda: reference.average_precision_score(labels, scores),
        "f1": lambda: reference.f1_score(labels, called, **nan),
        "precision": lambda: reference.precision_score(labels, called, **nan),
        "recall": lambda: reference.recall_score(labels, called, **nan),
        "accuracy": lambda: reference.accuracy_score(labels, called),
        "specificity": lambda: reference.recall_score(labels, called, pos_label=0, **nan),
        "f1_negative": lambda: reference.f1_score(labels, called, pos_label=0, **nan),
        "precision_negative": lambda: reference.precision_score(labels, called, pos_label=0, **nan),
        "recall_negative": lambda: reference.recall_score(labels, called, pos_label=0, **nan),
        "macro_f1": lambda: reference.f1_score(labels, called, average="macro", **nan),
        "brier": lambda: reference.brier_score_loss(labels, scores),
        "log_loss": lambda: reference.log_loss(labels, scores, labels=[0, 1]),
    }[name]()


@pytest.mark.parametrize("name", sorted(set(metrics.BINARY) - {"calibration_slope", "ece"}))
@given(rows())
@settings(max_examples=40)
def test_equals_scikit_learn(name, sample):
    labels, scores = sample
    ours = metrics.compute(name, labels, scores, THRESHOLD)
    assert ours == pytest.approx(by_scikit_learn(name, labels, scores), abs=1e-12, nan_ok=True)


@given(rows())
@settings(max_examples=30)
def test_confusion_and_report_equal_scikit_learn(sample):
    labels, scores = sample
    called = (scores >= THRESHOLD).astype(int)
    assert metrics.confusion(labels, scores, THRESHOLD) == tuple(
        reference.confusion_matrix(labels, called, labels=[0, 1]).ravel()
    )
    theirs = reference.classification_report(
        labels.astype(int), called, labels=[0, 1], output_dict=True, zero_division=np.nan
    )
    keys = ("0", "1", "macro avg", "weighted avg")
    for row, key in zip(
        metrics.classification_report(labels, scores, THRESHOLD), keys, strict=True
    ):
        expected = theirs[key]
        assert row[1:] == pytest.approx(
            [expected[k] for k in ("precision", "recall", "f1-score", "support")], nan_ok=True
        )


@pytest.mark.parametrize(
    ("name", "labels", "scores"),
    [
        ("roc_auc", [1, 1], [0.2, 0.3]),
        ("roc_auc", [0, 0], [0.2, 0.3]),
        ("average_precision", [0, 0], [0.2, 0.3]),
        ("precision_at_80_recall", [0, 0], [0.2, 0.3]),
        ("precision", [0, 1], [0.1, 0.1]),
        ("recall", [0, 0], [0.1, 0.9]),
        ("specificity", [1, 1], [0.1, 0.9]),
        ("calibration_slope", [1, 1], [0.1, 0.9]),
        ("calibration_slope", [0, 1], [0.3, 0.3]),
    ],
)
def test_undefined_is_nan(name, labels, scores):
    assert np.isnan(metrics.compute(name, np.array(labels), np.array(scores)))


def test_error_points_down_for_every_metric():
    assert metrics.error("roc_auc", 0.9) == pytest.approx(0.1)
    assert metrics.error("brier", 0.9) == 0.9
    assert metrics.error("calibration_slope", 0.7) == pytest.approx(0.3)
    assert metrics.error("calibration_slope", np.array([0.7, 1.3])) == pytest.approx([0.3, 0.3])
    for name, metric in metrics.METRICS.items():
        assert metric.name == name


def overconfident(n=4000, slope=0.5, seed=0):
    """Labels whose logit is ``slope`` times the logit of the scores."""
    generator = np.random.default_rng(seed)
    x = 2 * generator.standard_normal(n) - 1
    return (generator.random(n) < expit(slope * x - 0.3)).astype(float), expit(x)


def test_calibration_slope_equals_an_unpenalised_logistic_regression():
    labels, scores = overconfident()
    fitted = calibration.fit(labels, scores)
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(scores)[:, None], labels)
    assert fitted.slope == pytest.approx(model.coef_[0, 0], abs=1e-6)
    assert fitted.intercept == pytest.approx(model.intercept_[0], abs=1e-6)
    assert fitted.slope == pytest.approx(0.5, abs=0.05)


def test_calibration_slope_halves_when_the_logits_double():
    labels, scores = overconfident()
    once = metrics.compute("calibration_slope", labels, scores)
    twice = metrics.compute("calibration_slope", labels, expit(1.5 * logit(scores)))
    assert twice == pytest.approx(once / 1.5, rel=1e-8)


@pytest.mark.parametrize(("side", "limit"), [(1, 20.0), (-1, -20.0)])
def test_calibration_slope_of_separated_classes_is_the_limit(side, limit):
    labels = np.array([0.0] * 20 + [1.0] * 20)
    scores = np.concatenate([np.linspace(0.45, 0.49, 20), np.linspace(0.51, 0.55, 20)])[::side]
    assert metrics.compute("calibration_slope", labels, scores) == limit


def test_calibration_slope_survives_certain_scores():
    labels = np.array([0, 0, 1, 1, 0, 1.0])
    assert np.isfinite(metrics.compute("calibration_slope", labels, labels[::-1]))


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.1, np.nan], "1 scores are NaN"),
        ([0, 1], [0.1, np.inf], "1 scores are NaN or infinite"),
        ([0, 1, 1], [0.1, 0.2], "equally long"),
        ([], [], "not empty"),
        ([0, 2], [0.1, 0.2], "1 labels are neither 0 nor 1"),
        ([0, np.nan], [0.1, 0.2], "neither 0 nor 1"),
        ([[0, 1]], [[0.1, 0.2]], "equally long"),
    ],
)
def test_bad_rows_are_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        metrics.compute("roc_auc", np.array(labels), np.array(scores))


def test_a_probability_metric_refuses_scores_that_are_none():
    labels, scores = np.array([0, 1.0]), np.array([-3.0, 4.0])
    assert metrics.compute("roc_auc", labels, scores) == 1.0
    with pytest.raises(ValueError, match=r"within \[0, 1\]"):
        metrics.compute("brier", labels, scores)


def test_an_unknown_metric_names_those_there_are():
    with pytest.raises(ValueError, match=r"unknown metrics \['auc'\]; there are .*roc_auc"):
        metrics.compute("auc", np.array([0, 1.0]), np.array([0.1, 0.2]))


def test_ece_by_hand():
    """Bins are open below, closed above: (0.1, 0.2] holds 0.12 and 0.2, (0.8, 0.9] holds 0.9."""
    labels, scores = np.array([0, 1, 1, 0.0]), np.array([0.12, 0.2, 0.9, 0.85])
    # bin (0.1, 0.2]: half positive against 0.16; bin (0.8, 0.9]: half positive against 0.875
    assert metrics.compute("ece", labels, scores) == pytest.approx(0.5 * 0.34 + 0.5 * 0.375)
    edges = np.array([0.0, 0.1, 1.0]), np.array([0.0, 0.0, 1.0])
    assert metrics.compute("ece", edges[1], edges[0]) == pytest.approx((0.0 + 0.1 + 0.0) / 3)


@given(rows())
@settings(max_examples=30)
def test_ece_is_its_definition(sample):
    labels, scores = sample
    total = 0.0
    for low in range(10):
        inside = (scores > low / 10) & (scores <= (low + 1) / 10) | ((low == 0) & (scores == 0))
        if inside.any():
            total += inside.mean() * abs(labels[inside].mean() - scores[inside].mean())
    assert metrics.compute("ece", labels, scores) == pytest.approx(total, abs=1e-12)


def test_per_user_metrics_are_no_metrics_of_rows():
    assert metrics.METRICS["ndcg_at_10"].per_user
    assert set(metrics.BINARY) | set(metrics.PER_USER) == set(metrics.METRICS)
    assert not metrics.METRICS["popularity_at_10"].higher_is_better
    with pytest.raises(ValueError, match=r"unknown metrics \['ndcg_at_10'\]"):
        metrics.compute("ndcg_at_10", np.array([0, 1.0]), np.array([0.1, 0.2]))
