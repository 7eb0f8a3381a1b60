"""The metrics of binary classification, each written once for plain and for resampled rows.

Belongs here: what a metric is, its value, its error, the confusion matrix and the class report.
Does not belong here: intervals (``bootstrap``), tests (``significance``), which slice (``slices``).

Every metric is a function of counts per row: ``compute`` gives each row the count 1, the bootstrap
a batch of resampled counts, so both agree. Ties are exact, as in scikit-learn with sample weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import Matrix, Vector
from models.core import calibration

Value = TypeVar("Value", float, Vector)
Index = NDArray[np.intp]
Counts = NDArray[np.uint8]

RECALL_TARGET = 0.8


@dataclass(frozen=True)
class Metric:
    """One metric: its key, the words for a person, its direction, whether it needs a threshold."""

    name: str
    title: str
    higher_is_better: bool = True
    uses_threshold: bool = False


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("roc_auc", "ROC-AUC"),
            Metric("average_precision", "average precision"),
            Metric("precision_at_80_recall", "precision at 80 % recall"),
            Metric("f1", "F1", uses_threshold=True),
            Metric("precision", "precision", uses_threshold=True),
            Metric("recall", "recall", uses_threshold=True),
            Metric("accuracy", "accuracy", uses_threshold=True),
            Metric("specificity", "specificity", uses_threshold=True),
            Metric("f1_negative", "F1 of the negative class", uses_threshold=True),
            Metric("precision_negative", "precision of the negative class", uses_threshold=True),
            Metric("recall_negative", "recall of the negative class", uses_threshold=True),
            Metric("brier", "Brier score", higher_is_better=False),
            Metric("log_loss", "log loss", higher_is_better=False),
            Metric("calibration_slope", "calibration slope"),
        )
    }
)
_RANKING = frozenset({"roc_auc", "average_precision", "precision_at_80_recall"})
_PROBABILITY = frozenset({"brier", "log_loss", "calibration_slope"})


class Confusion(NamedTuple):
    """Rows by label and decision (positive when score >= threshold)."""

    true_negative: int
    false_positive: int
    false_negative: int
    true_positive: int


class ClassRow(NamedTuple):
    """One line of the class report; NaN where a ratio has no denominator."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


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
    """

    positives: Index
    negatives: Index
    above: Index
    level: Index
    tied: Index
    additive: Matrix
    recalibration: calibration.Recalibration | None


def compute(name: str, labels: Vector, scores: Vector, threshold: float = 0.5) -> float:
    """Value of one metric.

    Args:
        name: A key of ``METRICS``.
        labels: Shape (n,) of 0 or 1.
        scores: Shape (n,); probabilities for brier, log_loss and calibration_slope.
        threshold: Rows with at least this score are called positive.

    Returns:
        The value; NaN where it is undefined (e.g. ROC-AUC of one class, precision without a
        positive decision). ``precision_at_80_recall`` is the best precision of all thresholds with
        a recall of at least 80 %.

    Raises:
        ValueError: Unknown name, or rows that cannot be judged (see ``check``).
    """
    ones = np.ones((1, len(labels)), np.uint8)
    prepared = prepare([name], labels, scores, threshold)
    return float(evaluate([name], prepared, ones)[name][0])


def error(name: str, value: Value) -> Value:
    """What a better model makes smaller: 1 - value, the value itself, or |slope - 1|."""
    if name == "calibration_slope":
        return abs(value - 1)
    return 1 - value if METRICS[name].higher_is_better else value


def confusion(labels: Vector, scores: Vector, threshold: float = 0.5) -> Confusion:
    """The confusion matrix at a threshold; arguments and errors as in ``compute``."""
    labels, scores = check(labels, scores)
    called, positive = scores >= threshold, labels == 1
    return Confusion(
        int((~called & ~positive).sum()),
        int((called & ~positive).sum()),
        int((~called & positive).sum()),
        int((called & positive).sum()),
    )


def classification_report(
    labels: Vector, scores: Vector, threshold: float = 0.5
) -> tuple[ClassRow, ...]:
    """Precision, recall and F1 per class, then their macro and support-weighted means.

    Returns:
        Rows ``negative``, ``positive``, ``macro``, ``weighted``; means leave out undefined values.
    """
    tn, fp, fn, tp = confusion(labels, scores, threshold)
    rows = [_class_row("negative", tn, fn, fp), _class_row("positive", tp, fp, fn)]
    for name, weights in (("macro", (1, 1)), ("weighted", (tn + fp, fn + tp))):
        means = [_mean([row[i] for row in rows[:2]], weights) for i in (1, 2, 3)]
        rows.append(ClassRow(name, means[0], means[1], means[2], len(labels)))
    return tuple(rows)


def check(labels: Vector, scores: Vector) -> tuple[Vector, Vector]:
    """The rows as floats, or a clear refusal.

    Raises:
        ValueError: No rows, lengths differ, labels other than 0 and 1, scores that are not finite.
    """
    labels, scores = np.asarray(labels, float), np.asarray(scores, float)
    if labels.ndim != 1 or labels.shape != scores.shape or not labels.size:
        raise ValueError(
            f"labels {labels.shape} and scores {scores.shape} must be equally long and not empty; "
            "score every judged row exactly once"
        )
    if bad := int((~np.isin(labels, (0.0, 1.0))).sum()):
        raise ValueError(f"{bad} labels are neither 0 nor 1; leave unlabelled rows out")
    if bad := int((~np.isfinite(scores)).sum()):
        raise ValueError(f"{bad} scores are NaN or infinite; mend the model's predict()")
    return labels, scores


def prepare(
    names: Iterable[str], labels: Vector, scores: Vector, threshold: float = 0.5
) -> Prepared:
    """Everything ``evaluate`` needs that is the same for every resample of these rows."""
    names = tuple(names)
    if unknown := set(names) - set(METRICS):
        raise ValueError(f"unknown metrics {sorted(unknown)}; there are {sorted(METRICS)}")
    labels, scores = check(labels, scores)
    if _PROBABILITY & set(names) and (scores.min() < 0 or scores.max() > 1):
        raise ValueError("Brier score, log loss and calibration slope need scores within [0, 1]")
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
        _additive(labels, scores, threshold, fitted),
        fitted,
    )


def evaluate(names: Iterable[str], prepared: Prepared, counts: Counts) -> dict[str, Vector]:
    """Metrics of B resamples at once.

    Args:
        names: Keys of ``METRICS`` that were given to ``prepare``.
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
            values |= _from_sums(sums, prepared.recalibration)
    return {name: values[name] for name in names}


