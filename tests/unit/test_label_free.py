"""Metrics without outcomes, held against simulated outcomes whose law is known."""

import numpy as np
import pytest
from scipy.special import expit, logit

from models.contracts.monitoring import Recalibration
from models.core import label_free, metrics
from models.core.label_free import estimate, estimate_slices, recalibrate

SURE = Recalibration(intercept=0.0, slope=1.0, covariance=((0.0, 0.0), (0.0, 0.0)))
EIGHT = ("roc_auc", "average_precision", "accuracy", "precision", "recall", "f1", "brier",
         "log_loss")  # fmt: skip


def population(rows, seed=0, centre=-1.0, spread=1.5):
    """Calibrated probabilities, and outcomes drawn from them."""
    generator = np.random.default_rng(seed)
    scores = expit(generator.normal(centre, spread, rows))
    return scores, (generator.random(rows) < scores).astype(float)


def unrest(periods, rows, between, seed):
    """Rows in periods of equal size, each with an intercept and a slope of its own."""
    generator = np.random.default_rng(seed)
    own = generator.multivariate_normal([0.0, 1.0], np.diag(between), periods)
    scores = expit(generator.normal(-1.0, 1.5, (periods, rows)))
    likely = expit(own[:, :1] + own[:, 1:] * logit(scores))
    labels = (generator.random(scores.shape) < likely).astype(float)
    return labels.ravel(), scores.ravel(), np.repeat(np.arange(periods), rows)


def covered(found, labels, scores, threshold):
    """Metric -> whether the realised value lies in the interval."""
    real = {name: metrics.compute(name, labels, scores, threshold) for name in found}
    return {name: one.low <= real[name] <= one.high for name, one in found.items()}


# --- the value


def test_the_value_is_the_mean_of_the_metrics_of_simulated_outcomes():
    scores, _ = population(400)
    found = estimate(scores, SURE, 0.4, EIGHT)
    generator = np.random.default_rng(1)
    outcomes = (generator.random((300, 400)) < scores).astype(float)
    for name in EIGHT:
        mean = np.mean([metrics.compute(name, labels, scores, 0.4) for labels in outcomes])
        assert found[name].value == pytest.approx(mean, abs=0.006), name


def test_the_value_by_hand():
    found = estimate(np.array([0.8, 0.3]), SURE, 0.5, ("precision", "recall", "accuracy", "brier"))
    assert found["precision"].value == pytest.approx(0.8, abs=1e-6)
    assert found["recall"].value == pytest.approx(0.8 / 1.1, abs=1e-6)
    assert found["accuracy"].value == pytest.approx((0.8 + 0.7) / 2, abs=1e-6)
    assert found["brier"].value == pytest.approx((0.8 * 0.2 + 0.3 * 0.7) / 2, abs=1e-6)


def test_a_model_that_exaggerates_is_believed_less():
    scores, _ = population(2_000)
    humble = SURE.model_copy(update={"slope": 0.5})
    sure, less = (estimate(scores, known, 0.4, ("roc_auc",)) for known in (SURE, humble))
    assert less["roc_auc"].high < sure["roc_auc"].low


# --- the interval


def test_calibrated_scores_are_covered_at_the_nominal_rate():
    hits = []
    for seed in range(60):
        scores, labels = population(500, seed)
        found = estimate(scores, SURE, 0.4, ("roc_auc", "f1", "brier"), alpha=0.05, seed=seed)
        hits.append(list(covered(found, labels, scores, 0.4).values()))
    assert (np.mean(hits, axis=0) > 0.81).all()  # 90 % less 2.3 standard errors
    assert np.mean(hits) < 0.97


