"""iALS: factors of users and items by alternating least squares over all pairs.

Sources: Hu, Koren, Volinsky, ICDM 2008; the weighting of Rendle et al., "Revisiting the Performance
of iALS on Item Recommendation Benchmarks", RecSys 2022: observed pairs count 1 towards the target
1, and all pairs count ``unobserved_weight`` towards 0; the L2 penalty of a user or item grows with
what it is fitted on. The package ``implicit`` has neither, so the solver is here; on what both can
express they agree (see the tests).

A user is nothing but the solution for a history, so only item factors are kept and anybody with a
history has an answer (fold-in).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, Interactions
from models.contracts.product import Trial
from models.core.ranking.factored import Factored
from models.core.ranking.scorers import (
    Numbers,
    Reads,
    Scores,
    positives,
    read_scorer,
    write_scorer,
)

KIND = "ials"


class IalsParams(Frozen):
    """Parameters of an iALS trial; the defaults are Rendle's for ML-1M.

    Attributes:
        unobserved_weight: Weight of every pair towards 0, the paper's alpha_0.
        penalty: L2 penalty, the paper's lambda.
        penalty_exponent: The penalty of a row is ``penalty`` times (its observed pairs +
            ``unobserved_weight`` times all of them) to this power; 0 is one penalty for all.
        deviation: Standard deviation of a factor's length at the start.
    """

    model: str = KIND
    liked_only: bool = False
    factors: int = 192
    epochs: int = 12
    unobserved_weight: float = 0.3
    penalty: float = 0.007
    penalty_exponent: float = 1.0
    deviation: float = 0.1


class Weights(NamedTuple):
    """The three of ``IalsParams`` that say what is solved, by the fit and by a fold-in."""

    unobserved_weight: float
    penalty: float
    penalty_exponent: float


@dataclass(frozen=True)
class Ials(Factored):
    """Fitted iALS.

    Attributes:
        items: Shape (m, f), item factors.
        weights: Those of the fit.
    """

    items: Scores
    weights: Weights
    liked_only: bool = False
    kind: str = KIND
    reads: Reads = ("history",)

    @cached_property
    def _gram(self) -> Scores:
        return self.items.T @ self.items

    def users(self, histories: Sequence[Numbers]) -> Scores:
        """Folded in; see ``Factored``."""
        had = [np.unique(history) for history in histories]
        return solve(had, self.items, self._gram, self.weights)

    def parts(self, history: Numbers) -> Scores:
        """The inverse times each item (Hu et al. 2008, section 5); see ``Factored``."""
        once, places = np.unique(history, return_index=True)
        own, parts = self.items[once], np.zeros((len(history), self.items.shape[1]), np.float32)
        (penalty,) = _penalties([once], len(self.items), self.weights)
        left = _left(own, np.float32(self.weights.unobserved_weight) * self._gram, penalty)
        parts[places] = np.linalg.solve(left, own.T).T
        return parts

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        write_scorer(folder, self, {"items": self.items}, weights=self.weights)


def fit(trial: Trial, rows: Interactions, context: FitContext) -> Ials:
    """Alternate between users and items, users first; deterministic by the trial's seed."""
    params = IalsParams.model_validate(trial.params)
    had = positives(rows, params.liked_only)
    each_had, had_each = each_row(had), each_row(sp.csr_array(had.T))
    weights = Weights(params.unobserved_weight, params.penalty, params.penalty_exponent)
    scale = params.deviation / np.sqrt(params.factors)
    size = (had.shape[1], params.factors)
    items = np.random.default_rng(trial.seed).normal(0, scale, size).astype(np.float32)
    for epoch in range(params.epochs):
        users = solve(each_had, items, items.T @ items, weights)
        items = solve(had_each, users, users.T @ users, weights)
        context.say(f"iALS epoch {epoch + 1} of {params.epochs}")
    return Ials(items, weights, params.liked_only)


def each_row(matrix: sp.csr_array) -> list[NDArray[Any]]:
    """The column numbers of each row."""
    return [matrix.indices[start:end] for start, end in pairwise(matrix.indptr)]


def solve(had: Sequence[NDArray[Any]], others: Scores, gram: Scores, weights: Weights) -> Scores:
    """One half-step: the factors of each row that fit the other side's best, exactly.

    Args:
        had: For each of b rows, which of the others were observed, each once.
        others: Shape (m, f), factors of the other side.
        gram: ``others.T @ others``.
        weights: See ``IalsParams``.

    Returns:
        Shape (b, f); zero for a row without anything.

    Raises:
        ValueError: A system is singular.
    """
    penalties = _penalties(had, len(others), weights)
    shared = np.float32(weights.unobserved_weight) * gram
    solved = np.zeros((len(had), others.shape[1]), np.float32)
    with _blas().limit(limits=1, user_api="blas"):  # threads only wait in so small systems
        for row in (number for number, each in enumerate(had) if len(each)):
            own = others[had[row]]
            solved[row] = _cholesky(_left(own, shared, penalties[row]), own.sum(axis=0))
    return solved


def _penalties(had: Sequence[NDArray[Any]], others: int, weights: Weights) -> Any:
    """Of each row, by what it is fitted on."""
    pairs = np.array([len(row) for row in had]) + weights.unobserved_weight * others
    return weights.penalty * pairs**weights.penalty_exponent


def _left(own: Scores, shared: Scores, penalty: float) -> Scores:
    """The matrix of a row's equations: its observed pairs, all pairs, the penalty."""
    left: Scores = own.T @ own + shared
    left.flat[:: len(left) + 1] += penalty  # the diagonal
    return left


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def _cholesky(left: Scores, right: Scores) -> Scores:
    """Three times faster than numpy's solve; ``left`` is written over."""
    from scipy.linalg import lapack

    # .T: symmetric, and in LAPACK's order
    *_, solution, failed = lapack.sposv(left.T, right, overwrite_a=True)
    if failed:
        raise ValueError("an iALS step has no single solution: raise the penalty")
    solved: Scores = solution
    return solved


def load(folder: Path) -> Ials:
    """Load what ``save`` wrote."""
    settings, arrays = read_scorer(folder)
    weights = Weights(*settings.pop("weights"))
    return Ials(arrays["items"], weights, **settings)
