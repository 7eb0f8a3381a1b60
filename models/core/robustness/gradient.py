"""Gradient attacks on differentiable inputs: one step (FGSM) and many (PGD).

Belongs here: the two attacks, their steps and projections. Does not belong here: what is attacked
and what it means (an objective is given), attacks without gradients.

They work on tensors, so they attack images, rows and the embeddings of texts alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

#: Inputs of shape (n, ...) to a scalar that grows as the model gets worse, e.g. its summed loss.
Objective = Callable[[Tensor], Tensor]

#: Keeps a gradient of length zero from being divided by zero.
_TINY = 1e-12


@dataclass(frozen=True)
class Ball:
    """How far an input may be moved, and the values it may take.

    Attributes:
        epsilon: Radius of the ball around each input.
        norm: ``linf``: no value moves further than epsilon. ``l2``: no input does.
        low: Smallest valid value; None bounds nothing.
        high: Largest valid value.
    """

    epsilon: float
    norm: Literal["linf", "l2"] = "linf"
    low: float | None = None
    high: float | None = None

    def step(self, gradient: Tensor, size: float) -> Tensor:
        """The steepest step of this size: the sign of the gradient, or its direction."""
        if self.norm == "linf":
            return size * gradient.sign()
        return size * gradient / (_lengths(gradient) + _TINY)

    def project(self, moved: Tensor) -> Tensor:
        """The nearest shift inside the ball, for shifts of shape (n, ...)."""
        if self.norm == "linf":
            return moved.clamp(-self.epsilon, self.epsilon)
        return moved * (self.epsilon / (_lengths(moved) + _TINY)).clamp(max=1.0)

    def valid(self, inputs: Tensor) -> Tensor:
        """Values back between ``low`` and ``high``."""
        if self.low is None and self.high is None:
            return inputs
        return inputs.clamp(self.low, self.high)

    def inside(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """A shift drawn evenly from the ball, of the shape of ``like``."""
        if self.norm == "linf":
            drawn = torch.rand(like.shape, generator=generator, dtype=like.dtype)
            return (2 * drawn - 1) * self.epsilon
        direction = torch.randn(like.shape, generator=generator, dtype=like.dtype)
        share = torch.rand(like.shape[0], generator=generator, dtype=like.dtype)
        radius = self.epsilon * share ** (1 / max(1, like[0].numel()))
        return direction / (_lengths(direction) + _TINY) * radius.view(_per_row(like))


def fgsm(
    objective: Objective, inputs: Tensor, ball: Ball, *, where: Tensor | None = None
) -> Tensor:
    """The fast gradient sign method: one step onto the ball's surface.

    Source: Goodfellow, Shlens and Szegedy 2015, Explaining and harnessing adversarial examples.

    Args:
        objective: What is to grow.
        inputs: Shape (n, ...).
        ball: Bounds of the attack.
        where: 1 where an input may be changed, 0 elsewhere; broadcast to ``inputs``.

    Returns:
        Attacked inputs, detached, of the same shape.
    """
    moved = ball.step(_gradient(objective, inputs, where), ball.epsilon)
    return ball.valid(inputs.detach() + moved)


def pgd(
    objective: Objective,
    inputs: Tensor,
    ball: Ball,
    *,
    size: float,
    steps: int = 10,
    seed: int | None = None,
    where: Tensor | None = None,
) -> Tensor:
    """Projected gradient ascent inside the ball.

    Source: Madry et al. 2018, Towards deep learning models resistant to adversarial attacks.

    Args:
        objective: What is to grow.
        inputs: Shape (n, ...).
        ball: Bounds of the attack.
        size: Length of a step, in the ball's norm.
        steps: Number of steps.
        seed: Of a random start inside the ball; None starts at the inputs.
        where: 1 where an input may be changed, 0 elsewhere; broadcast to ``inputs``.

    Returns:
        Attacked inputs, detached, of the same shape.
    """
    start = inputs.detach()
    moved = torch.zeros_like(start)
    if seed is not None:
        drawn = ball.inside(start, torch.Generator().manual_seed(seed))
        moved = ball.valid(start + (drawn if where is None else drawn * where)) - start
    for _ in range(steps):
        gradient = _gradient(objective, start + moved, where)
        there = ball.valid(start + moved + ball.step(gradient, size))
        moved = ball.project(there - start)
    return start + moved


def _gradient(objective: Objective, inputs: Tensor, where: Tensor | None) -> Tensor:
    """Of the inputs alone: no gradient is left behind in the model's parameters."""
    inputs = inputs.detach().requires_grad_(True)
    with torch.enable_grad():
        gradient: Tensor = torch.autograd.grad(objective(inputs), inputs)[0]
    return gradient if where is None else gradient * where


def _lengths(rows: Tensor) -> Tensor:
    lengths: Tensor = rows.flatten(1).norm(dim=1)
    return lengths.view(_per_row(rows))


def _per_row(rows: Tensor) -> tuple[int, ...]:
    return (-1, *[1] * (rows.dim() - 1))
