"""GF-CF: the user-item graph as a low-pass filter, in closed form; nothing is learnt by steps.

Source: Shen et al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021: with R the
interactions and N = D_users^-1/2 R D_items^-1/2, a user's history r scores
r N'N + weight * r D^-1/2 V V' D^1/2, where V are the strongest right singular vectors of N and D is
D_items. The first term is one step of the graph (a likeness of items), the second the ideal
low-pass filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

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

KIND = "graph_filter"


class GraphFilterParams(Frozen):
    """Parameters of a GF-CF trial; the defaults are the paper's code's for Gowalla.

    Attributes:
        vectors: Singular vectors of the ideal filter.
        weight: Of the ideal filter against the one step.
    """

    model: str = KIND
    liked_only: bool = False
    vectors: int = 256
    weight: float = 0.3


@dataclass(frozen=True)
class GraphFilter:
    """Fitted GF-CF.

    Attributes:
        normal: Shape (u, m), N.
        vectors: Shape (m, v), V.
        degrees: Shape (m,), users per item, 1 where there is none.
    """

    normal: sp.csr_array
    vectors: Scores
    degrees: Scores
    weight: float
    liked_only: bool = False
    kind: str = KIND
    reads: Reads = ("history",)

    @cached_property
    def _turned(self) -> sp.csr_array:
        return sp.csr_array(self.normal.T)

    def score(self, _: Numbers, histories: Sequence[Numbers]) -> Scores:
        """The history through both filters; see ``Scorer``."""
        had = history_matrix(histories, len(self.degrees))
        near = (had @ self._turned).toarray()  # of users; dense, as half of them are near
        step = (self._turned @ near.T).T
        root = np.sqrt(self.degrees)
        ideal = ((had / root) @ self.vectors) @ self.vectors.T * root
        return np.asarray(step + np.float32(self.weight) * ideal, np.float32)

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        parts = {name: getattr(self.normal, name) for name in ("data", "indices", "indptr")}
        arrays = {**parts, "vectors": self.vectors, "degrees": self.degrees}
        write_scorer(folder, self, arrays, weight=self.weight)


def fit(trial: Trial, rows: Interactions, _: FitContext) -> GraphFilter:
    """Normalise the graph and take its strongest singular vectors."""
    params = GraphFilterParams.model_validate(trial.params)
    matrix = positives(rows, params.liked_only)
    users = np.maximum(matrix.sum(axis=1), 1).astype(np.float32)
    items = np.maximum(matrix.sum(axis=0), 1).astype(np.float32)
    ends = matrix.tocoo()
    shares = ends.data / np.sqrt(users[ends.row] * items[ends.col])
    normal = sp.csr_array((shares, (ends.row, ends.col)), shape=matrix.shape)
    vectors = strongest(normal, min(params.vectors, min(normal.shape) - 1), trial.seed)
    return GraphFilter(normal, vectors, items, params.weight, params.liked_only)


def strongest(matrix: sp.csr_array, count: int, seed: int) -> Scores:
    """Right singular vectors of the largest singular values, shape (m, count).

    Lanczos starts from a drawn vector, so the seed decides the last digits and nothing else.
    """
    from scipy.sparse.linalg import svds

    start = np.random.default_rng(seed).standard_normal(min(matrix.shape)).astype(np.float32)
    *_, right = svds(matrix, k=count, v0=start)
    return np.ascontiguousarray(right.T, dtype=np.float32)


def load(folder: Path) -> GraphFilter:
    """Load what ``save`` wrote."""
    settings, arrays = read_scorer(folder)
    shape = len(arrays["indptr"]) - 1, len(arrays["degrees"])
    normal = sp.csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
    return GraphFilter(normal, arrays["vectors"], arrays["degrees"], **settings)
