"""Several opinions made one: weights that are learned, and how far the opinions agree.

Belongs here: the stacked logistic regression and the confidence of an answer, as pure functions of
scores. Does not belong here: whose opinions they are (``heads``, ``ensemble``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from models.contracts.learner import Matrix, Vector

#: Log-odds beyond these say no more, and would only stretch the fit.
LIMIT = 15.0
#: From which probability on a side is taken; heads and ensemble are calibrated before they vote.
CALLED = 0.5


class Confidence(NamedTuple):
    """How sure an ensemble's answers are, at three levels; all in [0, 1].

    Attributes:
        prediction: Shape (n, L): probability of the likelier side, ``max(p, 1 - p)``; NaN for
            labels it does not answer.
        model: Shape (n, H): the same of each head, for the first label.
        ensemble: Shape (n,): consensus, ``agreement * (1 - 2 * spread)``. Low values are for a
            person to decide.
        agreement: Shape (n,): share of the heads on the ensemble's side of ``CALLED``.
        spread: Shape (n,): standard deviation of the heads' probabilities, at most 0.5.
    """

    prediction: Matrix
    model: Matrix
    ensemble: Vector
    agreement: Vector
    spread: Vector


def clipped(logits: Matrix) -> Matrix:
    """Log-odds within ``LIMIT``."""
    return np.clip(logits, -LIMIT, LIMIT).astype(np.float64)


def stack(opinions: Matrix, labels: Vector, prior: Vector, penalty: float) -> tuple[Vector, float]:
    """Weights of several opinions on one label.

    Logistic regression on log-odds (Wolpert 1992), with weights that are not negative (Breiman
    1996, Stacked Regressions: so an opinion is never turned over), drawn towards ``prior``.

    Args:
        opinions: Shape (n, H) log-odds, of texts that no opinion was fitted on.
        labels: Shape (n,) of 0, 1, or NaN (left out).
        prior: Shape (H,): the weights when there is nothing to learn from.
        penalty: Texts that the prior is worth.

    Returns:
        Weights of shape (H,) and the intercept. The prior and 0 unless both classes are known.
    """
    known = ~np.isnan(labels)
    z, y = opinions[known], labels[known]
    if not (y == 1).any() or not (y == 0).any():
        return prior.copy(), 0.0

    def loss(parameters: Vector) -> tuple[float, Vector]:
        weights, intercept = parameters[:-1], parameters[-1]
        margin = z @ weights + intercept
        off = weights - prior
        value = np.logaddexp(0.0, margin).sum() - y @ margin + 0.5 * penalty * off @ off
        error = expit(margin) - y
        return float(value), np.append(z.T @ error + penalty * off, error.sum())

    bounds = [(0.0, None)] * len(prior) + [(None, None)]
    found = minimize(loss, np.append(prior, 0.0), jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x[:-1], float(found.x[-1])


def confidence(scores: Matrix, votes: Matrix, first: int) -> Confidence:
    """How sure answers are.

    Args:
        scores: Shape (n, L), the ensemble's probabilities; NaN for labels it does not answer.
        votes: Shape (n, H), each head's probability of label ``first``.
        first: Number of the label the heads vote on.
    """
    called = scores[:, first] >= CALLED
    agreement = ((votes >= CALLED) == called[:, None]).mean(axis=1)
    spread = votes.std(axis=1)
    return Confidence(
        prediction=np.maximum(scores, 1.0 - scores),
        model=np.maximum(votes, 1.0 - votes),
        ensemble=agreement * (1.0 - 2.0 * spread),
        agreement=agreement,
        spread=spread,
    )
