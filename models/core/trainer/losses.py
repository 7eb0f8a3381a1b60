"""Losses of labels that may be missing, and of rankings with sampled negatives.

Belongs here: pure functions of tensors. Does not belong here: drawing the negatives.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def masked_bce(logits: Tensor, labels: Tensor, positive_weight: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy over the cells whose label is known.

    Args:
        logits: Shape (n, L), or any shape.
        labels: The same shape, 0 or 1, NaN where nobody said.
        positive_weight: Shape (L,), what a positive counts (``positive_weights``).

    Returns:
        A scalar; 0 when no label is known.
    """
    losses = _known_bce(logits, labels, positive_weight)[0]
    return losses.mean() if losses.numel() else logits.sum() * 0.0


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0, alpha: float | None = None) -> Tensor:
    """Mean focal loss over known cells: ``-alpha_t (1 - p_t)^gamma log p_t`` (Lin et al. 2017).

    Args:
        logits: Any shape.
        labels: The same shape, 0 or 1, NaN where nobody said.
        gamma: How little a sure answer counts; 0 is the cross-entropy.
        alpha: Weight of positives, ``1 - alpha`` that of negatives; None weighs both 1.
    """
    losses, known = _known_bce(logits, labels, None)
    if not losses.numel():
        return logits.sum() * 0.0
    losses = (1.0 - torch.exp(-losses)) ** gamma * losses
    if alpha is not None:
        losses = torch.where(known > 0.5, alpha, 1.0 - alpha) * losses
    return losses.mean()


def positive_weights(labels: NDArray[np.float64], largest: float = 100.0) -> NDArray[np.float32]:
    """Negatives over positives of each label, so that both classes count the same.

    Args:
        labels: Shape (n, L), NaN where nobody said.
        largest: No label's positives count more than this.

    Returns:
        Shape (L,); 1.0 for a label of which only one class is known.
    """
    positives = np.nansum(labels == 1, axis=0)
    negatives = np.nansum(labels == 0, axis=0)
    both = (positives > 0) & (negatives > 0)
    weights = np.where(both, negatives / np.maximum(positives, 1), 1.0)
    return np.minimum(weights, largest).astype(np.float32)


def sampled_softmax(
    positive: Tensor, negatives: Tensor, same: Tensor | None = None, log_q: Tensor | None = None
) -> Tensor:
    """Cross-entropy of the positive among itself and its sampled negatives.

    Args:
        positive: Scores of shape (n,).
        negatives: Scores of shape (n, k).
        same: Shape (n, k), true where a negative is the positive itself: left out.
        log_q: Shape (n, 1 + k), log of how often each would be drawn, the positive first; taken off
            the scores, which makes the gradient that of the full softmax as k grows (Bengio &
            Senecal 2008). Leave it out for uniform negatives, where it is a constant.
    """
    scores = torch.cat([positive[:, None], negatives], dim=1)
    if log_q is not None:
        scores = scores - log_q
    if same is not None:
        lost = functional.pad(same, (1, 0), value=False)
        scores = scores.masked_fill(lost, float("-inf"))
    return -functional.log_softmax(scores, dim=1)[:, 0].mean()


def gbce(positive: Tensor, negatives: Tensor, items: int, calibration: float = 0.75) -> Tensor:
    """Generalised binary cross-entropy (gSASRec, Petrov & Macdonald 2023).

    With few negatives the plain cross-entropy overrates the top of the ranking; the positive's
    probability is raised to the power of ``gbce_power`` against it.

    Args:
        positive: Scores of shape (n,).
        negatives: Scores of shape (n, k), drawn uniformly.
        items: Size of the catalogue.
        calibration: The paper's t: 0 is the plain loss, 1 is calibrated.
    """
    k = negatives.shape[1]
    power = gbce_power(k, items, calibration)
    losses = -power * functional.logsigmoid(positive) - functional.logsigmoid(-negatives).sum(1)
    return losses.mean() / (k + 1)


def gbce_power(k: int, items: int, calibration: float) -> float:
    """``alpha (t (1 - 1/alpha) + 1/alpha)`` with alpha = k / (items - 1), the sampling rate."""
    rate = k / (items - 1)
    return rate * (calibration * (1.0 - 1.0 / rate) + 1.0 / rate)


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking, ``-log sigmoid(positive - negative)`` (Rendle et al. 2009)."""
    return -functional.logsigmoid(positive - negative).mean()


def _known_bce(logits: Tensor, labels: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    known = ~torch.isnan(labels)
    logits = logits.float()  # bf16 has too few digits for a logarithm near 0
    if weight is not None:
        weight = weight.to(logits).expand_as(logits)[known]
    found = labels[known].to(logits.dtype)
    losses = functional.binary_cross_entropy_with_logits(
        logits[known], found, pos_weight=weight, reduction="none"
    )
    return losses, found
