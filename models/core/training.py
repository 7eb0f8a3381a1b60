"""Cross-validation and learning curves: what is known of a trial before the holdout is touched.

Belongs here: fitting a trial on parts of the training rows and scoring the others.
Does not belong here: how to fit (a learner), what a metric is (``metrics``), the holdout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import ALONE, Learner, Predictor, TrainingRows, Vector
from models.contracts.product import Trial
from models.core.splits import Parts, Rows

#: ``compute(name, labels, scores, threshold) -> value``, as ``models.core.metrics.compute``.
Compute = Callable[[str, Vector, Vector, float], float]


class CrossValidation(NamedTuple):
    """What cross-validation says of a trial; judged rows only.

    Attributes:
        per_fold: Metric to one value per fold; NaN where a fold cannot give it.
        scores: Shape (n,), each row scored by the one model that did not see it; NaN for rows that
            no fold judges.
        threshold: The decision threshold of best F1 on those scores.
    """

    per_fold: Mapping[str, tuple[float, ...]]
    scores: Vector
    threshold: float


class CurvePoint(NamedTuple):
    """One point of a learning curve: the metric on the rows fitted and on those left out."""

    rows: int
    train: float
    validation: float


def cross_validate(  # noqa: PLR0917  what, on what, judged how: the order of the chain
    learner: Learner[TrainingRows, Predictor],
    trial: Trial,
    rows: TrainingRows,
    parts: Parts,
    metrics: Sequence[str],
    compute: Compute,
) -> CrossValidation:
    """Fit and judge a trial on every fold.

    Args:
        learner: Fits the trial.
        trial: The trial.
        rows: n training rows; only those with ``judged`` count in metrics and threshold.
        parts: From ``models.core.splits.folds``.
        metrics: Names that ``compute`` knows.
        compute: Usually ``models.core.metrics.compute``.

    Returns:
        Values per fold, out-of-fold scores and the threshold.

    Raises:
        ValueError: The folds judge no positive, or no negative row.
    """
    scores = np.full(len(rows.labels), np.nan)
    for fit, judge in parts:
        scores[judge] = learner.fit(trial, take(rows, fit), ALONE).predict(rows.inputs[judge])
    judged = _judged(rows)
    counted = judged & np.isfinite(scores)
    threshold = best_f1_threshold(rows.labels[counted], scores[counted])
    groups = [judge[judged[judge]] for _, judge in parts]
    per_fold = {
        name: tuple(_value(name, rows.labels[g], scores[g], threshold, compute) for g in groups)
        for name in metrics
    }
    return CrossValidation(per_fold, scores, threshold)


def learning_curve(
    learner: Learner[TrainingRows, Predictor],
    trial: Trial,
    rows: TrainingRows,
    part: tuple[Rows, Rows],
    *,
    fractions: Sequence[float],
    metric: str,
    compute: Compute,
) -> tuple[CurvePoint, ...]:
    """The metric on the same rows after fitting on more and more of the past.

    Args:
        learner: Fits the trial.
        trial: The trial.
        rows: Training rows in time order.
        part: One fold: rows to fit on and rows to judge.
        fractions: Shares of the rows to fit on (0 to 1]; the newest are kept, as a product that
            started later would have had them.
        metric: Name that ``compute`` knows.
        compute: Usually ``models.core.metrics.compute``.

    Returns:
        One point per fraction, in the order given.
    """
    fit, judge = part
    points = []
    for fraction in fractions:
        newest = fit[len(fit) - max(1, round(fraction * len(fit))) :]
        predictor = learner.fit(trial, take(rows, newest), ALONE)
        train, validation = (
            _value(metric, rows.labels[seen], predictor.predict(rows.inputs[seen]), 0.5, compute)
            for seen in (newest[_judged(rows)[newest]], judge[_judged(rows)[judge]])
        )
        points.append(CurvePoint(len(newest), train, validation))
    return tuple(points)


def take(rows: TrainingRows, chosen: Rows) -> TrainingRows:
    """Some of the rows, in the order of ``chosen``."""
    judged = None if rows.judged is None else rows.judged[chosen]
    return TrainingRows(rows.inputs[chosen], rows.labels[chosen], rows.names, judged)


def best_f1_threshold(labels: Vector, scores: Vector) -> float:
    """The score from which on a row is called positive, so that F1 is highest.

    Args:
        labels: Shape (n,) of 0.0 or 1.0.
        scores: Shape (n,), finite.

    Returns:
        One of the scores; the highest of equally good ones.

    Raises:
        ValueError: Only one class.
    """
    positives = labels.sum()
    if not 0 < positives < len(labels):
        raise ValueError(
            f"{len(labels)} judged rows of the folds hold {int(positives)} positives; a threshold "
            "needs both classes: lower folds.k or wait for more rows"
        )
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], np.cumsum(labels[order])
    last = np.append(np.diff(falling) != 0, True)  # equal scores are called together
    called = np.arange(1, len(labels) + 1)
    f1 = np.where(last, 2 * hits / (called + positives), -1.0)
    return float(falling[np.argmax(f1)])


def _judged(rows: TrainingRows) -> NDArray[np.bool_]:
    return np.ones(len(rows.labels), bool) if rows.judged is None else rows.judged


def _value(name: str, labels: Vector, scores: Vector, threshold: float, compute: Compute) -> float:
    return compute(name, labels, scores, threshold) if len(labels) else float("nan")
