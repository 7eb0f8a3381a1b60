"""Integrated gradients: the path integral of the gradient from a neutral input to this one.

Belongs here: the integral and its completeness. Does not belong here: what the inputs are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

#: Steps of the first try and of the last; doubled until the integral is complete.
STEPS, MOST_STEPS = 32, 256
#: Share of the difference that the attributions may leave unexplained.
GAP = 0.05


class Integrated(NamedTuple):
    """Attributions of one input.

    Attributes:
        weights: Shape of one input.
        base: The output for the neutral input.
        value: The output for the input.
        gap: Sum of the weights minus ``value - base``, which would be 0 with endless steps.
        steps: Taken.
    """

    weights: Tensor
    base: float
    value: float
    gap: float
    steps: int


def integrated(
    output: Callable[[Tensor], Tensor], inputs: Tensor, neutral: Tensor, *, steps: int = STEPS
) -> Integrated:
    """Integrated gradients by captum's Gauss-Legendre rule, with as many steps as are needed.

    Source: Sundararajan, Taly and Yan 2017, Axiomatic attribution for deep networks. By the axiom
    of completeness the attributions sum to ``value - base``; where they miss it by more than 5 %
    the steps are doubled, up to 256.

    Args:
        output: Inputs of shape (n, ...) to outputs of shape (n,).
        inputs: Shape (1, ...).
        neutral: The same shape: an input that says nothing.
        steps: Of the first try.
    """
    import torch
    from captum.attr import IntegratedGradients  # type: ignore[import-untyped]  # no types

    with torch.no_grad():
        base, value = float(output(neutral)[0]), float(output(inputs)[0])
    method = IntegratedGradients(output)
    while True:
        weights = method.attribute(
            inputs, neutral, n_steps=steps, internal_batch_size=STEPS
        ).detach()
        gap = float(weights.sum()) - (value - base)
        if abs(gap) <= GAP * abs(value - base) or 2 * steps > MOST_STEPS:
            return Integrated(weights[0], base, value, gap, steps)
        steps *= 2
