"""Disturbed inputs of a model over rows: noise, outliers, a nullable input missing.

Belongs here: how columns are disturbed and what it does to a metric. Does not belong here: attacks
(``gradient``, ``logistic``), which of this becomes a measure (``rows``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.contracts.product import Column
from models.core import metrics

#: Noise in standard deviations of a column; share of outlying cells and how far out they lie.
NOISE_SD, OUTLIER_SHARE, OUTLIER_SD = 0.1, 0.01, 10.0


class Perturbation(NamedTuple):
    """One metric under one disturbance of the inputs.

    Attributes:
        name: ``none``, ``noise``, ``outliers`` or ``missing``.
        column: The column set missing, else None.
        value: The metric.
        error_increase: Relative to the undisturbed error; NaN when that is zero.
    """

    name: str
    column: str | None
    value: float
    error_increase: float


def robustness(
    predict: Callable[[Matrix], Vector],
    inputs: Matrix,
    labels: Vector,
    columns: Sequence[Column],
    metric: str,
    *,
    threshold: float = 0.5,
    seed: int = 0,
) -> tuple[Perturbation, ...]:
    """One metric when the inputs are disturbed: noise, outliers, one nullable input missing.

    Args:
        predict: Inputs of shape (n, d) to probabilities of shape (n,).
        inputs: Shape (n, d); NaN stands for null.
        labels: Shape (n,) of 0 or 1.
        columns: The d columns; disturbed values stay within their bounds and kinds.
        metric: A key of ``metrics.METRICS``.
        threshold: Decision threshold.
        seed: Seed of the disturbances.

    Returns:
        Undisturbed; every cell with Gaussian noise of 0.1 standard deviations; 1 % of the cells 10
        standard deviations off the mean; each nullable column missing from every row.
    """
    if inputs.shape != (len(labels), len(columns)):
        raise ValueError(f"inputs {inputs.shape} are not {len(labels)} rows x {len(columns)}")
    generator = np.random.default_rng(seed)
    noisy, outlying = _noisy(inputs, generator), _outlying(inputs, generator)
    cases: list[tuple[str, str | None, Matrix]] = [("none", None, inputs)]
    cases.append(("noise", None, _valid(noisy, columns)))
    cases.append(("outliers", None, _valid(outlying, columns)))
    for i, column in enumerate(columns):
        if column.nullable:
            without = inputs.copy()
            without[:, i] = np.nan
            cases.append(("missing", column.name, without))
    values = [metrics.compute(metric, labels, predict(case[2]), threshold) for case in cases]
    errors = [metrics.error(metric, value) for value in values]
    return tuple(
        Perturbation(name, column, value, error / errors[0] - 1 if errors[0] > 0 else np.nan)
        for (name, column, _), value, error in zip(cases, values, errors, strict=True)
    )


def _noisy(inputs: Matrix, generator: np.random.Generator) -> Matrix:
    noise = generator.standard_normal(inputs.shape)
    return inputs + NOISE_SD * _spread(inputs) * noise


def _outlying(inputs: Matrix, generator: np.random.Generator) -> Matrix:
    hit = generator.random(inputs.shape) < OUTLIER_SHARE
    side = generator.choice([-1.0, 1.0], inputs.shape)
    far = _centre(inputs) + side * OUTLIER_SD * _spread(inputs)
    return np.where(hit & ~np.isnan(inputs), far, inputs)


def _centre(inputs: Matrix) -> Vector:
    known = ~np.isnan(inputs)
    means: Vector = np.where(known, inputs, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return means


def _spread(inputs: Matrix) -> Vector:
    spread: Vector = np.sqrt(_centre((inputs - _centre(inputs)) ** 2))
    return spread


def _valid(inputs: Matrix, columns: Sequence[Column]) -> Matrix:
    """Values back within each column's bounds, whole where the column counts."""
    for i, column in enumerate(columns):
        inputs[:, i] = np.clip(inputs[:, i], column.minimum, column.maximum)
        if column.kind == "int":
            inputs[:, i] = np.round(inputs[:, i])
    return inputs
