"""How far a column moved from its reference, as an effect size that knows no number of rows.

Belongs here: reference bins, counting into them, the Jensen-Shannon distance freed of sampling.
Does not belong here: what moving leads to (the policy), plots, the check of new data (``checks``).

Per bin both shares are held against each other. Two samples of one population never agree exactly;
what they differ by on average is known and taken off, so that a thousand rows and a million rows of
the same shift give the same number (docs/decisions/0009-monitoring.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import Matrix, Vector
from models.contracts.monitoring import DriftEffect, Histogram

#: Quantile bins of a reference. More see finer shifts and need more rows to see anything.
BINS = 10


def histogram(name: str, values: Vector, bins: int = BINS) -> Histogram:
    """A column's reference distribution.

    Args:
        name: Of the column.
        values: Shape (n,), n > 0; NaN stands for null.
        bins: Quantile bins wanted; ties make them fewer, see ``quantile_edges``.

    Returns:
        Shares of all n rows per bin, the share of nulls last.

    Raises:
        ValueError: No values.
    """
    edges = quantile_edges(values, bins)
    shares = _shares(name, edges, values)
    return Histogram(name=name, edges=tuple(edges.tolist()), shares=tuple(shares.tolist()))


def effects(
    inputs: Sequence[Histogram], reference_rows: int, matrix: Matrix, threshold: float
) -> tuple[DriftEffect, ...]:
    """The effect of every column; one column is worked on at a time, so memory stays small.

    Args:
        inputs: d reference distributions, in column order.
        reference_rows: Rows behind them.
        matrix: Shape (n, d), n > 0; NaN stands for null.
        threshold: From this effect on a column counts as drifted.

    Raises:
        ValueError: Another number of columns, or no rows.
    """
    if matrix.ndim != 2 or matrix.shape[1] != len(inputs):
        raise ValueError(
            f"the profile has {len(inputs)} inputs, the rows have shape {matrix.shape}; compare "
            "rows with the profile of the release that answered them"
        )
    return tuple(
        effect(reference, reference_rows, np.ascontiguousarray(matrix[:, i]), threshold)
        for i, reference in enumerate(inputs)
    )


def effect(
    reference: Histogram, reference_rows: int, values: Vector, threshold: float
) -> DriftEffect:
    """How far one column moved.

    Args:
        reference: Its reference distribution.
        reference_rows: Rows behind it.
        values: Shape (n,), n > 0; NaN stands for null.
        threshold: From this effect on the column counts as drifted.

    Raises:
        ValueError: No values.
    """
    now = _shares(reference.name, np.array(reference.edges), values)
    found = distance(np.array(reference.shares), reference_rows, now, len(values))
    return DriftEffect(name=reference.name, effect=found, drifted=found >= threshold)


def distance(before: Vector, rows_before: int, now: Vector, rows_now: int) -> float:
    """Jensen-Shannon distance (base 2, 0 to 1) between two samples' shares, freed of sampling.

    To second order the divergence is the sum of (p - q)^2 / (8 m) over the bins, m being their
    mean. Of samples of one population that has the expectation (K - 1) / 8 * (1/n + 1/m) nats over
    K occupied bins (the bias of plug-in entropies, Miller 1955). It is taken off the divergence,
    not off its root, and what is left is floored at 0.

    Args:
        before: Shape (k,), shares that sum to 1.
        rows_before: Rows behind them.
        now: Shape (k,), likewise.
        rows_now: Rows behind them.
    """
    from scipy.special import rel_entr

    mean = (before + now) / 2
    nats = float(rel_entr(before, mean).sum() + rel_entr(now, mean).sum()) / 2
    sampling = (np.count_nonzero(mean) - 1) / 8 * (1 / rows_before + 1 / rows_now)
    return float(np.sqrt(max(0.0, nats - sampling) / np.log(2)))


def quantile_edges(values: Vector, bins: int = BINS) -> Vector:
    """Inner edges of quantile bins, ascending; v falls into ``searchsorted(edges, v, 'right')``.

    A value that fills a whole bin by itself gets a bin of its own, with an edge on either side:
    else a column that is 0 in most rows would hide a rise of its zeros in the bin above.

    Args:
        values: Shape (n,); NaN is left out. No known value gives no edge.
        bins: Quantile bins wanted.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return np.empty(0)
    cuts = np.quantile(known, np.linspace(0, 1, bins + 1), method="inverted_cdf")
    heavy = cuts[1:][np.diff(cuts) == 0]
    edges: Vector = np.unique(np.concatenate([cuts[1:-1], heavy, np.nextafter(heavy, np.inf)]))
    return edges


def bin_counts(edges: Vector, values: Vector) -> NDArray[np.intp]:
    """Rows per bin, shape (len(edges) + 2,); the last counts the nulls."""
    places = np.searchsorted(edges, values, side="right")
    places[np.isnan(values)] = len(edges) + 1
    return np.bincount(places, minlength=len(edges) + 2)


def _shares(name: str, edges: Vector, values: Vector) -> Vector:
    if not len(values):
        raise ValueError(f"column {name!r} has no rows to compare; leave windows without rows out")
    shares: Vector = bin_counts(edges, values) / len(values)
    return shares
