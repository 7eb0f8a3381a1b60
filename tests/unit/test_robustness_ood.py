"""Out-of-distribution scores by hand, the domain classifier by theory, and the measures of rows."""

from math import erf, exp, log, sqrt

import numpy as np
import pytest
from scipy.special import expit

from models.contracts.product import Column
from models.core import metrics
from models.core.robustness import measures, ood, shift
from models.core.robustness.rows import examine_rows


def test_scores_over_probabilities_and_logits_by_hand():
    np.testing.assert_allclose(ood.max_probability(np.array([[0.7, 0.3], [0.5, 0.5]])), [0.3, 0.5])
    doubts = ood.label_doubt(np.array([[0.2, 0.6, np.nan], [0.5, np.nan, 0.5]]))
    np.testing.assert_allclose(doubts, [0.2, 0.5])
    logits = np.array([[0.0, 0.0], [2.0, 0.0]])
    np.testing.assert_allclose(ood.energy(logits), [-log(2), -log(exp(2) + 1)])
    np.testing.assert_allclose(ood.energy(logits, 2.0), [-2 * log(2), -2 * log(exp(1) + 1)])
    found = ood.joint_energy(np.array([[0.0, 0.0], [1.0, np.nan]]))
    np.testing.assert_allclose(found, [-2 * log(2), -log(1 + exp(1))])


def test_mahalanobis_by_hand():
    # class 0 around (0, 0), class 1 around (10, 0); tied covariance diag(4, 1)
    features = np.array([[-2, 0], [2, 0], [0, -1], [0, 1]], float) * np.sqrt(2)
    features = np.vstack([features, features + np.array([10.0, 0.0])])
    fitted = ood.gaussians(features, np.repeat([0.0, 1.0], 4))
    np.testing.assert_allclose(fitted.means, [[0, 0], [10, 0]], atol=1e-12)
    np.testing.assert_allclose(fitted.precision, [[0.25, 0], [0, 1]], atol=1e-12)
    asked = np.array([[0, 0], [2, 0], [0, 2], [9, 1]], float)
    np.testing.assert_allclose(ood.mahalanobis(fitted, asked), [0, 1, 4, 1.25], atol=1e-12)


def test_a_feature_that_never_varies_has_no_say():
    features = np.array([[1.0, 5.0], [-1.0, 5.0]])
    fitted = ood.gaussians(features, np.zeros(2))
    np.testing.assert_allclose(ood.mahalanobis(fitted, np.array([[2.0, 99.0]])), [4.0])


def test_a_shrunk_covariance_sees_beyond_its_rows():
    from sklearn.covariance import LedoitWolf

    features = np.random.default_rng(0).standard_normal((8, 20))
    fitted = ood.gaussians(features, np.zeros(8), shrunk=True)
    expected = LedoitWolf().fit(features)
    np.testing.assert_allclose(fitted.precision, expected.precision_, rtol=1e-8, atol=1e-8)
    beyond = np.linalg.svd(features - features.mean(axis=0))[2][-1:] * 50  # in no row's direction
    asked = features.mean(axis=0) + beyond
    assert ood.mahalanobis(fitted, asked) > 10 * ood.mahalanobis(fitted, features).max()
    flat = ood.gaussians(features, np.zeros(8))
    assert ood.mahalanobis(flat, asked) < 1e-6


