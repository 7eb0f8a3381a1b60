"""Calibrators against scikit-learn, hand computation, and their own optimum."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import _SigmoidCalibration

from models.core import calibrators, metrics
from models.core.calibrators import CALIBRATOR, Isotonic, Platt, Temperature

KINDS = (Platt, Isotonic, Temperature)


def overconfident(n=4000, seed=0, factor=3.0):
    """Labels, and their true probability with the logit multiplied."""
    generator = np.random.default_rng(seed)
    truth = 1.2 * generator.standard_normal(n)
    return (generator.random(n) < expit(truth)).astype(float), expit(factor * truth)


def test_the_temperature_is_the_factor_that_was_multiplied():
    labels, scores = overconfident(40_000)
    found = Temperature.fit(labels, scores)
    assert found.temperature == pytest.approx(3.0, rel=0.03)
    x = logit(scores)
    slope = np.mean(x * (expit(x / found.temperature) - labels))  # of the log loss: flat here
    assert abs(slope) < 1e-5
    assert np.array_equal(found.apply(scores) >= 0.5, scores >= 0.5)


def test_platt_equals_scikit_learn():
    labels, scores = overconfident()
    theirs = _SigmoidCalibration().fit(logit(scores), labels)
    ours = Platt.fit(labels, scores)
    assert (ours.slope, ours.intercept) == pytest.approx(
        (-theirs.a_, -theirs.b_), rel=1e-3, abs=1e-3
    )
    assert ours.apply(scores) == pytest.approx(theirs.predict(logit(scores)), abs=1e-3)


def test_platt_keeps_separated_classes_finite():
    """His targets: two of each class aim at 3 / 4 and 1 / 4, which the fit can meet exactly."""
    labels = np.array([0.0, 0.0, 1.0, 1.0])
    scores = np.array([0.2, 0.2, 0.8, 0.8])
    assert Platt.fit(labels, scores).apply(scores) == pytest.approx([0.25, 0.25, 0.75, 0.75])


def test_isotonic_by_hand():
    """Pool adjacent violators: 0, then 1 and 0 pooled to one half, then 1."""
    found = Isotonic.fit(np.array([0, 1, 0, 1.0]), np.array([0.1, 0.2, 0.3, 0.4]))
    assert found.apply(np.array([0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.9])) == pytest.approx(
        [0, 0, 0.25, 0.5, 0.5, 0.5, 1, 1]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_mends_overconfidence_on_rows_it_has_not_seen(kind):
    fitted = kind.fit(*overconfident(seed=1))
    labels, scores = overconfident(seed=2)
    found = calibrators.improvement(fitted, labels, scores)
    assert found.ece_before == metrics.compute("ece", labels, scores)
    assert found.ece_before > 0.1
    assert found.ece_after < 0.035
    assert found.log_loss_after < found.log_loss_before
    assert (np.diff(fitted.apply(np.linspace(0, 1, 101))) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_survives_json(kind):
    labels, scores = overconfident(300)
    fitted = kind.fit(labels, scores)
    again = CALIBRATOR.validate_json(fitted.model_dump_json())
    assert again == fitted
    assert np.array_equal(again.apply(scores), fitted.apply(scores))


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_calibrate_is_refused(kind):
    with pytest.raises(ValueError, match="one class"):
        kind.fit(np.ones(5), np.linspace(0.1, 0.9, 5))
    with pytest.raises(ValueError, match=r"within \[0, 1\]"):
        kind.fit(np.array([0, 1.0]), np.array([-1.0, 2.0]))
    with pytest.raises(ValueError, match="equally long"):
        kind.fit(np.array([0, 1.0]), np.array([0.5]))


def test_one_distinct_score_has_no_slope():
    with pytest.raises(ValueError, match="one distinct score"):
        Platt.fit(np.array([0, 1.0]), np.array([0.5, 0.5]))
