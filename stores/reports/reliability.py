"""The figures of a reliability diagram: observed against predicted shares. Draws nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.contracts.learner import Vector


class Bin(NamedTuple):
    """One bin of a reliability diagram.

    Attributes:
        rows: Rows in the bin.
        predicted: Mean score.
        observed: Share of positives.
        low: Lower Wilson bound of the share.
        high: Upper Wilson bound.
    """

    rows: int
    predicted: float
    observed: float
    low: float
    high: float


def reliability(
    labels: Vector, scores: Vector, bins: int = 10, level: float = 0.95
) -> tuple[Bin, ...]:
    """Observed against predicted share in bins of equal row count.

    Rows with one score stay in one bin, so there may be fewer bins than asked for. The interval is
    Wilson's (1927), which holds for shares near 0 and 1 and for few rows.

    Args:
        labels: Shape (n,) of 0.0 or 1.0.
        scores: Shape (n,) probabilities.
        bins: Most bins.
        level: Two-sided level of the interval.

    Returns:
        The bins in order of score; none of them is empty.
    """
    from scipy.stats import binomtest

    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)))
    inside = np.searchsorted(edges[1:-1], scores, side="right")
    found = []
    for index in np.unique(inside):
        members = inside == index
        rows, hits = int(members.sum()), int(labels[members].sum())
        bound = binomtest(hits, rows).proportion_ci(level, method="wilson")
        mean = float(scores[members].mean())
        found.append(Bin(rows, mean, hits / rows, float(bound.low), float(bound.high)))
    return tuple(found)
