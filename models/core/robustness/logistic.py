"""The worst case of a linear model, in closed form: its FGSM is exact.

Belongs here: how far the log-odds of a linear model fall inside a ball around each row. Does not
belong here: models that need a gradient computed (``gradient``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import expit

from models.contracts.learner import Matrix, Vector

if TYPE_CHECKING:
    from models.core.linear import LogisticPredictor


def worst_logits(
    logits: Vector,
    labels: Vector,
    weights: Vector,
    epsilon: float,
    norm: Literal["linf", "l2"] = "linf",
) -> Vector:
    """Log-odds after the strongest attack of size epsilon on the inputs of a linear model.

    The loss of a row grows fastest along ``(p - y) w``, whose sign is that of ``-(2y - 1) w``
    everywhere, so one step is the optimum (Goodfellow, Shlens and Szegedy 2015, section 5): the
    log-odds fall by epsilon times the dual norm of w.

    Args:
        logits: Shape (n,), of the rows as they are.
        labels: Shape (n,) of 0 or 1.
        weights: Shape (d,).
        epsilon: Radius, in the units of the inputs that ``weights`` weigh.
        norm: ``linf`` (dual: sum of |w|) or ``l2`` (dual: length of w).
    """
    reach = epsilon * float(np.linalg.norm(weights, 1 if norm == "linf" else 2))
    return logits - (2 * labels - 1) * reach


def worst_scores(
    predictor: LogisticPredictor, inputs: Matrix, labels: Vector, epsilon: float
) -> Vector:
    """Probabilities of the logistic regression of ``models.core.linear`` in the worst case.

    Args:
        predictor: Fitted on signed logarithms, standardised: epsilon counts standard deviations of
            those, for every column at once. The marks "was missing" are columns too, and an
            attacker cannot move them.
        inputs: Shape (n, d).
        labels: Shape (n,) of 0 or 1.
        epsilon: Radius of the largest-value ball.

    Returns:
        Shape (n,).
    """
    scores = predictor.predict(inputs)
    with np.errstate(divide="ignore"):
        logits = np.log(scores) - np.log1p(-scores)
    width = len(predictor.inputs.used) + len(predictor.inputs.derived)
    weights = predictor.pipeline[-1].coef_[0][:width]
    worst: Vector = expit(worst_logits(logits, labels, weights, epsilon))
    return worst
