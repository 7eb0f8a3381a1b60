"""The bootstrap against scikit-learn with sample weights, theory and exact refits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn import metrics as reference

from models.core import bootstrap, calibration, metrics, significance

THRESHOLD = 0.5


def sample(n=400, seed=0, decimals=2):
    """Labels and rounded (hence tied) probabilities."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(float)
    scores = expit(generator.standard_normal(n) + 2 * labels - 1.5)
    return labels, np.round(scores, decimals)


def weighted(name, labels, scores, weight):
    called = scores >= THRESHOLD
    if name == "precision_at_80_recall":
        precision, recall, _ = reference.precision_recall_curve(
            labels, scores, sample_weight=weight
        )
        return precision[recall >= 0.8 - 1e-12].max()
    of_class = {"sample_weight": weight, "zero_division": np.nan}
    negative = {"pos_label": 0, **of_class}
    return {
        "roc_auc": lambda: reference.roc_auc_score(labels, scores, sample_weight=weight),
        "average_precision": lambda: reference.average_precision_score(
            labels, scores, sample_weight=weight
        ),
        "f1": lambda: reference.f1_score(labels, called, **of_class),
        "precision": lambda: reference.precision_score(labels, called, **of_class),
        "recall": lambda: reference.recall_score(labels, called, **of_class),
        "accuracy": lambda: reference.accuracy_score(labels, called, sample_weight=weight),
        "specificity": lambda: reference.recall_score(labels, called, **negative),
        "f1_negative": lambda: reference.f1_score(labels, called, **negative),
        "precision_negative": lambda: reference.precision_score(labels, called, **negative),
        "recall_negative": lambda: reference.recall_score(labels, called, **negative),
        "macro_f1": lambda: reference.f1_score(labels, called, average="macro", **of_class),
        "brier": lambda: reference.brier_score_loss(labels, scores, sample_weight=weight),
        "log_loss": lambda: reference.log_loss(labels, scores, sample_weight=weight),
    }[name]()


@pytest.mark.parametrize("name", sorted(set(metrics.BINARY) - {"calibration_slope", "ece"}))
@given(seed=st.integers(0, 10_000), decimals=st.sampled_from([1, 2, 9]))
@settings(max_examples=10)
def test_replicates_equal_scikit_learn_with_sample_weight(name, seed, decimals):
    labels, scores = sample(80, seed, decimals)
    resamples = bootstrap.counts(80, 4, seed)
    values = bootstrap.replicates(name, labels, scores, resamples, THRESHOLD)
    expected = [weighted(name, labels, scores, count) for count in resamples]
    assert values == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_counts_are_resamples():
    drawn = bootstrap.counts(500, 2000, 7)
    assert drawn.shape == (2000, 500)
    assert (drawn.sum(axis=1) == 500).all()
    assert drawn.var() == pytest.approx(1 - 1 / 500, rel=0.01)  # of a multinomial cell
    assert np.array_equal(drawn, bootstrap.counts(500, 2000, 7))
    assert not np.array_equal(drawn, bootstrap.counts(500, 2000, 8))


def test_batches_do_not_change_the_result(monkeypatch):
    labels, scores = sample()
    whole = bootstrap.replicate_all(metrics.BINARY, labels, scores, bootstrap.counts(400, 50))
    monkeypatch.setattr(bootstrap, "_CELLS", 3 * 400)
    parts = bootstrap.replicate_all(metrics.BINARY, labels, scores, bootstrap.counts(400, 50))
    for name, values in whole.items():
        assert parts[name] == pytest.approx(values, rel=1e-12)


def test_spread_is_what_theory_says():
    labels, scores = sample(1500)
    resamples = bootstrap.counts(1500, 3000, 1)
    accuracy = metrics.compute("accuracy", labels, scores)
    drawn = bootstrap.replicates("accuracy", labels, scores, resamples)
    assert drawn.std() == pytest.approx(np.sqrt(accuracy * (1 - accuracy) / 1500), rel=0.05)
    areas = significance.delong_areas(labels, scores[None, :])
    drawn = bootstrap.replicates("roc_auc", labels, scores, resamples)
    assert drawn.std() == pytest.approx(np.sqrt(areas.covariance[0, 0]), rel=0.06)


