"""The bootstrap: resampled rows as counts, metrics of all resamples at once, intervals.

Belongs here: counts, replicates, percentile intervals, paired replicates and their test.
Does not belong here: what a metric is (``metrics``), the other tests (``significance``), decisions.

Rows are drawn independently with replacement. A resample is a row of counts, so that scores are
sorted once and every metric is a cumulative sum or a matrix product over the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.contracts.results import Estimate, TestResult
from models.core import counted, metrics
from models.core.counted import Counts

#: Cells of one batch: its working arrays then stay in the processor's cache.
_CELLS = 400_000


class PairedErrors(NamedTuple):
    """Errors of two models on the same resamples, each of shape (B,)."""

    challenger: Vector
    champion: Vector

    @property
    def reduction(self) -> Vector:
        """Relative reduction of the champion's error, see ``relative_reduction``."""
        return relative_reduction(self.challenger, self.champion)


def counts(n: int, size: int, seed: int | Sequence[int] = 0) -> Counts:
    """How often each row occurs in each resample.

    Args:
        n: Rows of the sample, also of each resample.
        size: Resamples B. The result takes B * n bytes.
        seed: Same seed, same resamples.

    Returns:
        Shape (B, n), each row summing to n. One byte is enough: the chance that one of n > 255
        rows is drawn more than 255 times is below 1e-500.
    """
    generator = np.random.default_rng(seed)
    drawn = np.empty((size, n), np.uint8)
    step = max(1, _CELLS // n)
    for start in range(0, size, step):
        rows = min(step, size - start)
        picks = generator.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        batch = np.bincount(picks.ravel(), minlength=rows * n).reshape(rows, n)
        drawn[start : start + rows] = batch
    return drawn


def replicates(
    name: str, labels: Vector, scores: Vector, resamples: Counts, threshold: float = 0.5
) -> Vector:
    """One metric on every resample, shape (B,); arguments as in ``replicate_all``."""
    return replicate_all([name], labels, scores, resamples, threshold)[name]


def replicate_all(
    names: Iterable[str],
    labels: Vector,
    scores: Vector,
    resamples: Counts,
    threshold: float = 0.5,
) -> dict[str, Vector]:
    """Several metrics on every resample, sharing the sorting and the sums.

    Args:
        names: From ``metrics.BINARY``.
        labels: Shape (n,) of 0 or 1.
        scores: Shape (n,).
        resamples: Shape (B, n) from ``counts``; worked through in batches of bounded memory.
        threshold: Decision threshold.

    Returns:
        name -> shape (B,). NaN where a resample leaves the metric undefined (e.g. one class).
        Calibration slopes are one-step replicates (``calibration.one_step``).

    Raises:
        ValueError: Rows that cannot be judged, or counts of another number of rows.
    """
    names = tuple(names)
    prepared = metrics.prepare(names, labels, scores, threshold)
    size, n = resamples.shape
    if n != len(labels):
        raise ValueError(f"counts are of {n} rows, labels of {len(labels)}; draw counts anew")
    step = max(1, _CELLS // n)
    batches = [
        counted.evaluate(names, prepared, resamples[start : start + step])
        for start in range(0, size, step)
    ]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}


def means(columns: Mapping[str, Vector], resamples: Counts) -> dict[str, Vector]:
    """Means of per-unit values on every resample.

    Args:
        columns: name -> shape (n,).
        resamples: Shape (B, n) from ``counts``, at least one unit in each.

    Returns:
        name -> shape (B,).
    """
    size, n = resamples.shape
    values: Matrix = np.stack(list(columns.values()), axis=1)
    step = max(1, _CELLS // n)
    drawn = np.concatenate([
        resamples[start : start + step].astype(float) @ values for start in range(0, size, step)
    ])  # fmt: skip
    drawn /= resamples.sum(axis=1, dtype=np.int64)[:, None]
    return dict(zip(columns, drawn.T, strict=True))


def percentile_interval(values: Vector, alpha: float) -> tuple[float, float]:
    """The alpha and 1 - alpha quantiles: a two-sided interval of level 1 - 2 * alpha.

    Undefined resamples are left out; with more than half of them undefined the interval is NaN.
    """
    known = values[~np.isnan(values)]
    if 2 * len(known) < len(values) or not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [alpha, 1 - alpha])
    return float(low), float(high)


def debiased_interval(value: float, values: Vector, alpha: float) -> tuple[float, float]:
    """Percentile interval of a distance that noise can only raise, such as a calibration error.

    Its resamples lie above its value by about as much as the value lies above the truth; that
    estimate of the bias (Efron and Tibshirani 1993, chapter 10) is taken off. Never below 0.
    """
    known = values[~np.isnan(values)]
    bias = known.mean() - value if len(known) else 0.0
    return percentile_interval(np.maximum(values - bias, 0.0), alpha)


def estimate(
    name: str,
    labels: Vector,
    scores: Vector,
    threshold: float = 0.5,
    *,
    alpha: float = 0.05,
    size: int = 1000,
    seed: int | Sequence[int] = 0,
) -> Estimate:
    """A metric with its percentile interval of level 1 - 2 * alpha from ``size`` resamples."""
    values = replicates(name, labels, scores, counts(len(labels), size, seed), threshold)
    low, high = percentile_interval(values, alpha)
    value = metrics.compute(name, labels, scores, threshold)
    return Estimate(value=value, low=low, high=high)


def paired_errors(
    names: Iterable[str],
    labels: Vector,
    challenger: Vector,
    champion: Vector,
    resamples: Counts,
    *,
    thresholds: tuple[float, float] = (0.5, 0.5),
) -> dict[str, PairedErrors]:
    """Errors of two models on the SAME resamples, so that what they share cancels.

    Args:
        names: From ``metrics.BINARY``.
        labels: Shape (n,) of 0 or 1.
        challenger: Its scores, shape (n,).
        champion: Its scores, shape (n,).
        resamples: Shape (B, n) from ``counts``.
        thresholds: Decision thresholds of challenger and champion.

    Returns:
        name -> both errors (``metrics.error``), each of shape (B,).
    """
    names = tuple(names)
    new = replicate_all(names, labels, challenger, resamples, thresholds[0])
    old = replicate_all(names, labels, champion, resamples, thresholds[1])
    return {
        name: PairedErrors(metrics.error(name, new[name]), metrics.error(name, old[name]))
        for name in names
    }


def relative_reduction(challenger: Vector, champion: Vector) -> Vector:
    """(champion - challenger) / champion; 0 where both errors are 0, NaN where only one is.

    Args:
        challenger: Errors, any shape.
        champion: Errors of the same shape.
    """
    both = (challenger == 0) & (champion == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        reduction = np.where(champion > 0, (champion - challenger) / champion, np.nan)
    return np.where(both, 0.0, reduction)


def paired_test(
    name: str, challenger: float, champion: float, pairs: PairedErrors, *, alpha: float = 0.05
) -> TestResult:
    """Is the challenger's error smaller? The paired bootstrap test, from replicates.

    Args:
        name: Metric, for the record.
        challenger: Its error on the rows themselves.
        champion: Its error on the rows themselves.
        pairs: Their errors on B resamples.
        alpha: One-sided level of the interval.

    Returns:
        Effect: relative reduction of the champion's error with its percentile interval. p: share
        of resamples without a reduction, counting the sample itself (Davison and Hinkley 1997,
        p = (1 + r) / (1 + B)). Statistic: difference of the errors over its standard error.
    """
    gain = pairs.champion - pairs.challenger
    gain = gain[~np.isnan(gain)]
    se = float(gain.std(ddof=1)) if len(gain) > 1 else np.nan
    low, high = percentile_interval(pairs.reduction, alpha)
    return TestResult(
        name="paired_bootstrap",
        statistic=standardised(champion - challenger, se),
        p_value=float((1 + (gain <= 0).sum()) / (1 + len(gain))),
        effect=float(relative_reduction(np.array(challenger), np.array(champion))),
        low=low,
        high=high,
        detail={
            "effect_is": f"relative reduction of the error of {name}",
            "se": se,
            "resamples": len(gain),
            "undefined_resamples": len(pairs.champion) - len(gain),
        },
    )


def standardised(effect: float, se: float) -> float:
    """Effect over its standard error; 0 / 0 is 0: no difference and no noise is no evidence."""
    if effect == 0:
        return 0.0
    return effect / se if se != 0 else float(np.copysign(np.inf, effect))
