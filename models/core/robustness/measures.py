"""From answers to `Measure`: a metric over one or several labels, and shares, with intervals.

Belongs here: the intervals of the measures of this package and of ``models.core.text.examine``.
Does not belong here: what was done to the inputs.
"""

from __future__ import annotations

import warnings

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.contracts.results import Estimate, Measure
from models.core import bootstrap, metrics

#: Bootstrap resamples of a measure, and the one-sided level of its interval.
RESAMPLES, ALPHA = 500, 0.05
#: Standard normal quantile of 1 - ALPHA.
_Z = 1.6448536269514722


def share(title: str, hits: int, count: int, *, higher_is_better: bool = True) -> Measure:
    """``hits`` of ``count`` with Wilson's 90 % interval, which also holds at 0 and 1.

    Source: Wilson 1927; recommended by Brown, Cai and DasGupta 2001. NaN when nothing was counted.
    """
    if not count:
        return _measure(title, (np.nan, np.nan, np.nan), higher_is_better)
    p, z2 = hits / count, _Z**2
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    reach = _Z / (1 + z2 / count) * np.sqrt(p * (1 - p) / count + z2 / (4 * count**2))
    ends = (max(0.0, centre - reach), min(1.0, centre + reach))
    return _measure(title, (p, *ends), higher_is_better)


def area(title: str, found: Estimate, *, higher_is_better: bool = True) -> Measure:
    """An estimate under a title."""
    return _measure(title, (found.value, found.low, found.high), higher_is_better)


def mean_metric(title: str, metric: str, labels: Matrix, scores: Matrix, *, seed: int) -> Measure:
    """A threshold-free metric, averaged over the labels that have both classes.

    Args:
        title: Words for a person.
        metric: A key of ``metrics.METRICS``.
        labels: Shape (n, L) of 0, 1 or NaN where nobody said.
        scores: Shape (n, L); a NaN column is a label the model never learned, left out.
        seed: Of the bootstrap over rows, the same rows for every label.

    Returns:
        The mean with its 90 % percentile interval; NaN when no label has both classes.
    """
    values, draws = [], []
    resamples = bootstrap.counts(len(labels), RESAMPLES, seed)
    for column in range(labels.shape[1]):
        known = ~np.isnan(labels[:, column]) & ~np.isnan(scores[:, column])
        truth, said = labels[known, column], scores[known, column]
        if 0 < truth.sum() < len(truth):
            values.append(metrics.compute(metric, truth, said))
            draws.append(bootstrap.replicates(metric, truth, said, resamples[:, known]))
    if not values:
        return _measure(title, (np.nan, np.nan, np.nan), metrics.METRICS[metric].higher_is_better)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a resample without both classes is NaN
        drawn = np.nanmean(np.stack(draws), axis=0)
    ends = bootstrap.percentile_interval(drawn, ALPHA)
    mean = float(np.mean(values))
    return _measure(title, (mean, *ends), metrics.METRICS[metric].higher_is_better)


def metric_at(
    title: str, metric: str, labels: Vector, scores: Vector, threshold: float, *, seed: int
) -> Measure:
    """Any metric of one yes or no, with its 90 % percentile interval."""
    found = bootstrap.estimate(
        metric, labels, scores, threshold, alpha=ALPHA, size=RESAMPLES, seed=seed
    )
    return area(title, found, higher_is_better=metrics.METRICS[metric].higher_is_better)


def _measure(title: str, values: tuple[float, float, float], higher_is_better: bool) -> Measure:
    value, low, high = (float(number) for number in values)
    return Measure(title=title, value=value, low=low, high=high, higher_is_better=higher_is_better)
