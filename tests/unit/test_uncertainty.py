"""Conformal sets, dropout and entropy against hand computation, theory and mapie."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin

from models.core import uncertainty


def sample(n, generator):
    """Labels drawn from the probabilities themselves."""
    probabilities = generator.uniform(0, 1, (n, 2))
    return (generator.random((n, 2)) < probabilities).astype(float), probabilities


def test_the_bound_is_the_right_order_statistic():
    labels = np.array([[1.0], [0.0], [1.0], [0.0], [1.0], [0.0], [1.0], [0.0], [1.0], [np.nan]])
    said = np.array([[0.9], [0.2], [0.7], [0.4], [0.5], [0.6], [0.3], [0.8], [0.05], [0.5]])
    # scores 1 - P(truth): .1 .2 .3 .4 .5 .6 .7 .8 .95; rank of 80 % is ceil(.8 * 10) = 8
    found = uncertainty.conformal(labels, said, coverage=0.8)
    assert found.bounds == (pytest.approx(0.8),)
    sets = found.sets(np.array([[0.1], [0.5], [0.9], [np.nan]]))[:, 0]
    assert sets.tolist() == [[True, False], [True, True], [False, True], [True, True]]
    assert uncertainty.conformal(labels, said, coverage=0.9).bounds == (pytest.approx(0.95),)
    assert uncertainty.conformal(labels, said, coverage=0.95).bounds == (np.inf,)
    narrow = uncertainty.conformal(labels, said, coverage=0.4).sets(np.array([[0.5]]))
    assert narrow.tolist() == [[[False, False]]]


def test_a_bound_survives_json():
    infinite = uncertainty.conformal(np.ones((2, 1)), np.ones((2, 1)), coverage=0.9)
    read = uncertainty.Conformal.model_validate_json(infinite.model_dump_json())
    assert read == infinite


def test_coverage_is_what_theory_says():
    generator = np.random.default_rng(1)
    # of 19 calibration rows the 18th smallest: coverage is Beta(18, 2), mean exactly 0.9
    covered = []
    for _ in range(400):
        found = uncertainty.conformal(*sample(19, generator), coverage=0.9)
        labels, probabilities = sample(200, generator)
        sets = found.sets(probabilities)
        true = np.take_along_axis(sets, labels.astype(int)[..., None], axis=2)
        covered.append(true.mean(axis=(0, 1)))
    # the deviation of Beta(18, 2) is 0.065, so 400 means of two labels have one of 0.0025
    assert np.mean(covered) == pytest.approx(0.9, abs=0.008)


class Given(ClassifierMixin, BaseEstimator):
    """A classifier that answers the probability it is given as its input."""

    classes_ = np.array([0, 1])
    is_fitted_ = True

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.column_stack([1 - X[:, 0], X[:, 0]])

    def predict(self, X):
        return (X[:, 0] >= 0.5).astype(int)


def test_the_sets_are_mapies():
    from mapie.classification import SplitConformalClassifier

    labels, probabilities = sample(137, np.random.default_rng(2))
    asked = np.linspace(0.01, 0.99, 99)[:, None]
    theirs = SplitConformalClassifier(Given(), confidence_level=0.8, prefit=True)
    theirs.conformalize(probabilities[:, :1], labels[:, 0].astype(int))
    _, expected = theirs.predict_set(asked)
    found = uncertainty.conformal(labels[:, :1], probabilities[:, :1], coverage=0.8)
    assert np.array_equal(found.sets(asked)[:, 0], expected[:, :, 0])


@pytest.mark.parametrize("coverage", [0.0, 1.0, 90])
def test_an_impossible_coverage_is_refused(coverage):
    with pytest.raises(ValueError, match="between 0 and 1"):
        uncertainty.conformal(np.ones((2, 1)), np.ones((2, 1)), coverage=coverage)


def test_entropy_by_hand():
    found = uncertainty.entropy(np.array([[0.0, 0.5, 1.0], [0.25, 0.75, np.nan]]))
    quarter = 0.25 * 2 + 0.75 * np.log2(4 / 3)
    np.testing.assert_allclose(found, [[0, 1, 0], [quarter, quarter, np.nan]])


def test_dropout_has_the_mean_and_deviation_of_its_two_outcomes():
    # one input of 3 behind a dropout of 1/2: log-odds are 0 or 6, each half of the time
    module = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(1, 1, bias=False)).eval()
    torch.nn.init.ones_(module[1].weight)
    inputs = torch.full((500, 1), 3.0)
    found = uncertainty.mc_dropout(module, lambda: module(inputs), passes=100)
    on = 1 / (1 + np.exp(-6))
    assert found.mean.mean() == pytest.approx((0.5 + on) / 2, abs=0.005)
    assert found.deviation.mean() == pytest.approx((on - 0.5) / 2, abs=0.005)
    # entropy of the mean minus the mean of 1 bit and the entropy of sigmoid(6)
    both = uncertainty.entropy(np.array([[(0.5 + on) / 2, 0.5, on]]))[0]
    assert found.disagreement.mean() == pytest.approx(both[0] - both[1:].mean(), abs=0.01)


def test_dropout_repeats_itself_and_leaves_everything_as_it_was():
    module = torch.nn.Sequential(
        torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1)
    )
    module.eval()
    module[0].train()
    inputs = torch.ones(4, 2)
    state = torch.get_rng_state()
    first = uncertainty.mc_dropout(module, lambda: module(inputs), passes=5, seed=3)
    again = uncertainty.mc_dropout(module, lambda: module(inputs), passes=5, seed=3)
    other = uncertainty.mc_dropout(module, lambda: module(inputs), passes=5, seed=4)
    assert np.array_equal(first.mean, again.mean)
    assert not np.array_equal(first.mean, other.mean)
    assert torch.equal(torch.get_rng_state(), state)
    assert [layer.training for layer in module] == [True, False, False]
    module.eval()
    certain = uncertainty.mc_dropout(
        torch.nn.Linear(2, 1), lambda: module(inputs), passes=3
    )  # no dropout inside: nothing varies
    assert certain.deviation.max() == 0