def test_one_step_slopes_are_as_good_as_refits():
    labels, scores = sample(600, decimals=6)
    resamples = bootstrap.counts(600, 300, 3)
    quick = bootstrap.replicates("calibration_slope", labels, scores, resamples)
    refits = [
        calibration.fit(np.repeat(labels, count), np.repeat(scores, count)).slope
        for count in resamples
    ]
    assert np.corrcoef(quick, refits)[0, 1] > 0.99
    assert np.quantile(quick, [0.05, 0.95]) == pytest.approx(
        np.quantile(refits, [0.05, 0.95]), rel=0.03
    )


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator, hits, runs = np.random.default_rng(0), 0, 400
    for seed in range(runs):
        scores = generator.random(150)
        labels = (generator.random(150) < scores).astype(float)
        interval = bootstrap.estimate("brier", labels, scores, size=200, seed=seed)
        hits += interval.low <= 1 / 6 <= interval.high  # E[s (1 - s)] of uniform scores
    assert 0.86 <= hits / runs <= 0.94  # level 1 - 2 * 0.05; 0.90 +- 2.7 standard errors


def test_pairing_cancels_what_two_models_share():
    labels, scores = sample(decimals=6)
    other = np.clip(scores + 0.02 * np.random.default_rng(1).standard_normal(400), 0, 1)
    resamples = bootstrap.counts(400, 400)
    pairs = bootstrap.paired_errors(["brier"], labels, scores, other, resamples)["brier"]
    assert (pairs.champion - pairs.challenger).std() < 0.3 * pairs.champion.std()
    assert pairs.reduction == pytest.approx(1 - pairs.challenger / pairs.champion)


def test_a_model_against_itself_is_exactly_even():
    labels, scores = sample()
    resamples = bootstrap.counts(400, 100)
    pairs = bootstrap.paired_errors(["roc_auc"], labels, scores, scores, resamples)["roc_auc"]
    assert (pairs.reduction == 0).all()
    error = metrics.error("roc_auc", metrics.compute("roc_auc", labels, scores))
    result = bootstrap.paired_test("roc_auc", error, error, pairs)
    assert (result.statistic, result.p_value, result.low, result.high) == (0.0, 1.0, 0.0, 0.0)


def test_each_model_has_its_own_threshold():
    labels, scores = sample()
    resamples = bootstrap.counts(400, 20)
    pairs = bootstrap.paired_errors(
        ["f1"], labels, scores, scores, resamples, thresholds=(0.2, 0.7)
    )["f1"]
    expected = bootstrap.replicates("f1", labels, scores, resamples, 0.7)
    assert pairs.champion == pytest.approx(1 - expected)
    assert not np.allclose(pairs.champion, pairs.challenger)


def test_relative_reduction_at_zero_error():
    reduction = bootstrap.relative_reduction(np.array([0.0, 0.1, 0.1]), np.array([0.0, 0.0, 0.2]))
    assert reduction == pytest.approx([0.0, np.nan, 0.5], nan_ok=True)


def test_undefined_resamples_are_left_out_of_the_interval():
    values = np.array([1.0, 2.0, 3.0, np.nan])
    assert bootstrap.percentile_interval(values, 0.25) == pytest.approx((1.5, 2.5))
    assert np.isnan(bootstrap.percentile_interval(np.array([1.0, np.nan, np.nan]), 0.25)).all()
    labels, scores = np.array([1.0] + [0.0] * 9), np.linspace(0, 1, 10)
    drawn = bootstrap.replicates("roc_auc", labels, scores, bootstrap.counts(10, 1000))
    assert np.isnan(drawn).mean() == pytest.approx((1 - 1 / 10) ** 10, abs=0.05)


def test_counts_of_other_rows_are_refused():
    labels, scores = sample()
    with pytest.raises(ValueError, match="counts are of 399 rows, labels of 400"):
        bootstrap.replicates("brier", labels, scores, bootstrap.counts(399, 5))


def test_replicates_of_ece_equal_its_value_on_the_resampled_rows():
    labels, scores = sample(200, decimals=6)
    resamples = bootstrap.counts(200, 20)
    drawn = bootstrap.replicates("ece", labels, scores, resamples)
    again = [
        metrics.compute("ece", np.repeat(labels, count), np.repeat(scores, count))
        for count in resamples
    ]
    assert drawn == pytest.approx(again)


def test_means_of_resampled_units():
    columns = {"a": np.array([1.0, 2.0, 6.0]), "b": np.array([0.0, 1.0, 0.0])}
    found = bootstrap.means(columns, np.array([[1, 1, 1], [0, 3, 0]], np.uint8))
    assert found["a"] == pytest.approx([3, 2])
    assert found["b"] == pytest.approx([1 / 3, 1])
