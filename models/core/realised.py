"""Metrics of traffic whose outcomes are in, with intervals, per slice. Pure.

The same metrics and intervals as on the holdout (``evaluation.estimates``), but for windows of any
size. Does not belong here: the estimate without outcomes (``label_free``), or a verdict.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from models.contracts.learner import Vector
from models.contracts.results import Estimate
from models.core import bootstrap, evaluation
from models.core import slices as slicing

#: Rows that are resampled; more are subsampled and the spread is scaled.
MOST_RESAMPLED = 20_000
REPLICATES = 400


def realised(
    names: Sequence[str],
    labels: Vector,
    scores: Vector,
    masks: Mapping[str, slicing.Mask],
    threshold: float,
    *,
    alpha: float,
    seed: int = 0,
) -> dict[str, dict[str, Estimate]]:
    """Slice to metric to value with its interval of level 1 - 2 * alpha.

    Args:
        names: From ``metrics.BINARY``.
        labels: Shape (n,) of 0 or 1: rows with a known outcome only.
        scores: Shape (n,).
        masks: Slice to rows.
        threshold: Decision threshold.
        alpha: One-sided level.
        seed: Of the resamples; mixed with the slice's name.

    Returns:
        Without the slices in which a class has fewer than ``slices.MIN_CLASS_ROWS`` rows.
    """
    found = {}
    for name, mask in masks.items():
        if slicing.enough_rows(labels[mask]):
            mixed = [seed, zlib.crc32(name.encode())]
            found[name] = _measure(
                names, labels[mask], scores[mask], threshold, alpha=alpha, seed=mixed
            )
    return found


def _measure(
    names: Sequence[str],
    labels: Vector,
    scores: Vector,
    threshold: float,
    *,
    alpha: float,
    seed: list[int],
) -> dict[str, Estimate]:
    drawn: dict[str, Vector] = {}
    if resampled := [name for name in names if name != "roc_auc"]:  # that has DeLong's interval
        drawn = _replicates(resampled, labels, scores, threshold, seed)
    units = slicing.Scores(labels, scores, None, (threshold, threshold))
    return evaluation.estimates(names, units, drawn, alpha=alpha)


def _replicates(
    names: Sequence[str], labels: Vector, scores: Vector, threshold: float, seed: list[int]
) -> dict[str, Vector]:
    """Bootstrap replicates; for many rows those of a random part, their spread scaled.

    A metric of n rows spreads by sqrt(m / n) as much as one of m rows (Politis, Romano and Wolf
    1999, Subsampling): resampling 20,000 rows tells the spread of a million.
    """
    n = len(labels)
    if n <= MOST_RESAMPLED:
        drawn = bootstrap.counts(n, REPLICATES, seed)
        return bootstrap.replicate_all(names, labels, scores, drawn, threshold)
    part = np.sort(np.random.default_rng(seed).choice(n, MOST_RESAMPLED, replace=False))
    drawn = bootstrap.counts(MOST_RESAMPLED, REPLICATES, seed)
    replicates = bootstrap.replicate_all(names, labels[part], scores[part], drawn, threshold)
    whole, sample = (
        bootstrap.replicate_all(names, y, p, np.ones((1, len(y)), np.uint8), threshold)
        for y, p in ((labels, scores), (labels[part], scores[part]))
    )
    shrink = np.sqrt(MOST_RESAMPLED / n)
    return {name: whole[name] + (replicates[name] - sample[name]) * shrink for name in names}
