"""EASE: a linear model of an item by all others, in closed form.

Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019: B minimises
|X - XB|^2 + penalty |B|^2 with a zero diagonal. Time is cubic and memory quadratic in the items, so
it is for catalogues of some ten thousand at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, Interactions
from models.contracts.product import Trial
from models.core.ranking.scorers import (
    Numbers,
    Reads,
    Scores,
    history_matrix,
    positives,
    read_scorer,
    write_scorer,
)

KIND = "ease"


class EaseParams(Frozen):
    """Parameters of an EASE trial.

    Attributes:
        penalty: L2 penalty on the weights, the paper's lambda.
        max_items: A larger catalogue is refused: at 20,000 items the inverse takes 10 GB.
    """

    model: str = KIND
    liked_only: bool = False
    penalty: float = 250.0
    max_items: int = 20_000


@dataclass(frozen=True)
class Ease:
    """Fitted EASE.

    Attributes:
        weights: Shape (m, m); row i is what having i says of every item. Zero diagonal.
    """

    weights: Scores
    liked_only: bool = False
    kind: str = KIND
    reads: Reads = ("history",)

    def score(self, _: Numbers, histories: Sequence[Numbers]) -> Scores:
        """Sum of the weights of what a user had to do with; see ``Scorer``."""
        return np.asarray(history_matrix(histories, len(self.weights)) @ self.weights)

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        write_scorer(folder, self, {"weights": self.weights})


def fit(trial: Trial, rows: Interactions, _: FitContext) -> Ease:
    """Solve for the weights.

    Raises:
        ValueError: The catalogue is too large for it.
    """
    params = EaseParams.model_validate(trial.params)
    items = len(rows.catalogue.items)
    if items > params.max_items:
        raise ValueError(
            f"EASE inverts a matrix of {items} x {items}: take ials or itemknn, or raise max_items "
            f"(now {params.max_items}) on a machine with the memory"
        )
    matrix = positives(rows, params.liked_only)
    gram = (matrix.T @ matrix).toarray().astype(np.float64)
    gram[np.diag_indices(items)] += params.penalty
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return Ease(weights.astype(np.float32), params.liked_only)


def load(folder: Path) -> Ease:
    """Load what ``save`` wrote."""
    settings, arrays = read_scorer(folder)
    return Ease(arrays["weights"], **settings)
