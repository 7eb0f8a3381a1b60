"""What a fit's own validating texts say of it: thresholds per label, metrics of one fold.

Belongs here: numbers of the validating rows. Does not belong here: which rows those are
(``models.core.splits``), the holdout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.contracts.learner import Matrix
from models.core.training import best_f1_threshold
from models.core.units import LabelScores


def thresholds(labels: Matrix, scores: Matrix, names: tuple[str, ...]) -> dict[str, float]:
    """Threshold of best F1 per label; 0.5 where validation cannot say.

    Args:
        labels: Shape (n, L) of 0.0 or 1.0; NaN where nobody said.
        scores: Shape (n, L); NaN for a label the model never learned.
        names: The L labels.
    """
    found = {}
    for name, label, score in zip(names, labels.T, scores.T, strict=True):
        known = ~np.isnan(label) & ~np.isnan(score)
        both = len(np.unique(label[known])) == 2
        found[name] = best_f1_threshold(label[known], score[known]) if both else 0.5
    return found


def one_fold(
    metrics: Sequence[str], labels: Matrix, scores: Matrix, thresholds: Mapping[str, float]
) -> dict[str, tuple[float, ...]]:
    """Metrics of the validating rows, each its mean over the labels: one fold, one value each."""
    at = np.array(list(thresholds.values()))
    units = LabelScores(labels, scores, None, (at, at), tuple(thresholds))
    return {name: (units.value(name),) for name in metrics}
