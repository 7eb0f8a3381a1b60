"""Robustness of a model over rows: disturbed, attacked, strange and shifted inputs.

Belongs here: which of them make a measure, and its name. Does not belong here: how inputs are
disturbed (``perturbations``), fitting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.contracts.product import Column
from models.contracts.results import Measure
from models.core import metrics
from models.core.robustness import measures, ood, perturbations, shift

Predict = Callable[[Matrix], Vector]
#: Inputs, labels and a radius to the scores in the worst case (see ``logistic.worst_scores``).
Worst = Callable[[Matrix, Vector, float], Vector]

#: Radius of the gradient attack, in standard deviations of every column.
EPSILON = 0.1
_WORDS = {
    "none": "undisturbed",
    "noise": "with noise of 0.1 standard deviations",
    "outliers": "with 1 % of the cells 10 standard deviations off",
}


def examine_rows(
    predict: Predict,
    inputs: Matrix,
    labels: Vector,
    columns: Sequence[Column],
    metric: str,
    *,
    threshold: float = 0.5,
    seed: int = 0,
    train: Matrix | None = None,
    worst: Worst | None = None,
) -> dict[str, Measure]:
    """Measures of one model on the judged rows.

    Args:
        predict: Inputs of shape (n, d) to probabilities of shape (n,).
        inputs: Shape (n, d); NaN stands for null.
        labels: Shape (n,) of 0 or 1.
        columns: The d columns.
        metric: A key of ``metrics.METRICS``.
        threshold: Decision threshold.
        seed: Of everything drawn.
        train: Inputs the model was fitted on, shape (m, d); without them nothing is strange or
            shifted, and those measures are left out.
        worst: The model's scores in the worst case, where there is a closed form or a gradient.

    Returns:
        ``robustness.none``, ``.noise``, ``.outliers`` and ``.missing`` (the nullable column that is
        missed most); ``robustness.fgsm``; ``ood.auroc`` (nearest training rows),
        ``ood.mahalanobis``, ``ood.doubt``; ``shift.domain_auc``.
    """
    found = _disturbed(predict, inputs, labels, columns, metric, threshold=threshold, seed=seed)
    if worst is not None:
        found["robustness.fgsm"] = measures.metric_at(
            f"{metrics.METRICS[metric].title} in the worst case {EPSILON} standard deviations away",
            metric, labels, worst(inputs, labels, EPSILON), threshold, seed=seed,
        )  # fmt: skip
    if train is not None and len(train) and len(inputs):
        found |= _strange(predict, train, inputs, seed)
        found |= shift.measured(train, inputs, "holdout rows from training rows", seed=seed)
    return found


def _disturbed(
    predict: Predict,
    inputs: Matrix,
    labels: Vector,
    columns: Sequence[Column],
    metric: str,
    *,
    threshold: float,
    seed: int,
) -> dict[str, Measure]:
    answers: list[Vector] = []

    def kept(disturbed: Matrix) -> Vector:  # the answers are wanted again, for the intervals
        answers.append(predict(disturbed))
        return answers[-1]

    table = perturbations.robustness(
        kept, inputs, labels, columns, metric, threshold=threshold, seed=seed
    )
    interval = partial(measures.metric_at, metric=metric, labels=labels, threshold=threshold)
    title = metrics.METRICS[metric].title
    found = {
        f"robustness.{row.name}": interval(f"{title} {_WORDS[row.name]}", scores=scores, seed=seed)
        for row, scores in zip(table, answers, strict=True)
        if row.column is None
    }
    missing = [i for i, row in enumerate(table) if row.column is not None]
    if missing:
        errors = [metrics.error(metric, table[i].value) for i in missing]
        most = missing[int(np.nanargmax(errors))] if not np.isnan(errors).all() else missing[0]
        words = f"{title} without {table[most].column}, the nullable column missed most"
        found["robustness.missing"] = interval(words, scores=answers[most], seed=seed)
    return found


def _strange(predict: Predict, train: Matrix, inputs: Matrix, seed: int) -> dict[str, Measure]:
    """Holdout rows against the same with each column shuffled on its own.

    Only how columns go together is lost: a row out of all bounds is found by simpler checks.
    """
    generator = np.random.default_rng(seed)
    train = train[generator.permutation(len(train))[: shift.ROWS]]
    inputs = inputs[generator.permutation(len(inputs))[: shift.ROWS]]
    made = np.stack([generator.permutation(column) for column in inputs.T], axis=1)
    known, inside, outside = _standardised(train, train, inputs, made)
    fitted = ood.gaussians(known, np.zeros(len(known)))
    scores = {
        "auroc": ("distance to the nearest training rows", partial(ood.nearest, known)),
        "mahalanobis": ("Mahalanobis distance", partial(ood.mahalanobis, fitted)),
    }
    words = "ROC-AUC of telling rows with shuffled columns by {}"
    found = {
        f"ood.{name}": measures.area(words.format(what), ood.auroc(score(inside), score(outside)))
        for name, (what, score) in scores.items()
    }
    doubts = [ood.label_doubt(predict(rows)[:, None]) for rows in (inputs, made)]
    title = words.format("the model's own doubt")
    return found | {"ood.doubt": measures.area(title, ood.auroc(doubts[0], doubts[1]))}


def _standardised(reference: Matrix, *samples: Matrix) -> list[Matrix]:
    """Samples in standard deviations of the reference, null as its mean and a mark beside it."""
    known = np.where(np.isnan(reference).all(axis=0), 0.0, reference)
    mean, spread = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    made = []
    for sample in samples:
        null = np.isnan(sample)
        made.append(np.hstack([np.where(null, 0.0, (sample - mean) / spread), null.astype(float)]))
    return made
