"""Cox recalibration: the slope that says whether probabilities are over- or underconfident.

Belongs here: the logistic fit of labels on the logit of the scores, and its one-step bootstrap.
Does not belong here: reliability plots, or mending a model's probabilities (``calibrators``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from models.contracts.learner import Matrix, Vector

#: Scores are clipped to [CLIP, 1 - CLIP] before the logit: 0 and 1 have none.
CLIP = 1e-6
#: Reported in place of the infinite slope of perfectly separated classes.
SLOPE_LIMIT = 20.0
_STEPS, _TOLERANCE = 50, 1e-10


class Recalibration(NamedTuple):
    """Coefficients of ``logit P(label = 1) = intercept + slope * logit(score)``."""

    intercept: float
    slope: float


def fit(labels: Vector, scores: Vector) -> Recalibration:
    """Maximum likelihood by damped Newton steps (Cox 1958, Two further applications of a model).

    Args:
        labels: Shape (n,) of 0.0 or 1.0.
        scores: Shape (n,) probabilities.

    Returns:
        The coefficients; slope 1 is calibrated, below 1 overconfident. Both NaN with one class or
        one distinct score; separated classes give ``SLOPE_LIMIT`` with the sign of the direction.
    """
    x = _logits(scores)
    rate = labels.mean()
    if rate in (0.0, 1.0) or np.ptp(x) < _TOLERANCE:
        return Recalibration(np.nan, np.nan)
    beta = np.array([logit(rate), 0.0])
    for _ in range(_STEPS):
        step = _newton_steps(_terms(labels, x, beta).sum(axis=0)[None, :])[0]
        step = _damped(labels, x, beta, step)
        beta = beta + step
        if abs(beta[1]) >= SLOPE_LIMIT or np.abs(step).max() < _TOLERANCE:
            break
    return Recalibration(float(beta[0]), float(np.clip(beta[1], -SLOPE_LIMIT, SLOPE_LIMIT)))


def step_terms(labels: Vector, scores: Vector, fitted: Recalibration) -> Matrix:
    """Per-row gradient and information at a fit; their weighted sums give ``one_step`` its step.

    Returns:
        Shape (n, 5): two gradient columns, three columns of the symmetric information matrix.
    """
    return _terms(labels, _logits(scores), np.array(fitted))


def one_step(fitted: Recalibration, sums: Matrix) -> Vector:
    """Slopes of resampled data by one Newton step from the full-sample fit.

    One step is accurate to O(1/n) and costs a matrix product instead of a refit per replicate
    (Moulton and Zeger 1991, Bootstrapping generalized linear models).

    Args:
        fitted: Fit of the full sample.
        sums: Shape (B, 5), ``step_terms`` summed with each replicate's counts.

    Returns:
        Shape (B,) slopes; NaN where a replicate cannot determine one.
    """
    slopes: Vector = np.clip(fitted.slope + _newton_steps(sums)[:, 1], -SLOPE_LIMIT, SLOPE_LIMIT)
    return slopes


def _logits(scores: Vector) -> Vector:
    values: Vector = logit(np.clip(scores, CLIP, 1 - CLIP))
    return values


def _terms(labels: Vector, x: Vector, beta: Vector) -> Matrix:
    fitted = expit(beta[0] + beta[1] * x)
    residual, weight = labels - fitted, fitted * (1 - fitted)
    terms: Matrix = np.stack([residual, residual * x, weight, weight * x, weight * x * x], axis=1)
    return terms


def _newton_steps(sums: Matrix) -> Matrix:
    """Solve the 2 x 2 systems ``information @ step = gradient``, shape (B, 2)."""
    g0, g1, h00, h01, h11 = sums.T
    determinant = h00 * h11 - h01 * h01
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.stack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0], axis=1) / determinant[:, None]
    steps[~(determinant > 0)] = np.nan
    solved: Matrix = steps
    return solved


def _damped(labels: Vector, x: Vector, beta: Vector, step: Vector) -> Vector:
    """Halve the step until the likelihood does not fall; zero when no step helps."""
    if not np.isfinite(step).all():
        return np.zeros(2)
    before = _log_likelihood(labels, x, beta)
    for _ in range(30):
        if _log_likelihood(labels, x, beta + step) >= before:
            return step
        step = step / 2
    return np.zeros(2)


def _log_likelihood(labels: Vector, x: Vector, beta: Vector) -> float:
    eta = beta[0] + beta[1] * x
    return float((labels * eta - np.logaddexp(0, eta)).sum())