def _additive(
    labels: Vector, scores: Vector, threshold: float, fitted: calibration.Recalibration | None
) -> Matrix:
    called = (scores >= threshold).astype(float)
    tiny = np.finfo(float).eps  # scikit-learn clips the log loss here
    likelihood = np.clip(np.where(labels == 1, scores, 1 - scores), tiny, 1 - tiny)
    columns = [np.ones_like(labels), labels, called, called * labels]
    columns += [(scores - labels) ** 2, -np.log(likelihood)]
    if fitted is not None:
        columns += list(calibration.step_terms(labels, scores, fitted).T)
    return np.stack(columns, axis=1)


def _from_sums(sums: Matrix, fitted: calibration.Recalibration | None) -> dict[str, Vector]:
    rows, positive, called, tp, squares, surprise = sums[:, :6].T
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
    if fitted is not None:
        values["calibration_slope"] = calibration.one_step(fitted, sums[:, 6:])
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


def _class_row(name: str, hits: int, false: int, missed: int) -> ClassRow:
    def share(part: int, whole: int) -> float:
        return part / whole if whole else np.nan

    f1 = share(2 * hits, 2 * hits + false + missed)
    return ClassRow(name, share(hits, hits + false), share(hits, hits + missed), f1, hits + missed)


def _mean(values: list[Any], weights: tuple[int, int]) -> float:
    known = [(value, w) for value, w in zip(values, weights, strict=True) if not np.isnan(value)]
    total = sum(w for _, w in known)
    return float(sum(value * w for value, w in known) / total) if total else np.nan