@pytest.mark.parametrize(("centre", "spread"), [(-1.0, 0.5), (-2.5, 0.8), (0.5, 2.5)])
def test_a_shift_of_the_rows_is_tracked(centre, spread):
    hits, errors, unmoved = [], [], []
    for seed in range(12):
        reference, outcomes = population(4_000, 100 + seed)
        known = recalibrate(outcomes, reference, np.arange(4_000) // 200)
        scores, labels = population(2_000, seed, centre, spread)
        found = estimate(scores, known, 0.4, ("roc_auc", "f1"), seed=seed)
        hits.append(list(covered(found, labels, scores, 0.4).values()))
        real = metrics.compute("roc_auc", labels, scores)
        errors.append(abs(found["roc_auc"].value - real))
        unmoved.append(abs(metrics.compute("roc_auc", outcomes, reference) - real))
    assert np.mean(hits) > 0.75
    assert np.mean(errors) < np.mean(unmoved) / 2


def test_unrest_between_periods_is_measured_and_widens_the_interval():
    calm = recalibrate(*unrest(20, 500, (0.0, 0.0), 1))
    restless = recalibrate(*unrest(20, 500, (0.25, 0.04), 1))
    assert calm.covariance[0][0] < 0.03
    assert 0.1 < restless.covariance[0][0] < 0.5
    assert 0.01 < restless.covariance[1][1] < 0.12
    scores, _ = population(5_000)
    narrow, wide = (estimate(scores, known, 0.4, ("f1",))["f1"] for known in (calm, restless))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_period_to_come_is_covered_when_periods_differ():
    hits = []
    for seed in range(60):
        labels, scores, periods = unrest(13, 400, (0.09, 0.04), seed)
        past, now = periods < 12, periods == 12
        known = recalibrate(labels[past], scores[past], periods[past])
        found = estimate(scores[now], known, 0.4, ("roc_auc", "f1", "brier"), seed=seed)
        hits.append(list(covered(found, labels[now], scores[now], 0.4).values()))
    assert np.mean(hits) > 0.82
    assert np.mean(hits) < 0.97


def test_the_same_seed_gives_the_same_interval_and_another_slice_changes_nothing():
    scores, _ = population(600)
    slices = {"overall": np.ones(600, bool), "tenant=a": np.arange(600) < 300}
    both = estimate_slices(scores, slices, SURE, 0.4, ("f1",))
    del slices["overall"]
    assert estimate_slices(scores, slices, SURE, 0.4, ("f1",))["tenant=a"] == both["tenant=a"]
    assert both["tenant=a"]["f1"].value == estimate(scores[:300], SURE, 0.4, ("f1",))["f1"].value


def test_a_slice_of_few_rows_is_left_out():
    scores, _ = population(600)
    slices = {"tenant=a": np.arange(600) < 99, "tenant=b": np.arange(600) < 100,
              "tenant=c": np.zeros(600, bool)}  # fmt: skip
    assert set(estimate_slices(scores, slices, SURE, 0.4, ("f1",))) == {"tenant=b"}
    assert set(estimate_slices(scores, slices, SURE, 0.4, ("f1",), min_rows=0)) == {
        "tenant=a",
        "tenant=b",
    }


def test_rows_counted_in_groups_give_the_metrics_of_the_rows(monkeypatch):
    scores, _ = population(8_000)
    scores[:50] = 0.4  # on the threshold
    grouped = estimate(scores, SURE, 0.4, EIGHT)
    monkeypatch.setattr(label_free, "GROUPS", 10**6)
    alone = estimate(scores, SURE, 0.4, EIGHT)
    for name in EIGHT:
        assert grouped[name].value == pytest.approx(alone[name].value, abs=2e-4), name
        assert grouped[name].high == pytest.approx(alone[name].high, abs=0.01), name


def test_no_group_straddles_the_threshold(monkeypatch):
    scores, _ = population(500)
    names = ("precision", "recall", "accuracy", "f1")
    alone = estimate(scores, SURE, 0.4, names)
    monkeypatch.setattr(label_free, "GROUPS", 4)
    grouped = estimate(scores, SURE, 0.4, names)
    for name in names:
        assert grouped[name].value == pytest.approx(alone[name].value, abs=1e-6), name


# --- the recalibration


def test_between_period_covariance_by_simulation():
    known = [recalibrate(*unrest(12, 400, (0.25, 0.04), seed)).covariance for seed in range(40)]
    means = np.mean(known, axis=0)
    widened = (1 + 1 / 12) * 11 / 9
    assert means[0, 0] == pytest.approx(0.25 * widened, rel=0.2)
    assert means[1, 1] == pytest.approx(0.04 * widened, rel=0.25)


@pytest.mark.parametrize("periods", [1, 2, 8])
def test_the_covariance_is_never_negative(periods):
    for seed in range(20):
        scores, labels = population(400, seed)
        found = recalibrate(labels, scores, np.arange(400) * periods // 400)
        assert np.linalg.eigvalsh(np.array(found.covariance)).min() > 0


def test_separated_classes_leave_the_slope_open_and_the_estimate_defined():
    labels = np.repeat([0.0, 1.0], 100)
    known = recalibrate(labels, np.where(labels == 1, 0.9, 0.1), np.arange(200) % 4)
    assert known.slope > 5
    found = estimate(np.linspace(0.1, 0.9, 200), known, 0.5, ("accuracy",))["accuracy"]
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_what_cannot_be_learned_or_estimated_is_refused():
    scores, labels = population(50)
    with pytest.raises(ValueError, match="with 0 positives and 50 distinct scores cannot"):
        recalibrate(np.zeros(50), scores, np.arange(50))
    with pytest.raises(ValueError, match="1 distinct scores cannot recalibrate"):
        recalibrate(labels, np.full(50, 0.3), np.arange(50))
    with pytest.raises(ValueError, match=r"\['calibration_slope'\] cannot be estimated"):
        estimate(scores, SURE, 0.5, ("f1", "calibration_slope"))
    for wrong in (np.empty(0), np.array([0.5, np.nan]), np.array([0.5, 1.5])):
        with pytest.raises(ValueError, match="must be probabilities"):
            estimate(wrong, SURE, 0.5, ("f1",))


def test_one_certain_class_leaves_the_ranking_undefined():
    nobody = Recalibration(intercept=-500.0, slope=0.0, covariance=SURE.covariance)
    found = estimate(np.linspace(0.1, 0.9, 50), nobody, 0.5, ("roc_auc", "accuracy"))
    assert np.isnan(found["roc_auc"].value)
    assert found["accuracy"].value == pytest.approx(0.5, abs=0.02)
