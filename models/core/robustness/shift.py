"""Can a classifier tell two samples apart? If it can, they differ; the area says by how much.

Belongs here: the domain classifier, its area as a measure. Does not belong here: tests per column
(``models.core.drift_effect``), whether a model still works (``models.core.label_free``).
"""

from __future__ import annotations

import numpy as np

from models.contracts.learner import Matrix
from models.contracts.results import Estimate, Measure
from models.core import significance
from models.core.robustness import measures

#: Rows drawn of either sample, and folds of the cross-fit.
ROWS, FOLDS = 2000, 3


def measured(train: Matrix, judged: Matrix, words: str, *, seed: int) -> dict[str, Measure]:
    """The measure ``shift.domain_auc``; ``words`` say what is told from what."""
    area = domain_auc(train, judged, seed=seed)
    title = f"ROC-AUC of telling {words} (0.5: no shift)"
    return {"shift.domain_auc": measures.area(title, area, higher_is_better=False)}


def domain_auc(
    before: Matrix, after: Matrix, *, seed: int = 0, rows: int = ROWS, alpha: float = 0.05
) -> Estimate:
    """ROC-AUC of telling ``after`` from ``before``, each row scored out of fold.

    0.5: nothing tells them apart. Boosted trees, so a change in how columns go together counts as
    well as one of a single column (Rabanser, Günnemann and Lipton 2019, Failing loudly).

    Args:
        before: Shape (n, d); NaN stands for null.
        after: Shape (m, d).
        seed: Of the draw and the folds.
        rows: Most rows drawn of either.
        alpha: DeLong's interval has level 1 - 2 * alpha.

    Raises:
        ValueError: Fewer rows than folds.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    if min(len(before), len(after)) < FOLDS:
        raise ValueError(
            f"{len(before)} and {len(after)} rows are too few to tell apart; give at least {FOLDS}"
        )
    generator = np.random.default_rng(seed)
    drawn = [
        sample[generator.permutation(len(sample))[:rows]] if len(sample) > rows else sample
        for sample in (before, after)
    ]
    inputs = np.concatenate(drawn)
    labels = np.repeat([0.0, 1.0], [len(sample) for sample in drawn])
    scores = np.empty(len(labels))
    model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=15, random_state=seed)
    divided = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with threadpool_limits(limits=1):  # sums must not depend on the cores
        for fitted, held in divided.split(inputs, labels):
            model.fit(inputs[fitted], labels[fitted])
            scores[held] = model.predict_proba(inputs[held])[:, 1]
    return significance.delong_interval(labels, scores, alpha=alpha)
