"""The metrics there are: words, direction and error of each; values of the binary ones.

Belongs here: the registry, the value and error of a metric, the confusion matrix and class report.
Does not belong here: the arithmetic of the binary metrics (``counted``) and of the per-user ones
(``ranking.metrics``), intervals (``bootstrap``), tests (``significance``), slices (``slices``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from models.contracts.learner import Vector
from models.core import counted

Value = TypeVar("Value", float, Vector)


@dataclass(frozen=True)
class Metric:
    """One metric: its key, the words for a person, what it needs and which way it points.

    Attributes:
        uses_threshold: Whether it is a metric of decisions, not of scores.
        per_user: Whether it is a mean over users, each with a ranking; all others are of rows with
            a score and a label of 0 or 1.
        noise_raises: Whether it grows with the noise of a sample, as every mean distance does; its
            resamples then lie above its value.
    """

    name: str
    title: str
    higher_is_better: bool = True
    uses_threshold: bool = False
    per_user: bool = False
    noise_raises: bool = False


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
            Metric("macro_f1", "macro F1", uses_threshold=True),
            Metric("ece", "expected calibration error", higher_is_better=False, noise_raises=True),
            Metric("ndcg_at_10", "nDCG@10", per_user=True),
            Metric("recall_at_10", "recall@10", per_user=True),
            Metric("precision_at_10", "precision@10", per_user=True),
            Metric("map_at_10", "MAP@10", per_user=True),
            Metric("hit_rate_at_10", "hit rate@10", per_user=True),
            Metric("ndcg_at_20", "nDCG@20", per_user=True),
            Metric("recall_at_20", "recall@20", per_user=True),
            Metric("novelty_at_10", "novelty@10 in bits", per_user=True),
            Metric("popularity_at_10", "popularity@10", higher_is_better=False, per_user=True),
        )
    }
)
#: Metrics of rows with a score and a label of 0 or 1, and metrics of users with a ranking.
BINARY = tuple(name for name, metric in METRICS.items() if not metric.per_user)
PER_USER = tuple(name for name, metric in METRICS.items() if metric.per_user)
_PROBABILITY = frozenset({"brier", "log_loss", "calibration_slope", "ece"})


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


def compute(name: str, labels: Vector, scores: Vector, threshold: float = 0.5) -> float:
    """Value of one metric.

    Args:
        name: One of ``BINARY``.
        labels: Shape (n,) of 0 or 1.
        scores: Shape (n,); probabilities for brier, log_loss, ece and calibration_slope.
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
    return float(counted.evaluate([name], prepared, ones)[name][0])


def prepare(
    names: Iterable[str], labels: Vector, scores: Vector, threshold: float = 0.5
) -> counted.Prepared:
    """Check names and rows, then what ``counted.evaluate`` needs of them.

    Raises:
        ValueError: Names outside ``BINARY``, rows that cannot be judged, scores that are no
            probabilities where a metric needs them.
    """
    names = tuple(names)
    if unknown := set(names) - set(BINARY):
        raise ValueError(f"unknown metrics {sorted(unknown)}; there are {sorted(BINARY)}")
    labels, scores = check(labels, scores)
    if _PROBABILITY & set(names) and (scores.min() < 0 or scores.max() > 1):
        raise ValueError(
            "Brier score, log loss and calibration need probabilities: scores within [0, 1]"
        )
    return counted.prepare(names, labels, scores, threshold)


def error(name: str, value: Value) -> Value:
    """What a better model makes smaller, never negative.

    1 - value, or the value itself where lower is better; |slope - 1|; of novelty in bits the share
    of users ``2 ** -value`` who know an item that novel: 1 - bits would be negative.
    """
    if name == "calibration_slope":
        return abs(value - 1)
    if name == "novelty_at_10":
        share: Value = 2.0**-value
        return share
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


def _class_row(name: str, hits: int, false: int, missed: int) -> ClassRow:
    def share(part: int, whole: int) -> float:
        return part / whole if whole else np.nan

    f1 = share(2 * hits, 2 * hits + false + missed)
    return ClassRow(name, share(hits, hits + false), share(hits, hits + missed), f1, hits + missed)


def _mean(values: list[Any], weights: tuple[int, int]) -> float:
    known = [(value, w) for value, w in zip(values, weights, strict=True) if not np.isnan(value)]
    total = sum(w for _, w in known)
    return float(sum(value * w for value, w in known) / total) if total else np.nan
