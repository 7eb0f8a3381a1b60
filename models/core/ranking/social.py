"""Social: what a user's friends, friends of friends and community had to do with.

Personalised PageRank (Page et al. 1999; Jeh and Widom, WWW 2003) says how near every other user is
in the graph of friends; their items count by it. Louvain communities (Blondel et al. 2008) add what
is popular among a user's own kind, and overall popularity decides where nobody near says anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, Interactions
from models.contracts.product import Trial
from models.core.ranking.scorers import (
    Numbers,
    Reads,
    Scores,
    positives,
    read_scorer,
    write_scorer,
)

KIND = "social"


class SocialParams(Frozen):
    """Parameters of a social trial.

    Attributes:
        damping: Share of a walk that goes on to a friend; the rest returns to the user.
        steps: Of the walk; what is left after them is ``damping`` to this power.
        community: Weight of the community's taste.
        prior: Weight of everybody's.
    """

    model: str = KIND
    liked_only: bool = False
    damping: float = 0.85
    steps: int = 20
    community: float = 0.3
    prior: float = 0.01


@dataclass(frozen=True)
class Social:
    """Fitted social model.

    Attributes:
        friends: Shape (u, u), each row's weights sum to 1 (or 0 without friends).
        tastes: Shape (u, m), each user's items, weights summing to 1.
        communities: Shape (u,), numbers from 0.
        params: Of the fit.
    """

    friends: sp.csr_array
    tastes: sp.csr_array
    communities: Numbers
    params: SocialParams
    kind: str = KIND
    reads: Reads = ("user",)

    @property
    def liked_only(self) -> bool:
        """See ``Scorer``."""
        return self.params.liked_only

    @cached_property
    def _shared(self) -> Scores:
        """Mean taste of each community, and with the prior everybody's; shape (c, m)."""
        users = np.arange(len(self.communities))
        member = sp.csr_array((np.ones(len(users), np.float32), (self.communities, users)))
        own = (member @ self.tastes).toarray() / member.sum(axis=1)[:, None]
        everybody = self.tastes.mean(axis=0)
        return np.asarray(self.params.community * own + self.params.prior * everybody, np.float32)

    def score(self, users: Numbers, _: Sequence[Numbers]) -> Scores:
        """Tastes near a user, see ``Scorer``."""
        near = pagerank(self.friends, users, self.params.damping, self.params.steps)
        near[np.arange(len(users)), users] = 0.0
        found = near @ self.tastes + self._shared[self.communities[users]]
        return np.asarray(found, np.float32)

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        arrays = {"communities": self.communities}
        for name in ("friends", "tastes"):
            matrix = getattr(self, name)
            arrays |= {f"{name}_{part}": getattr(matrix, part) for part in _PARTS}
        items = self.tastes.shape[1]
        write_scorer(folder, self, arrays, params=self.params.model_dump(), items=items)


_PARTS = ("data", "indices", "indptr")


def pagerank(friends: sp.csr_array, users: Numbers, damping: float, steps: int) -> Scores:
    """Personalised PageRank of everybody, seen from some users.

    Args:
        friends: Shape (u, u), rows sum to 1; a user without friends walks back to the start.
        users: Shape (b,).
        damping: Share that goes on.
        steps: Of the power iteration.

    Returns:
        Shape (b, u), rows sum to 1.
    """
    start = np.zeros((len(users), friends.shape[0]), np.float32)
    start[np.arange(len(users)), users] = 1.0
    alone = np.diff(friends.indptr) == 0
    rank = start
    for _ in range(steps):
        on = damping * np.asarray(rank @ friends)
        back = 1 - damping + damping * rank[:, alone].sum(axis=1, keepdims=True)
        rank = (on + back * start).astype(np.float32)
    return rank


def communities(friends: NDArray[np.int64], users: int, seed: int) -> Numbers:
    """Louvain community of each user, numbered by their first member; shape (users,)."""
    import networkx as nx  # type: ignore[import-untyped]  # ships no types

    graph = nx.Graph()
    graph.add_nodes_from(range(users))
    graph.add_edges_from(friends.tolist())
    groups = sorted(nx.community.louvain_communities(graph, seed=seed), key=min)
    found = np.empty(users, np.int64)
    for number, group in enumerate(groups):
        found[list(group)] = number
    return found


def fit(trial: Trial, rows: Interactions, _: FitContext) -> Social:
    """Normalise the graph and find its communities.

    Raises:
        ValueError: No friends are known.
    """
    params = SocialParams.model_validate(trial.params)
    if not len(rows.friends):
        raise ValueError(f"trial {trial.name!r}: the rows carry no friends; leave social out")
    count = len(rows.user_ids)
    one, other = rows.friends[rows.friends[:, 0] != rows.friends[:, 1]].T
    ends = np.concatenate([one, other]), np.concatenate([other, one])
    graph = sp.csr_array((np.ones(len(ends[0]), np.float32), ends), shape=(count, count))
    graph.sum_duplicates()
    graph.data[:] = 1.0
    tastes = positives(rows, params.liked_only)
    groups = communities(rows.friends, count, trial.seed)
    return Social(_shares(graph), _shares(tastes), groups, params)


def _shares(matrix: sp.csr_array) -> sp.csr_array:
    """Each row divided by its sum."""
    lengths = np.diff(matrix.indptr)
    data = matrix.data / np.repeat(lengths, lengths).astype(np.float32)
    return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def load(folder: Path) -> Social:
    """Load what ``save`` wrote."""
    settings, arrays = read_scorer(folder)
    users = len(arrays["communities"])
    params = SocialParams.model_validate(settings["params"])
    friends, tastes = (
        tuple(arrays[f"{name}_{part}"] for part in _PARTS) for name in ("friends", "tastes")
    )
    return Social(
        sp.csr_array(friends, shape=(users, users)),
        sp.csr_array(tastes, shape=(users, settings["items"])),
        arrays["communities"],
        params,
    )
