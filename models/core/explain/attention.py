"""Attention of a transformer, followed through its layers: a hint, not an explanation.

Belongs here: rollout, the mean of the last layer. Does not belong here: how attention is had from a
model (``models.core.text.differentiable``).

Attention says where a model looked, not what it made of it: weights have no sign and may be changed
without changing the answer (Jain and Wallace 2019, Attention is not explanation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import Matrix

NOTE = "attention is a hint only: it says where the model looked, not for or against what"


def rollout(attentions: NDArray[np.float64]) -> Matrix:
    """How much each token of the last layer holds of each input token.

    Heads averaged, half of each layer is the residual connection, layers multiplied
    (Abnar and Zuidema 2020, Quantifying attention flow in transformers).

    Args:
        attentions: Shape (layers, heads, s, s); rows sum to 1.

    Returns:
        Shape (s, s), rows sum to 1.
    """
    size = attentions.shape[-1]
    flow: Matrix = np.eye(size)
    for layer in attentions.mean(axis=1):
        mixed = 0.5 * layer + 0.5 * np.eye(size)
        flow = mixed / mixed.sum(axis=1, keepdims=True) @ flow
    return flow


def last_layer(attentions: NDArray[np.float64]) -> Matrix:
    """The last layer's attention, heads averaged, shape (s, s)."""
    mean: Matrix = attentions[-1].mean(axis=0)
    return mean