def test_nearest_neighbours_by_hand():
    training = np.array([[3.0, 0.0], [0.0, 0.5], [-2.0, 0.0]])  # directions 0, 90 and 180 degrees
    asked = np.array([[7.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(
        ood.nearest(training, asked, 1), [0, sqrt(2 - sqrt(2)), sqrt(2)], atol=1e-7
    )
    np.testing.assert_allclose(ood.nearest(training, asked[:1], 2), [sqrt(2)])
    np.testing.assert_allclose(ood.nearest(training, asked[:1], 99), [2])


def test_area_of_strange_scores():
    found = ood.auroc(np.array([0.1, 0.2, 0.4, 0.6]), np.array([0.3, 0.5, 0.7, 0.8]))
    assert found.value == pytest.approx(13 / 16)  # pairs: 2 + 3 + 4 + 4
    assert found.low < found.value < found.high


def test_the_domain_classifier_finds_a_shift_of_the_size_it_has():
    generator = np.random.default_rng(0)
    before, same = generator.standard_normal((2, 1500, 1))
    found = shift.domain_auc(before, same)
    assert found.low <= 0.5 <= found.high
    moved = shift.domain_auc(before, same + 1.0)
    # two normals one standard deviation apart: Phi(1 / sqrt 2) = 0.760 is the best there is
    best = 0.5 * (1 + erf(0.5))
    assert best - 0.03 < moved.value < best + 0.015
    assert moved == shift.domain_auc(before, same + 1.0)
    with pytest.raises(ValueError, match="too few"):
        shift.domain_auc(before[:2], same)


def test_the_domain_classifier_sees_columns_that_no_longer_go_together():
    generator = np.random.default_rng(1)
    column = generator.standard_normal(600)
    before = np.stack([column, column], axis=1)
    after = np.stack([column, generator.permutation(column)], axis=1)
    assert shift.domain_auc(before, after).value > 0.85


def test_shares_have_wilsons_interval():
    # Wilson 1927 at z = 1.645: 0 of 10 -> z^2 / (n + z^2) = 2.706 / 12.706
    found = measures.share("s", 0, 10)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(2.7055 / 12.7055, abs=1e-4)
    half = measures.share("s", 5, 10)
    assert (half.low + half.high) / 2 == pytest.approx(0.5)
    assert half.high - 0.5 == pytest.approx(0.2307, abs=1e-4)  # z sqrt(.025 + z^2/400) / 1.27055
    assert np.isnan(measures.share("s", 0, 0).value)


def test_a_mean_over_labels_leaves_out_what_is_unknown():
    labels = np.array([[1, 0, 1], [0, 1, np.nan], [1, np.nan, 1], [0, 0, np.nan]], float)
    scores = np.array([[0.9, 0.5, 0.1], [0.1, 0.4, 0.2], [0.3, 0.1, 0.3], [0.5, 0.2, 0.4]])
    # label 0: 3 of 4 pairs right; label 1: rows 0, 1, 3: 1 of 2 pairs; label 2: one class only
    found = measures.mean_metric("m", "roc_auc", labels, scores, seed=0)
    assert found.value == pytest.approx((0.75 + 0.5) / 2)
    assert 0 <= found.low <= found.value <= found.high <= 1
    scores[:, 1] = np.nan
    assert measures.mean_metric("m", "roc_auc", labels, scores, seed=0).value == 0.75
    assert np.isnan(measures.mean_metric("m", "roc_auc", labels[:1], scores[:1], seed=0).value)


COLUMNS = (
    Column(name="signal", description="", minimum=-5, maximum=5, nullable=True),
    Column(name="echo", description=""),
    Column(name="unused", description="", nullable=True),
)


def predict(inputs):
    return expit(2 * np.nan_to_num(inputs[:, 0]))


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    signal = np.clip(generator.standard_normal(1200), -5, 5)
    inputs = np.stack(
        [signal, signal + 0.1 * generator.standard_normal(1200), generator.standard_normal(1200)], 1
    )
    labels = (generator.random(1200) < predict(inputs)).astype(float)
    return inputs, labels


def test_measures_of_rows(rows):
    inputs, labels = rows
    train, held, known = inputs[:600], inputs[600:], labels[600:]
    found = examine_rows(
        predict, held, known, COLUMNS, "roc_auc", train=train,
        worst=lambda x, y, epsilon: expit(2 * x[:, 0] - (2 * y - 1) * 2 * epsilon),
    )  # fmt: skip
    clean = metrics.compute("roc_auc", known, predict(held))
    assert found["robustness.none"].value == clean
    assert found["robustness.none"].low < clean < found["robustness.none"].high
    assert found["robustness.missing"].value == 0.5  # the model knows nothing else
    assert "signal" in found["robustness.missing"].title
    assert clean - 0.02 < found["robustness.noise"].value < clean + 0.01
    assert found["robustness.outliers"].value < clean
    assert 0.5 < found["robustness.fgsm"].value < clean
    # signal and echo agree to a tenth: shuffled rows break that
    assert found["ood.mahalanobis"].value > 0.9
    assert found["ood.auroc"].value > 0.7
    assert found["ood.doubt"].low < 0.55  # the signal's own distribution is the same
    assert found["shift.domain_auc"].low <= 0.5 <= found["shift.domain_auc"].high
    assert not found["shift.domain_auc"].higher_is_better


def test_without_training_rows_nothing_is_strange(rows):
    inputs, labels = rows
    found = examine_rows(predict, inputs[:200], labels[:200], COLUMNS, "brier")
    assert set(found) == {f"robustness.{name}" for name in ("none", "noise", "outliers", "missing")}
    assert not found["robustness.none"].higher_is_better
