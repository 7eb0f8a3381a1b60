"""FGSM and PGD against the adversarial robustness toolbox, and the closed form of linear models."""

import copy
import warnings

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch.nn import functional

from models.contracts.learner import TrainingRows
from models.contracts.product import Trial
from models.core import linear
from models.core.robustness import logistic
from models.core.robustness.gradient import Ball, fgsm, pgd

EPSILON, STEP, STEPS = 0.3, 0.1, 7


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).eval()


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(16, 4, generator=generator), torch.arange(16) % 3


@pytest.fixture(scope="module")
def theirs(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the toolbox warns of what it could also import
        from art.estimators.classification import PyTorchClassifier

        return PyTorchClassifier(
            net, torch.nn.CrossEntropyLoss(), (4,), 3, clip_values=(0.0, 1.0), device_type="cpu"
        )


def worse(net, labels):
    return lambda inputs: functional.cross_entropy(net(inputs), labels, reduction="sum")


@pytest.mark.parametrize(("norm", "order"), [("linf", np.inf), ("l2", 2)])
def test_fgsm_is_the_toolboxs(net, data, theirs, norm, order):
    from art.attacks.evasion import FastGradientMethod

    inputs, labels = data
    attack = FastGradientMethod(theirs, norm=order, eps=EPSILON)
    expected = attack.generate(inputs.numpy(), labels.numpy())
    ours = fgsm(worse(net, labels), inputs, Ball(EPSILON, norm, 0.0, 1.0))
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("norm", "order"), [("linf", np.inf), ("l2", 2)])
def test_pgd_is_the_toolboxs(net, data, theirs, norm, order):
    from art.attacks.evasion import ProjectedGradientDescent

    inputs, labels = data
    attack = ProjectedGradientDescent(
        theirs, norm=order, eps=EPSILON, eps_step=STEP, max_iter=STEPS, num_random_init=0,
        verbose=False,
    )  # fmt: skip
    expected = attack.generate(inputs.numpy(), labels.numpy())
    ball = Ball(EPSILON, norm, 0.0, 1.0)
    ours = pgd(worse(net, labels), inputs, ball, size=STEP, steps=STEPS)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_random_start_stays_in_the_ball_and_harms(net, data, norm):
    inputs, labels = data
    net = copy.deepcopy(net).requires_grad_(True)
    net.zero_grad(set_to_none=True)  # the toolbox leaves its own
    ball = Ball(EPSILON, norm, 0.0, 1.0)
    objective = worse(net, labels)
    found = pgd(objective, inputs, ball, size=STEP, steps=STEPS, seed=0)
    moved = (found - inputs).flatten(1)
    length = moved.abs().max() if norm == "linf" else moved.norm(dim=1).max()
    assert length <= EPSILON + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert objective(found) > objective(inputs) + 0.5
    assert torch.equal(found, pgd(objective, inputs, ball, size=STEP, steps=STEPS, seed=0))
    assert not torch.equal(found, pgd(objective, inputs, ball, size=STEP, steps=1, seed=1))
    assert all(parameter.grad is None for parameter in net.parameters())


def test_random_starts_fill_the_ball_evenly():
    like = torch.zeros(4000, 2)
    for norm, expected in (("linf", 0.25), ("l2", 0.25)):
        drawn = Ball(1.0, norm).inside(like, torch.Generator().manual_seed(0))
        lengths = drawn.abs().max(dim=1).values if norm == "linf" else drawn.norm(dim=1)
        assert lengths.max() <= 1.0
        # in two dimensions a quarter of the area lies within half the radius; se 0.007
        assert (lengths <= 0.5).float().mean() == pytest.approx(expected, abs=0.025)


def test_what_may_not_be_changed_stays(net, data):
    inputs, labels = data
    where = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    for found in (
        fgsm(worse(net, labels), inputs, Ball(EPSILON), where=where),
        pgd(worse(net, labels), inputs, Ball(EPSILON, "l2"), size=STEP, seed=0, where=where),
    ):
        assert torch.equal(found[:, 1::2], inputs[:, 1::2])
        assert (found[:, ::2] != inputs[:, ::2]).all()


def test_projection_by_hand():
    moved = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    assert torch.allclose(Ball(1.0, "l2").project(moved), torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    assert torch.allclose(Ball(1.0).project(moved), torch.tensor([[1.0, 1.0], [0.3, 0.4]]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_worst_case_of_a_linear_model_is_its_fgsm(norm):
    weights, labels = np.array([1.0, -2.0, 0.5]), np.array([1.0, 0.0])
    inputs = np.array([[0.2, -0.1, 1.0], [1.0, 0.3, -0.4]])
    found = logistic.worst_logits(inputs @ weights, labels, weights, 0.1, norm)
    # by hand: sum |w| = 3.5, length of w = sqrt(5.25)
    reach = {"linf": 0.35, "l2": 0.1 * 5.25**0.5}[norm]
    np.testing.assert_allclose(found, [0.9 - reach, 0.2 + reach])
    w, y = torch.tensor(weights), torch.tensor(labels)
    moved = fgsm(
        lambda x: functional.binary_cross_entropy_with_logits(x @ w, y, reduction="sum"),
        torch.tensor(inputs),
        Ball(0.1, norm),
    )
    np.testing.assert_allclose(found, moved.numpy() @ weights, atol=1e-9)


def test_the_worst_case_of_the_fitted_logistic_regression():
    generator = np.random.default_rng(0)
    inputs = generator.exponential(3.0, (300, 3))
    inputs[::7, 2] = np.nan
    labels = (inputs[:, 0] > 2).astype(float)
    trial = Trial(name="t", params={"model": "logistic"})
    predictor = linear.fit(trial, TrainingRows(inputs, labels, ("a", "b", "c")))
    worst = logistic.worst_scores(predictor, inputs, labels, 0.1)
    clean = predictor.predict(inputs)
    assert np.array_equal(logistic.worst_scores(predictor, inputs, labels, 0.0) > 0.5, clean > 0.5)
    assert (np.where(labels == 1, worst < clean, worst > clean)).all()
    # by hand on the standardised signed logarithms: every one of three columns moves by 0.1
    logged = np.sign(inputs) * np.log1p(np.abs(inputs))
    features = predictor.pipeline[:-1].transform(logged)
    model = predictor.pipeline[-1]
    away = -np.sign(2 * labels - 1)[:, None] * np.sign(model.coef_[0]) * [0.1, 0.1, 0.1, 0.0]
    np.testing.assert_allclose(
        worst, expit((features + away) @ model.coef_[0] + model.intercept_[0]), rtol=1e-9
    )
