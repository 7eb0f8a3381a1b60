"""Explaining one answer to one row by LIME or Shapley values.

Belongs here: what leaving a column out means. Does not belong here: the methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.core.explain import lime, shapley
from models.core.explain.explanation import Explanation, Game, Masks

#: Rows of the background that stand in for a column left out.
BACKGROUND = 32


def explain_row(
    predict: Callable[[Matrix], Vector],
    row: Vector,
    columns: Sequence[str],
    background: Matrix,
    method: Literal["lime", "shap"] = "lime",
    *,
    label: str = "label",
    seed: int = 0,
    samples: int = 128,
) -> Explanation:
    """Why a model gave a row its probability.

    Args:
        predict: Inputs of shape (n, d) to answers of shape (n,).
        row: Shape (d,); NaN stands for null.
        columns: The d names.
        background: Shape (m, d) of training rows; at most 32, drawn by the seed, are used.
        method: ``lime`` or ``shap``.
        label: Of the answer.
        seed: Of the background and the variants.
        samples: Variants asked for; each costs as many answers as the background has rows.

    Raises:
        ValueError: Unknown method, or shapes that do not fit.
    """
    if row.shape != (len(columns),) or background.ndim != 2 or background.shape[1] != len(columns):
        raise ValueError(
            f"row {row.shape} and background {background.shape} must have {len(columns)} columns"
        )
    if method not in ("lime", "shap"):
        raise ValueError(f"{method!r} is no method for rows; take lime or shap")
    drawn = np.random.default_rng(seed).permutation(len(background))[:BACKGROUND]
    game = stand_in(predict, row, background[np.sort(drawn)])
    count = len(columns)
    fidelity = None
    if method == "lime":
        near = lime.surrogate(game, count, seed=seed, samples=samples)
        weights, base, value, fidelity = near
    else:
        weights, base, value = shapley.sampled(game, count, seed=seed, samples=samples)
    return Explanation(
        method=method,
        label=label,
        parts=tuple(columns),
        weights=tuple(float(weight) for weight in weights),
        base=base,
        value=value,
        fidelity=fidelity,
        note=f"against {min(BACKGROUND, len(background))} training rows",
    )


def stand_in(predict: Callable[[Matrix], Vector], row: Vector, background: Matrix) -> Game:
    """The game of a row: columns left out take the background's values, and answers are averaged.

    A background value replaces a null and the other way round: whether it is known is part of it.
    """

    def game(masks: Masks) -> Vector:
        variants = np.where(masks[:, None, :], row, background[None])
        answers = predict(variants.reshape(-1, len(row)))
        mean: Vector = answers.reshape(len(masks), len(background)).mean(axis=1)
        return mean

    return game
