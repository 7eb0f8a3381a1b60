"""The metrics of binary classification as functions of counts per row: plain and resampled alike.

Belongs here: the sums and rankings behind every binary metric. Does not belong here: which metrics
there are, their words and directions, checks of the rows (``metrics``), resampling (``bootstrap``).

The sample itself has the count 1 per row, a bootstrap a batch of resampled counts, so both agree.
Ties are exact, as in scikit-learn with sample weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import Matrix, Vector
from models.core import calibration

Index = NDArray[np.intp]
Counts = NDArray[np.uint8]

#: Of ``precision_at_80_recall``.
RECALL_TARGET = 0.8
#: Equal-width bins of the expected calibration error.
ECE_BINS = 10
_RANKING = frozenset({"roc_auc", "average_precision", "precision_at_80_recall"})
#: Columns of ``Prepared.additive`` that are always there.
_ALWAYS = 6


class Prepared(NamedTuple):
    """What does not depend on the counts, worked out once.

    Attributes:
        positives: Row numbers, highest score first.
        negatives: Row numbers, highest score first.
        above: For each positive, how many negatives score strictly higher.
        level: For each positive, how many negatives score at least as high.
        tied: For each positive, how many positives score at least as high.
        additive: Shape (n, k) per-row terms whose weighted sums give the other metrics.
        recalibration: Full-sample fit behind the calibration slope; None when not asked for.
        binned: Whether the last ``ECE_BINS`` columns of ``additive`` are those of ``ece``.
    """

    positives: Index
    negatives: Index
    above: Index
    level: Index
    tied: Index
    additive: Matrix
    recalibration: calibration.Recalibration | None
    binned: bool


def prepare(
    names: Iterable[str], labels: Vector, scores: Vector, threshold: float = 0.5
) -> Prepared:
    """Everything ``evaluate`` needs that is the same for every resample of these rows.

    Args:
        names: Binary metrics; ``metrics.prepare`` checks them and the rows first.
        labels: Shape (n,) of 0.0 or 1.0.
        scores: Shape (n,).
        threshold: Decision threshold.
    """
    names = set(names)
    order = np.argsort(-scores, kind="stable")
    positives, negatives = order[labels[order] == 1], order[labels[order] == 0]
    up, down = -scores[positives], -scores[negatives]
    fitted = calibration.fit(labels, scores) if "calibration_slope" in names else None
    return Prepared(
        positives,
        negatives,
        np.searchsorted(down, up, side="left"),
        np.searchsorted(down, up, side="right"),
        np.searchsorted(up, up, side="right"),
        _additive(labels, scores, threshold, fitted, binned="ece" in names),
        fitted,
        "ece" in names,
    )


def evaluate(names: Iterable[str], prepared: Prepared, counts: Counts) -> dict[str, Vector]:
    """Metrics of B resamples at once.

    Args:
        names: Metrics that were given to ``prepare``.
        prepared: From ``prepare``.
        counts: Shape (B, n), how often each row occurs; all ones for the sample itself.

    Returns:
        name -> shape (B,), NaN where undefined.
    """
    names = set(names)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = _ranking(names, prepared, counts) if _RANKING & names else {}
        if names - _RANKING:
            sums = np.asarray(counts, float) @ prepared.additive
            values |= _from_sums(sums, prepared)
    return {name: values[name] for name in names}


def _additive(
    labels: Vector,
    scores: Vector,
    threshold: float,
    fitted: calibration.Recalibration | None,
    *,
    binned: bool,
) -> Matrix:
    called = (scores >= threshold).astype(float)
    tiny = np.finfo(float).eps  # scikit-learn clips the log loss here
    likelihood = np.clip(np.where(labels == 1, scores, 1 - scores), tiny, 1 - tiny)
    columns = [np.ones_like(labels), labels, called, called * labels]
    columns += [(scores - labels) ** 2, -np.log(likelihood)]
    if fitted is not None:
        columns += list(calibration.step_terms(labels, scores, fitted).T)
    if binned:
        columns += [(ece_bins(scores) == b) * (labels - scores) for b in range(ECE_BINS)]
    return np.stack(columns, axis=1)


def ece_bins(scores: Vector) -> NDArray[np.intp]:
    """The bin of each probability, open below and closed above (Guo et al. 2017), 0 in the first.

    A bin's share of positives against its mean probability, weighted by its rows, is the expected
    calibration error: the sum over bins of |sum of (label - probability)|, over all rows.
    """
    edges = np.arange(1, ECE_BINS) / ECE_BINS
    bins: NDArray[np.intp] = np.searchsorted(edges, scores, side="left")
    return bins


def _from_sums(sums: Matrix, prepared: Prepared) -> dict[str, Vector]:
    rows, positive, called, tp, squares, surprise = sums[:, :_ALWAYS].T
    fp, fn = called - tp, positive - tp
    tn = rows - positive - fp
    values = {
        "f1": 2 * tp / (2 * tp + fp + fn),
        "precision": tp / called,
        "recall": tp / positive,
        "accuracy": (tp + tn) / rows,
        "specificity": tn / (tn + fp),
        "f1_negative": 2 * tn / (2 * tn + fp + fn),
        "precision_negative": tn / (tn + fn),
        "recall_negative": tn / (tn + fp),
        "brier": squares / rows,
        "log_loss": surprise / rows,
    }
    values["macro_f1"] = (values["f1"] + values["f1_negative"]) / 2
    if (fitted := prepared.recalibration) is not None:
        values["calibration_slope"] = calibration.one_step(fitted, sums[:, _ALWAYS : _ALWAYS + 5])
    if prepared.binned:
        values["ece"] = np.abs(sums[:, -ECE_BINS:]).sum(axis=1) / rows
    return values


def _ranking(names: set[str], prepared: Prepared, counts: Counts) -> dict[str, Vector]:
    """Ranking metrics from counts accumulated down the ranking, evaluated at the positives."""
    weight = np.take(counts, prepared.positives, axis=1)
    misses = _accumulated(np.take(counts, prepared.negatives, axis=1))
    level, negative = misses[:, prepared.level], misses[:, -1]
    values = {}
    if "roc_auc" in names:
        beating = np.einsum("bi,bi->b", weight, misses[:, prepared.above] + level)
        pairs = weight.sum(axis=1, dtype=np.int64) * negative
        values["roc_auc"] = 1 - beating / (2 * pairs)
    if names & {"average_precision", "precision_at_80_recall"}:
        hits = _accumulated(weight)
        found, positive = hits[:, prepared.tied], hits[:, -1]
        precision = np.where(found > 0, found / (found + level), 0.0)
        enough = found >= RECALL_TARGET * positive[:, None] - 1e-9
        best = np.where(enough, precision, 0.0).max(axis=1, initial=0.0)
        values["precision_at_80_recall"] = np.where(positive > 0, best, np.nan)
        values["average_precision"] = np.einsum("bi,bi->b", weight, precision) / positive
    return values


def _accumulated(counts: Counts) -> NDArray[np.int64]:
    """Cumulative sums along each row with a leading zero, shape (B, k + 1), in fast integers."""
    sums = np.zeros((counts.shape[0], counts.shape[1] + 1), np.int64)
    np.cumsum(counts.astype(np.int64), axis=1, out=sums[:, 1:])
    return sums
