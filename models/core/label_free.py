"""A model's metrics without outcomes: confidence-based performance estimation of binary scores.

Belongs here: learning how far a model's probabilities can be believed, and what metrics they imply.
Does not belong here: the logistic fit (``calibration``), what a metric is (``metrics``), what an
estimate leads to (the policy).

A calibrated probability p says that p of a row is positive and 1 - p of it negative, so expected
metrics follow from scores alone. This sees a change of the rows (covariate shift). It cannot see a
change of the labels given the row (concept drift) as it happens; how much of that to expect is
learned from the periods of the reference and widens the interval
(docs/decisions/0009-monitoring.md).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from models.contracts.learner import Matrix, Vector
from models.contracts.monitoring import Recalibration
from models.contracts.results import Estimate
from models.core import bootstrap, calibration, counted, metrics

Mask = NDArray[np.bool_]

#: What expected counts determine: all but the calibration, which estimates take as given.
ESTIMABLE = tuple(name for name in metrics.BINARY if name not in {"calibration_slope", "ece"})
#: Simulated outcomes behind an interval.
DRAWS = 200
#: Rows of nearly equal score are counted together, in at most this many groups (plus one).
GROUPS = 4096
#: A slice with fewer rows is left out: its interval would say nothing.
MIN_SLICE_ROWS = 100
#: Information of a prior so weak (standard deviation 10) that it only matters where the labels are
#: separated and the likelihood has none.
_PRIOR = 0.01
#: Student's t has a variance from 3 degrees of freedom on; fewer periods are treated as these.
_FREEDOM = 3
#: Metrics count in integers; an expected count is given in this many parts of all rows. Twice the
#: product of two sums of them still fits 64 bits.
_PARTS = 2**30


class Grouped(NamedTuple):
    """Rows by score, ascending: shape (g,) scores and the rows that have each."""

    scores: Vector
    rows: NDArray[np.intp]


def recalibrate(labels: Vector, scores: Vector, periods: NDArray[np.generic]) -> Recalibration:
    """Learn the truth of a model's probabilities from rows with outcomes, and its unrest over time.

    Args:
        labels: Shape (n,) of 0 or 1.
        scores: Shape (n,), probabilities on rows the model did not learn from.
        periods: Shape (n,), each row's period, any values.

    Returns:
        The fit over all rows. Its covariance is for a period to come: the fit's own sampling error
        (inverse information) and the covariance of (intercept, slope) between K periods: once for
        the period to come, once over K for the error of the mean, and widened as Student's t with
        K - 1 degrees of freedom is, because K periods only estimate it.

    Raises:
        ValueError: Rows that cannot be judged, or with one class or one distinct score only.
    """
    labels, scores = metrics.check(labels, scores)
    fitted = calibration.fit(labels, scores)
    if not np.isfinite(fitted).all():
        raise ValueError(
            f"{len(labels)} rows with {int(labels.sum())} positives and {len(np.unique(scores))} "
            "distinct scores cannot recalibrate: both classes and two scores are needed; wait for "
            "more rows or mend the model"
        )
    terms = calibration.step_terms(labels, scores, fitted)
    _, numbers = np.unique(periods, return_inverse=True)
    sums: Matrix = np.stack([np.bincount(numbers, column) for column in terms.T], axis=1)
    between = _between(sums)
    within = np.linalg.inv(_information(sums.sum(axis=0)))
    count = len(sums)
    freedom = max(count - 1, _FREEDOM)
    covariance = within + between * (1 + 1 / count) * freedom / (freedom - 2)
    (a, b), (c, d) = covariance.tolist()
    return Recalibration(
        intercept=fitted.intercept, slope=fitted.slope, covariance=((a, b), (c, d))
    )


def estimate(
    scores: Vector,
    recalibration: Recalibration,
    threshold: float,
    names: Sequence[str],
    *,
    alpha: float = 0.05,
    seed: int | Sequence[int] = 0,
) -> dict[str, Estimate]:
    """What the metrics of these rows will turn out to be.

    Args:
        scores: Shape (n,), n > 0, the model's own probabilities.
        recalibration: From the model's reference profile.
        threshold: The model's decision threshold, on its own probabilities.
        names: Names in ``ESTIMABLE``.
        alpha: Intervals have level 1 - 2 * alpha.
        seed: Same seed, same intervals.

    Returns:
        Per metric the value of the expected counts, with the interval in which the realised value
        is expected: ``DRAWS`` simulated recalibrations and outcomes of these rows. NaN where a
        metric is undefined.

    Raises:
        ValueError: No rows, scores outside [0, 1], or a metric that cannot be estimated.
    """
    _require(scores, names)
    grouped = _group(scores, threshold)
    prepared = _both_ways(names, grouped, threshold)
    likely = _probabilities(grouped.scores, recalibration.intercept, recalibration.slope)
    expected = np.concatenate([grouped.rows * likely, grouped.rows * (1 - likely)])
    parts = np.rint(expected * (_PARTS / len(scores))).astype(np.int64)
    values = counted.evaluate(names, prepared, _counts(parts[None, :]))
    drawn = counted.evaluate(names, prepared, _counts(_simulated(grouped, recalibration, seed)))
    return {name: _estimate(float(values[name][0]), drawn[name], alpha) for name in names}


def estimate_slices(
    scores: Vector,
    slices: Mapping[str, Mask],
    recalibration: Recalibration,
    threshold: float,
    names: Sequence[str],
    *,
    min_rows: int = MIN_SLICE_ROWS,
    alpha: float = 0.05,
    seed: int = 0,
) -> dict[str, dict[str, Estimate]]:
    """``estimate`` per slice, all with the recalibration of the whole.

    Args:
        scores: Shape (n,).
        slices: Slice name to shape (n,) booleans, e.g. from ``models.core.slices.masks``.
        recalibration: As in ``estimate``, likewise the others.
        threshold: Likewise.
        names: Likewise.
        alpha: Likewise.
        min_rows: Slices with fewer rows are left out.
        seed: Mixed with the slice's name, so one more slice leaves the others as they were.
    """
    return {
        name: estimate(
            scores[mask],
            recalibration,
            threshold,
            names,
            alpha=alpha,
            seed=[seed, zlib.crc32(name.encode())],
        )
        for name, mask in slices.items()
        if mask.sum() >= max(min_rows, 1)
    }


def _between(sums: Matrix) -> Matrix:
    """Covariance of (intercept, slope) between periods, by the method of moments; 2 x 2, never < 0.

    Around the common fit, period k's own coefficients lie one Newton step d_k = H_k^-1 g_k off,
    with covariance H_k^-1 + T. With S = sum H_k, the expectation of Q = sum H_k d_k d_k' is
    (K - 1) I + (S - sum H_k S^-1 H_k) T (multivariate DerSimonian and Laird: Jackson, White and
    Riley 2013). T's negative part is cut off in the coordinates in which S is the identity.

    Args:
        sums: Shape (K, 5), ``calibration.step_terms`` summed per period.
    """
    if len(sums) < 2:
        return np.zeros((2, 2))
    information = np.stack([_information(row) for row in sums])
    total = information.sum(axis=0)
    steps = np.linalg.solve(information, sums[:, :2, None])[:, :, 0]
    moment = sums[:, :2].T @ steps
    weight = total - (information @ np.linalg.inv(total) @ information).sum(axis=0)
    excess = np.linalg.solve(weight, moment - (len(sums) - 1) * np.eye(2))
    root = np.linalg.cholesky(total)
    whitened = root.T @ ((excess + excess.T) / 2) @ root
    sizes, axes = np.linalg.eigh(whitened)
    back = np.linalg.solve(root.T, axes)
    between: Matrix = (back * np.maximum(sizes, 0)) @ back.T
    return between


def _information(sums: Vector) -> Matrix:
    _, _, h00, h01, h11 = sums
    information: Matrix = np.array([[h00, h01], [h01, h11]]) + _PRIOR * np.eye(2)
    return information


def _require(scores: Vector, names: Sequence[str]) -> None:
    if unknown := set(names) - set(ESTIMABLE):
        raise ValueError(
            f"{sorted(unknown)} cannot be estimated without outcomes; there are {sorted(ESTIMABLE)}"
        )
    if not len(scores) or not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(
            f"{len(scores)} scores must be probabilities within [0, 1], at least one; leave empty "
            "windows out and mend the model's predict()"
        )


def _group(scores: Vector, threshold: float) -> Grouped:
    """Rows of equal score; beyond ``GROUPS`` scores, of neighbouring ranks on the threshold's side.

    A group has the mean of its scores, so that only the order within it is lost.
    """
    distinct, rows = np.unique(scores, return_counts=True)
    if len(distinct) <= GROUPS:
        return Grouped(distinct, rows)
    rank = (np.cumsum(rows) - 1) * GROUPS // len(scores)
    key = rank + (distinct >= threshold)
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    grouped = np.add.reduceat(rows, starts)
    means = np.add.reduceat(rows * distinct, starts) / grouped
    last = np.append(starts[1:], len(distinct)) - 1
    return Grouped(np.clip(means, distinct[starts], distinct[last]), grouped)


def _both_ways(names: Sequence[str], grouped: Grouped, threshold: float) -> counted.Prepared:
    """Every group twice, as positive and as negative: outcomes are then counts of the two."""
    size = len(grouped.scores)
    labels = np.repeat([1.0, 0.0], size)
    return metrics.prepare(names, labels, np.tile(grouped.scores, 2), threshold)


def _simulated(
    grouped: Grouped, recalibration: Recalibration, seed: int | Sequence[int]
) -> NDArray[np.int64]:
    """Outcomes of the groups, shape (DRAWS, 2 g): positives, then negatives."""
    generator = np.random.default_rng(seed)
    centre = [recalibration.intercept, recalibration.slope]
    covariance = np.array(recalibration.covariance)
    drawn = generator.multivariate_normal(centre, covariance, DRAWS, method="eigh")
    likely = _probabilities(grouped.scores, drawn[:, :1], drawn[:, 1:])
    positive = generator.binomial(grouped.rows, likely)
    return np.concatenate([positive, grouped.rows - positive], axis=1)


def _probabilities(scores: Vector, intercept: float | Matrix, slope: float | Matrix) -> Matrix:
    clipped = np.clip(scores, calibration.CLIP, 1 - calibration.CLIP)
    likely: Matrix = expit(intercept + slope * logit(clipped))
    return likely


def _counts(numbers: NDArray[np.int64]) -> counted.Counts:
    """The type says bytes, which a bootstrap's counts fit; ``evaluate`` counts in 64 bits."""
    return cast("counted.Counts", numbers)


def _estimate(value: float, drawn: Vector, alpha: float) -> Estimate:
    low, high = bootstrap.percentile_interval(drawn, alpha)
    return Estimate(
        value=value, low=float(np.minimum(low, value)), high=float(np.maximum(high, value))
    )
