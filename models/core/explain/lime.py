"""LIME: a linear model of the answers near one input, and how faithful it is.

Belongs here: the sample of variants, their weights, the fit. Does not belong here: what leaving a
part out means (the game is given).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.contracts.learner import Vector
from models.core.explain.explanation import Game, Masks

#: Kernel width over the cosine distance, and the ridge penalty: those of Ribeiro's own code for
#: texts (25 on distances of 0 to 100); the penalty is smaller because the parts are few.
WIDTH, PENALTY = 0.25, 1e-3


class Surrogate(NamedTuple):
    """The linear model.

    Attributes:
        weights: Shape (d,).
        base: Its answer when no part is kept.
        value: The model's answer when all are.
        fidelity: Weighted R squared on the variants; 1.0 when every answer is the same.
    """

    weights: Vector
    base: float
    value: float
    fidelity: float


def surrogate(game: Game, count: int, *, seed: int = 0, samples: int = 128) -> Surrogate:
    """Fit a weighted ridge regression on variants of the input.

    Source: Ribeiro, Singh and Guestrin 2016, "Why should I trust you?". Variants leave out 1 to d
    parts, evenly by their number; each is paired with its complement, which halves the noise of the
    draw. A variant counts the more the more it keeps: exp(-distance^2 / width^2) of the cosine
    distance to the input.

    Args:
        game: The answers.
        count: The d parts, at least 1.
        seed: Of the draw: the same seed gives the same weights.
        samples: Variants asked for, beside the input itself.
    """
    masks = _variants(count, samples, np.random.default_rng(seed))
    answers = game(masks)
    near = np.exp(-((1 - np.sqrt(masks.mean(axis=1))) ** 2) / WIDTH**2)
    kept = masks.astype(float)
    centre, level = near @ kept / near.sum(), near @ answers / near.sum()
    x, y = kept - centre, answers - level
    gram = (x.T * near) @ x + PENALTY * np.eye(count)
    weights: Vector = np.linalg.solve(gram, (x.T * near) @ y)
    spread, left = near @ y**2, near @ (y - x @ weights) ** 2
    scale = max(1.0, float(np.abs(answers).max())) ** 2
    fidelity = 1.0 - float(left / spread) if spread > 1e-12 * scale else 1.0
    return Surrogate(weights, float(level - centre @ weights), float(answers[0]), fidelity)


def _variants(count: int, samples: int, generator: np.random.Generator) -> Masks:
    """The input itself, then pairs of a variant and its complement, shape (1 + samples, d)."""
    masks = np.ones((1 + samples + samples % 2, count), bool)
    for row in range(1, len(masks), 2):
        gone = generator.permutation(count)[: int(generator.integers(1, count + 1))]
        masks[row, gone] = False
        masks[row + 1] = ~masks[row]
    return masks
