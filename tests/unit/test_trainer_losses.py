"""Losses against the formulas, worked out by hand."""

from math import exp, log

import numpy as np
import pytest
import torch

from models.core.trainer.losses import (
    bpr,
    focal,
    gbce,
    gbce_power,
    masked_bce,
    positive_weights,
    sampled_softmax,
)

NAN = float("nan")
LOGITS = torch.tensor([[0.0, 2.0], [-1.0, 5.0]], requires_grad=True)
LABELS = torch.tensor([[1.0, 0.0], [1.0, NAN]])


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def test_masked_bce_leaves_out_what_nobody_said() -> None:
    terms = [-log(0.5), -log(1 - sigmoid(2)), -log(sigmoid(-1))]
    loss = masked_bce(LOGITS, LABELS)
    assert loss.item() == pytest.approx(sum(terms) / 3)
    (gradient,) = torch.autograd.grad(loss, LOGITS)
    expected = torch.tensor([[0.5 - 1, sigmoid(2)], [sigmoid(-1) - 1, 0.0]]) / 3
    torch.testing.assert_close(gradient, expected)
    weighed = masked_bce(LOGITS, LABELS, torch.tensor([3.0, 7.0]))
    assert weighed.item() == pytest.approx((3 * terms[0] + terms[1] + 3 * terms[2]) / 3)


@pytest.mark.parametrize("loss", [masked_bce, focal])
def test_a_batch_without_any_label_teaches_nothing(loss) -> None:
    value = loss(LOGITS, torch.full((2, 2), NAN))
    (gradient,) = torch.autograd.grad(value, LOGITS)
    assert value.item() == 0.0
    assert torch.equal(gradient, torch.zeros(2, 2))


def test_focal() -> None:
    right = [0.5, 1 - sigmoid(2), sigmoid(-1)]
    terms = [-((1 - p) ** 2) * log(p) for p in right]
    assert focal(LOGITS, LABELS).item() == pytest.approx(sum(terms) / 3)
    weighed = (0.25 * terms[0] + 0.75 * terms[1] + 0.25 * terms[2]) / 3
    assert focal(LOGITS, LABELS, alpha=0.25).item() == pytest.approx(weighed)
    assert focal(LOGITS, LABELS, gamma=0.0).item() == pytest.approx(
        masked_bce(LOGITS, LABELS).item()
    )


def test_positive_weights() -> None:
    labels = np.array([[1, 0, NAN], [0, 0, NAN], [0, NAN, 1], [0, 0, 0.0]])
    assert positive_weights(labels).tolist() == [3.0, 1.0, 1.0]
    many = np.array([[1.0]] + [[0.0]] * 500)
    assert positive_weights(many).tolist() == [100.0]


def test_sampled_softmax() -> None:
    positive, negatives = torch.tensor([1.0]), torch.tensor([[0.5, -1.0]])
    total = exp(1) + exp(0.5) + exp(-1)
    assert sampled_softmax(positive, negatives).item() == pytest.approx(-log(exp(1) / total))
    same = torch.tensor([[False, True]])
    without = sampled_softmax(positive, negatives, same=same)
    assert without.item() == pytest.approx(-log(exp(1) / (exp(1) + exp(0.5))))
    log_q = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    corrected = sampled_softmax(positive, negatives, log_q=log_q)
    share = (exp(1) / 0.5) / (exp(1) / 0.5 + exp(0.5) / 0.25 + exp(-1) / 0.25)
    assert corrected.item() == pytest.approx(-log(share))


def test_gbce_against_the_paper() -> None:
    """Half of the 4 negatives are drawn; t = 0.75 makes the power 0.5 * (0.75 * -1 + 2)."""
    assert gbce_power(2, 5, 0.75) == pytest.approx(0.625)
    assert gbce_power(2, 5, 0.0) == pytest.approx(1.0)
    assert gbce_power(2, 5, 1.0) == pytest.approx(0.5)
    positive, negatives = torch.tensor([1.0]), torch.tensor([[0.5, -1.0]])
    by_hand = 0.625 * log(sigmoid(1)) + log(1 - sigmoid(0.5)) + log(1 - sigmoid(-1))
    assert gbce(positive, negatives, items=5).item() == pytest.approx(-by_hand / 3)


def test_bpr_and_its_gradient() -> None:
    positive = torch.tensor([1.0, 0.0], requires_grad=True)
    loss = bpr(positive, torch.tensor([0.0, 2.0]))
    assert loss.item() == pytest.approx(-(log(sigmoid(1)) + log(sigmoid(-2))) / 2)
    (gradient,) = torch.autograd.grad(loss, positive)
    expected = torch.tensor([sigmoid(1) - 1, sigmoid(-2) - 1]) / 2
    torch.testing.assert_close(gradient, expected)
