"""Shapley values: each part's mean gain over all orders in which parts may be added.

Belongs here: sampling orders. Does not belong here: what leaving a part out means (the game is
given); trees, where the sum has a closed form (``trees``).

The sampling is the permutation explainer of the ``shap`` package, written out: the package needs
seven seconds for its first answer (it compiles), which a service does not have. It is checked
against the package.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.contracts.learner import Vector
from models.core.explain.explanation import Game


class Shapley(NamedTuple):
    """Values that sum to ``value - base``.

    Attributes:
        weights: Shape (d,).
        base: The answer when no part is kept.
        value: The answer when all are.
    """

    weights: Vector
    base: float
    value: float


def sampled(game: Game, count: int, *, seed: int = 0, samples: int = 128) -> Shapley:
    """Shapley values over random orders, each walked forwards and backwards.

    Source: Castro, Gomez and Tejada 2009; antithetic orders as in Lundberg's permutation explainer.
    Exact for a model that adds its parts up, and for interactions of two; their sum is always
    exactly ``value - base``.

    Args:
        game: The answers.
        count: The d parts.
        seed: Of the orders.
        samples: Answers that may be asked for; at least one pair of orders (2 d) is.
    """
    generator = np.random.default_rng(seed)
    pairs = max(1, samples // (2 * count))
    orders = [generator.permutation(count) for _ in range(pairs)]
    orders = [walked for order in orders for walked in (order, order[::-1])]
    masks = np.zeros((2 + len(orders) * (count - 1), count), bool)
    masks[1] = True
    for number, order in enumerate(orders):
        for step in range(1, count):
            masks[1 + number * (count - 1) + step, order[:step]] = True
    answers = game(masks)
    base, value = float(answers[0]), float(answers[1])
    gains = np.zeros(count)
    for number, order in enumerate(orders):
        start = 2 + number * (count - 1)
        path = np.concatenate([[base], answers[start : start + count - 1], [value]])
        gains[order] += np.diff(path)
    return Shapley(gains / len(orders), base, value)
