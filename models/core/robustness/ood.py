"""Is an input unlike what the model was fitted on? Scores, and how well they tell.

Belongs here: scores over logits and over features, their area under the ROC curve. Does not belong
here: strange inputs themselves (``rows``, ``models.core.text.examine``), drift of many inputs
(``shift``, ``models.core.label_free``).

Every score is higher for a stranger input.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from models.contracts.learner import Matrix, Vector
from models.contracts.results import Estimate
from models.core import significance

#: Neighbour whose distance counts; Sun et al. take 50 of 50,000 training rows and more of more.
NEIGHBOUR = 10
#: Distances worked out at once.
_CELLS = 4_000_000


def max_probability(probabilities: Matrix) -> Vector:
    """1 - the largest class probability (Hendrycks and Gimpel 2017, the baseline).

    Args:
        probabilities: Shape (n, k) over classes that exclude each other.
    """
    surest: Vector = probabilities.max(axis=1)
    return 1.0 - surest


def label_doubt(probabilities: Matrix) -> Vector:
    """The same for labels that are each a yes or no: 1 - the surest of all answers.

    Args:
        probabilities: Shape (n, L); NaN labels have no say.
    """
    surest: Vector = np.nanmax(np.maximum(probabilities, 1 - probabilities), axis=1)
    return 1.0 - surest


def energy(logits: Matrix, temperature: float = 1.0) -> Vector:
    """-T log sum exp(logit / T) (Liu et al. 2020, Energy-based out-of-distribution detection).

    Args:
        logits: Shape (n, k) over classes that exclude each other.
        temperature: T.
    """
    found: Vector = -temperature * logsumexp(logits / temperature, axis=1)
    return found


def joint_energy(logits: Matrix) -> Vector:
    """-sum log(1 + exp(logit)) over labels that are each a yes or no (Wang et al. 2021).

    Source: Can multi-label classification networks know what they don't know? (JointEnergy.)

    Args:
        logits: Shape (n, L); NaN labels have no say.
    """
    known = np.where(np.isnan(logits), -np.inf, logits)
    found: Vector = -np.logaddexp(0.0, known).sum(axis=1)
    return found


class Gaussians(NamedTuple):
    """One mean per class, one covariance for all.

    Attributes:
        means: Shape (k, d).
        precision: Shape (d, d), the inverse covariance.
    """

    means: Matrix
    precision: Matrix


def gaussians(features: Matrix, classes: Vector, *, shrunk: bool = False) -> Gaussians:
    """Fit class means and the tied covariance of training features.

    Source: Lee et al. 2018, A simple unified framework for detecting out-of-distribution samples.

    Args:
        features: Shape (n, d).
        classes: Shape (n,), the class of each row.
        shrunk: Shrink the covariance towards a sphere (Ledoit and Wolf 2004). Needed where n is not
            many times d: else directions in which few training rows vary have no say, and those
            are where strange inputs lie.
    """
    names, which = np.unique(classes, return_inverse=True)
    means = np.stack([features[which == i].mean(axis=0) for i in range(len(names))])
    centred = features - means[which]
    covariance = centred.T @ centred / len(features)
    if shrunk:
        from sklearn.covariance import ledoit_wolf_shrinkage

        share = ledoit_wolf_shrinkage(centred, assume_centered=True)
        sphere = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        covariance = (1 - share) * covariance + share * sphere
    # pinv: features that never vary, or vary together, have no say
    return Gaussians(means, np.linalg.pinv(covariance, hermitian=True))


def mahalanobis(fitted: Gaussians, features: Matrix) -> Vector:
    """Squared distance to the nearest class mean, shape (n,), for features (n, d)."""
    away = features[:, None, :] - fitted.means[None]
    squares = np.einsum("nkd,de,nke->nk", away, fitted.precision, away)
    nearest: Vector = squares.min(axis=1)
    return nearest


def nearest(training: Matrix, features: Matrix, neighbour: int = NEIGHBOUR) -> Vector:
    """Distance to the k-th nearest training row, all brought to length 1.

    Source: Sun et al. 2022, Out-of-distribution detection with deep nearest neighbors.

    Args:
        training: Shape (m, d).
        features: Shape (n, d).
        neighbour: k, counted from 1; of fewer training rows the farthest counts.

    Returns:
        Shape (n,), from 0 to 2.
    """
    known, asked = _unit(training), _unit(features)
    k = min(neighbour, len(known)) - 1
    step = max(1, _CELLS // len(known))
    found = []
    for start in range(0, len(asked), step):
        cosines = asked[start : start + step] @ known.T
        found.append(np.partition(2 - 2 * cosines, k, axis=1)[:, k])
    return np.sqrt(np.maximum(np.concatenate(found), 0.0)) if found else np.empty(0)


def auroc(inside: Vector, outside: Vector, *, alpha: float = 0.05) -> Estimate:
    """How well a score tells strange inputs from others: area with DeLong's interval.

    Args:
        inside: Scores of inputs like the training's, shape (n,).
        outside: Scores of strange inputs, shape (m,).
        alpha: The interval has level 1 - 2 * alpha.
    """
    strange = np.concatenate([np.zeros(len(inside)), np.ones(len(outside))])
    return significance.delong_interval(strange, np.concatenate([inside, outside]), alpha=alpha)


def _unit(rows: Matrix) -> Matrix:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
