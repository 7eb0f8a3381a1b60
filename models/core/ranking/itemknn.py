"""Item-kNN: an item scores by its likeness to what the user had to do with.

Likeness is the cosine of the items' user sets, shrunk where few users bear it out: common /
(sqrt(users_i users_j) + shrinkage). Sources: Sarwar et al., WWW 2001; Bell and Koren 2007 for the
shrinkage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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
from models.core.ranking.top import top

KIND = "itemknn"
#: Items whose neighbours are sought at once.
_BLOCK = 1024


class ItemKnnParams(Frozen):
    """Parameters of an item-kNN trial.

    Attributes:
        neighbours: The nearest that may speak for an item.
        shrinkage: In users; 0 is the plain cosine.
    """

    model: str = KIND
    liked_only: bool = False
    neighbours: int = 100
    shrinkage: float = 10.0


@dataclass(frozen=True)
class ItemKnn:
    """Fitted item-kNN.

    Attributes:
        likeness: Shape (m, m), row i, column j: what having i says of j; at most ``neighbours`` per
            column.
    """

    likeness: sp.csr_array
    liked_only: bool = False
    kind: str = KIND
    reads: Reads = ("history",)

    def score(self, _: Numbers, histories: Sequence[Numbers]) -> Scores:
        """Sum of the likenesses to what a user had to do with; see ``Scorer``."""
        had = history_matrix(histories, self.likeness.shape[0])
        return np.asarray((had @ self.likeness).toarray(), np.float32)

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        parts = ("data", "indices", "indptr")
        write_scorer(folder, self, {part: getattr(self.likeness, part) for part in parts})


def fit(trial: Trial, rows: Interactions, _: FitContext) -> ItemKnn:
    """Find the neighbours of every item."""
    params = ItemKnnParams.model_validate(trial.params)
    matrix = positives(rows, params.liked_only).tocsc()
    norms = np.sqrt(np.asarray(matrix.sum(axis=0), np.float32))
    items = matrix.shape[1]
    blocks = []
    for start in range(0, items, _BLOCK):
        part = slice(start, min(start + _BLOCK, items))
        common = sp.coo_array(matrix.T @ matrix[:, part])
        row, column = common.coords
        bottom = norms[row] * norms[part][column] + np.float32(params.shrinkage)
        other = row != column + start
        likeness = (common.data / bottom)[other], (row[other], column[other])
        blocks.append(_nearest(sp.csc_array(likeness, shape=common.shape), params.neighbours))
    return ItemKnn(sp.csr_array(sp.hstack(blocks, format="csr")), params.liked_only)


def _nearest(likeness: sp.csc_array, k: int) -> sp.csc_array:
    """The k largest entries of each column; among equals those of the lower row."""
    likeness.sort_indices()
    kept = [
        start + np.sort(top(likeness.data[start:end], k))
        for start, end in pairwise(likeness.indptr)
    ]
    chosen = np.concatenate(kept)
    indptr = np.concatenate([[0], np.cumsum([len(some) for some in kept])])
    parts = likeness.data[chosen], likeness.indices[chosen], indptr
    return sp.csc_array(parts, shape=likeness.shape)


def load(folder: Path) -> ItemKnn:
    """Load what ``save`` wrote."""
    settings, arrays = read_scorer(folder)
    items = len(arrays["indptr"]) - 1
    parts = arrays["data"], arrays["indices"], arrays["indptr"]
    return ItemKnn(sp.csr_array(parts, shape=(items, items)), **settings)
