"""LIME, Shapley values, integrated gradients, rollout: closed forms and hand computation."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from models.core.explain import attention, gradients, lime, shapley, trees
from models.core.explain.rows import explain_row, stand_in

WEIGHTS = np.array([0.5, -0.3, 0.0, 0.2, -0.1])


def additive(masks):
    return 0.4 + masks @ WEIGHTS


def exact(game, count):
    """Shapley's formula over all coalitions."""
    found = np.zeros(count)
    for part in range(count):
        others = [i for i in range(count) if i != part]
        for size in range(count):
            for kept in itertools.combinations(others, size):
                share = math.factorial(size) * math.factorial(count - size - 1)
                without = np.zeros((1, count), bool)
                without[0, list(kept)] = True
                whole = without.copy()
                whole[0, part] = True
                gain = float(game(whole)[0] - game(without)[0])
                found[part] += share / math.factorial(count) * gain
    return found


def package():
    """The ``shap`` package, whose plots call what matplotlib deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap
    return shap


def test_lime_recovers_a_linear_model():
    found = lime.surrogate(additive, 5)
    np.testing.assert_allclose(found.weights, WEIGHTS, atol=2e-3)
    assert np.argsort(found.weights).tolist() == np.argsort(WEIGHTS).tolist()
    assert found.fidelity > 0.9999
    assert found.base == pytest.approx(0.4, abs=5e-3)
    assert found.value == pytest.approx(0.7)


def test_lime_tells_when_a_line_does_not_fit():
    def parity(masks):
        return masks.sum(axis=1) % 2.0

    found = lime.surrogate(parity, 10, samples=400)
    assert found.fidelity < 0.2
    assert lime.surrogate(lambda masks: np.full(len(masks), 0.3), 3).fidelity == 1.0


def test_lime_is_its_weighted_ridge_regression():
    asked = []

    def game(masks):
        asked.append(masks)
        return np.tanh(masks @ WEIGHTS) + masks[:, 0] * masks[:, 1]

    found = lime.surrogate(game, 5, samples=50, seed=4)
    (masks,) = asked
    assert masks.shape == (51, 5)
    assert masks[0].all()
    assert np.array_equal(masks[1::2], ~masks[2::2])
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    cosine = masks.sum(axis=1) / np.maximum(np.sqrt(masks.sum(axis=1) * 5), 1e-300)
    near = np.exp(-((1 - cosine) ** 2) / 0.25**2)
    answers = game(masks)
    model = Ridge(alpha=1e-3).fit(masks, answers, sample_weight=near)
    np.testing.assert_allclose(found.weights, model.coef_, atol=1e-8)
    assert found.base == pytest.approx(model.intercept_)
    fidelity = r2_score(answers, model.predict(masks), sample_weight=near)
    assert found.fidelity == pytest.approx(fidelity)


def test_lime_repeats_itself():
    def rough(masks):
        return np.tanh(3 * masks @ WEIGHTS)

    first, again = lime.surrogate(rough, 5, seed=1), lime.surrogate(rough, 5, seed=1)
    assert np.array_equal(first.weights, again.weights)
    assert not np.array_equal(first.weights, lime.surrogate(rough, 5, seed=2).weights)


def test_shapley_values_of_sums_and_pairs_are_exact():
    found = shapley.sampled(additive, 5)
    np.testing.assert_allclose(found.weights, WEIGHTS, atol=1e-12)
    assert (found.base, found.value) == (0.4, pytest.approx(0.7))

    def pairs(masks):  # each pair's gain is shared evenly, in any antithetic pair of orders
        return 1.0 * masks[:, 0] * masks[:, 1] + 0.5 * masks[:, 2]

    np.testing.assert_allclose(shapley.sampled(pairs, 3, samples=6).weights, [0.5, 0.5, 0.5])


def test_shapley_values_of_the_glove_game():
    def gloves(masks):  # two left gloves, one right: a pair is worth 1
        return (masks[:, 2] & (masks[:, 0] | masks[:, 1])).astype(float)

    found = shapley.sampled(gloves, 3, samples=3000)
    np.testing.assert_allclose(found.weights, [1 / 6, 1 / 6, 4 / 6], atol=0.03)
    np.testing.assert_allclose(exact(gloves, 3), [1 / 6, 1 / 6, 4 / 6])
    assert found.weights.sum() == pytest.approx(1.0)  # efficiency, whatever the orders


def test_shapley_values_are_the_packages():
    def game(masks):
        masks = np.asarray(masks)
        return np.tanh(2 * (masks @ WEIGHTS)) + masks[:, 0] * masks[:, 1] * masks[:, 3]

    theirs = package().KernelExplainer(game, np.zeros((1, 5)))
    expected = theirs.shap_values(np.ones((1, 5)), nsamples=64, l1_reg=False, silent=True)[0]
    np.testing.assert_allclose(exact(game, 5), expected, atol=1e-8)
    found = shapley.sampled(game, 5, samples=4000)
    np.testing.assert_allclose(found.weights, expected, atol=0.02)
    assert found.weights.sum() == pytest.approx(found.value - found.base)


def test_shapley_values_ask_no_more_than_they_may():
    asked = []

    def counting(masks):
        asked.append(len(masks))
        return additive(np.pad(masks, ((0, 0), (0, 5)))[:, :5])

    shapley.sampled(counting, 30, samples=128)
    shapley.sampled(counting, 5, samples=1)
    assert asked == [2 + 2 * 2 * 29, 2 + 2 * 4]


@pytest.mark.parametrize("method", ["lime", "shap"])
def test_a_row_of_a_linear_model_has_the_closed_form(method):
    generator = np.random.default_rng(0)
    background = generator.standard_normal((20, 3))
    row, weights = np.array([1.0, -2.0, 0.5]), np.array([0.3, -0.2, 0.1])
    found = explain_row(
        lambda inputs: inputs @ weights + 1, row, ("a", "b", "c"), background, method
    )
    closed = weights * (row - background.mean(axis=0))
    np.testing.assert_allclose(found.weights, closed, atol=5e-3 if method == "lime" else 1e-12)
    assert found.value == pytest.approx(row @ weights + 1)
    assert found.base == pytest.approx(background.mean(axis=0) @ weights + 1, abs=1e-2)
    assert found.parts == ("a", "b", "c")
    assert (found.fidelity is None) == (method == "shap")
    if method == "lime":
        assert found.fidelity > 0.9999


def test_a_null_stands_in_as_a_null():
    def predict(inputs):
        return np.isnan(inputs[:, 0]).astype(float)

    row, background = np.array([np.nan, 1.0]), np.array([[2.0, 3.0], [np.nan, 4.0]])
    found = explain_row(predict, row, ("a", "b"), background, "shap")
    assert found.weights == (0.5, 0.0)
    assert (found.base, found.value) == (0.5, 1.0)


def test_a_row_that_cannot_be_explained_is_refused():
    with pytest.raises(ValueError, match="must have 2 columns"):
        explain_row(np.sum, np.ones(3), ("a", "b"), np.ones((4, 3)))
    with pytest.raises(ValueError, match="no method for rows"):
        explain_row(np.sum, np.ones(2), ("a", "b"), np.ones((4, 2)), "gradients")


@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_trees_have_exact_values(nulls):
    import xgboost

    generator = np.random.default_rng(3)
    inputs = generator.standard_normal((200, 3))
    inputs[generator.random(inputs.shape) < nulls] = np.nan
    labels = (np.nan_to_num(inputs[:, 0] * inputs[:, 1] + inputs[:, 2]) > 0).astype(float)
    settings = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "base_score": 0.3}
    booster = xgboost.train(settings, xgboost.DMatrix(inputs, labels), 10)

    def margin(rows):
        return booster.predict(xgboost.DMatrix(rows), output_margin=True)

    row, background = inputs[0], inputs[1:11]
    found = trees.shapley_values(booster, row, background)
    np.testing.assert_allclose(
        found.weights, exact(stand_in(margin, row, background), 3), atol=1e-5
    )
    assert found.value == pytest.approx(float(margin(row[None])[0]), abs=1e-5)
    assert found.base == pytest.approx(float(margin(background).mean()), abs=1e-5)
    theirs = package().TreeExplainer(booster, background, feature_perturbation="interventional")
    np.testing.assert_allclose(theirs.shap_values(row[None])[0], found.weights, atol=1e-5)


def test_a_column_that_a_path_asks_twice_and_a_tree_without_a_split():
    import xgboost

    inputs = np.array([[1.0], [2.0], [3.0]] * 20)
    labels = (inputs[:, 0] == 2).astype(float)  # one column, asked from below and from above
    settings = {"objective": "binary:logistic", "max_depth": 2, "nthread": 1, "lambda": 0}
    booster = xgboost.train(settings, xgboost.DMatrix(inputs, labels), 1)
    found = trees.shapley_values(booster, inputs[1], inputs[:3])
    margins = booster.predict(xgboost.DMatrix(inputs[:3]), output_margin=True)
    assert margins[1] > 0 > margins[0]
    np.testing.assert_allclose(found.weights, [margins[1] - margins.mean()], rtol=1e-5)
    flat = xgboost.train(settings, xgboost.DMatrix(inputs, np.tile([0.0, 1.0], 30)), 1)
    still = trees.shapley_values(flat, inputs[1], inputs[:3])
    assert len(trees.leaves_of(flat).values) == 0
    assert still.weights.tolist() == [0.0]
    assert still.value == still.base


def test_integrated_gradients_by_hand():
    def product(inputs):  # x y^2 along (x t, y t): the integrals are x y^2 / 3 and 2 x y^2 / 3
        return inputs[:, 0] * inputs[:, 1] ** 2

    found = gradients.integrated(product, torch.tensor([[3.0, 2.0]]), torch.zeros(1, 2))
    np.testing.assert_allclose(found.weights.numpy(), [4.0, 8.0], rtol=1e-5)
    assert (found.base, found.value) == (0.0, 12.0)
    assert abs(found.gap) < 1e-4
    moved = gradients.integrated(product, torch.tensor([[3.0, 2.0]]), torch.tensor([[3.0, 0.0]]))
    np.testing.assert_allclose(moved.weights.numpy(), [0.0, 12.0], atol=1e-5)


def test_integrated_gradients_take_more_steps_where_the_path_is_steep():
    def steep(inputs):
        return torch.sigmoid(600 * (inputs[:, 0] - 0.5137))

    found = gradients.integrated(steep, torch.ones(1, 1), torch.zeros(1, 1))
    assert found.steps > gradients.STEPS
    assert abs(found.gap) <= gradients.GAP or found.steps == gradients.MOST_STEPS


def test_rollout_by_hand():
    one = np.array([[1.0, 0.0], [0.5, 0.5]])
    heads = np.stack([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])  # their mean is ``one``
    # half of each layer is the residual: [[1, 0], [1/4, 3/4]], squared [[1, 0], [7/16, 9/16]]
    np.testing.assert_allclose(attention.rollout(heads[None]), [[1, 0], [0.25, 0.75]])
    np.testing.assert_allclose(
        attention.rollout(np.stack([heads, heads])), [[1, 0], [7 / 16, 9 / 16]]
    )
    uneven = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    # the last layer comes last: one after uneven is not uneven after one
    first = attention.rollout(np.stack([uneven, one[None]]))
    np.testing.assert_allclose(first, [[0.5, 0.5], [0.5, 0.5]])
    second = attention.rollout(np.stack([one[None], uneven]))
    np.testing.assert_allclose(second, [[0.625, 0.375], [0.625, 0.375]])
    np.testing.assert_allclose(attention.last_layer(np.stack([uneven, heads[:1]])), heads[0])
