"""Explaining one answer to one row by LIME or Shapley values.

Belongs here: what leaving a column out means, and which of a predictor's columns are the parts.
Does not belong here: the methods.

What a row is compared with are the predictor's probe rows (``tabular.probe_of``): training rows
spread over time that are sealed with every model, so that an explanation needs no table and a
model explains itself in the same way wherever it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models.contracts.api.rows import Method
from models.contracts.learner import Matrix, Predictor, Vector
from models.core.boosting import BoostedPredictor
from models.core.explain import lime, shapley, trees
from models.core.explain.explanation import Explanation, Game, Masks

#: Rows of the background that stand in for a column left out.
BACKGROUND = 32


def compared_with(predictor: Predictor) -> Matrix:
    """The training rows that a predictor keeps, at most 32, shape (k, d); k is 0 without any."""
    probe: Matrix = getattr(predictor, "probe", np.empty((0, 0)))
    places = np.linspace(0, len(probe) - 1, min(BACKGROUND, len(probe))).astype(int)
    spread: Matrix = probe[places]
    return spread


def prepare(predictor: Predictor) -> None:
    """Read what explanations need and answers do not, so that the first one is not slow."""
    if isinstance(predictor, BoostedPredictor):
        trees.leaves_of(predictor.booster)


def explain_predictor(
    predictor: Predictor,
    row: Vector,
    columns: Sequence[str],
    method: Method = "shap",
    *,
    seed: int = 0,
    samples: int = 128,
) -> Explanation:
    """Why a predictor gave a row its probability.

    Boosted trees have exact Shapley values, in log-odds and of the columns the trees read, derived
    ones among them. Everything else is asked about variants of the row, and answers in probability.

    Args:
        predictor: The model.
        row: Shape (d,), the product's columns; NaN stands for null.
        columns: Their d names.
        method: ``shap`` or ``lime``.
        seed: Of the variants.
        samples: Variants asked for; each costs as many answers as the predictor keeps rows.

    Raises:
        ValueError: The predictor keeps no rows; or see `explain_row`.
    """
    background = compared_with(predictor)
    if not len(background):
        raise ValueError(
            f"a {type(predictor).__name__} keeps no training rows to compare a row with; give it a"
            " `probe` (see models.core.tabular.probe_of)"
        )
    if method == "shap" and isinstance(predictor, BoostedPredictor):
        return _by_trees(predictor, row, background)
    read = predictor.importance()  # names what the model reads: the rest would only cost samples
    places = [place for place, name in enumerate(columns) if not read or name in read]

    def predict(variants: Matrix) -> Vector:
        rows = np.tile(row, (len(variants), 1))
        rows[:, places] = variants
        return predictor.predict(rows)

    names = [columns[place] for place in places]
    return explain_row(
        predict, row[places], names, background[:, places], method, seed=seed, samples=samples
    )


def explain_row(
    predict: Callable[[Matrix], Vector],
    row: Vector,
    columns: Sequence[str],
    background: Matrix,
    method: Method = "lime",
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
    count, fidelity = len(columns), None
    if method == "lime":
        weights, base, value, fidelity = lime.surrogate(game, count, seed=seed, samples=samples)
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
        note=f"probability; {_against(min(BACKGROUND, len(background)))}",
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


def _by_trees(predictor: BoostedPredictor, row: Vector, background: Matrix) -> Explanation:
    """In log-odds of the recalibrated answer: ``intercept + slope * margin`` of the booster."""
    inputs, (intercept, slope) = predictor.inputs, predictor.recalibration
    found = trees.shapley_values(
        predictor.booster, inputs.select(row[None])[0], inputs.select(background)
    )
    derived = tuple(column.name for column in inputs.derived)
    computed = f"; the model computes {', '.join(derived)} from other columns" if derived else ""
    return Explanation(
        method="shap",
        label="label",
        parts=inputs.used + derived,
        weights=tuple(float(slope * weight) for weight in found.weights),
        base=float(intercept + slope * found.base),
        value=float(intercept + slope * found.value),
        note=f"log-odds, exact for its trees; {_against(len(background))}{computed}",
    )


def _against(count: int) -> str:
    return f"against {count} training rows"
