"""Popularity: the same ranking for everybody, by how many users had to do with an item.

The baseline, and the answer for a user nobody knows. Does not belong here: what is popular in a
category (the query's filter does that).
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
    positives,
    read_scorer,
    write_scorer,
)

KIND = "popularity"


class PopularityParams(Frozen):
    """Parameters of a popularity trial."""

    model: str = KIND
    liked_only: bool = False


@dataclass(frozen=True)
class Popularity:
    """Fitted popularity.

    Attributes:
        counts: Shape (m,), users per item.
    """

    counts: Scores
    liked_only: bool = False
    kind: str = KIND
    reads: Reads = ()

    def score(self, users: Numbers, _: Sequence[Numbers]) -> Scores:
        """Users per item, for each row the same; see ``Scorer``."""
        return np.tile(self.counts, (len(users), 1))

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        write_scorer(folder, self, {"counts": self.counts})


def fit(trial: Trial, rows: Interactions, _: FitContext) -> Popularity:
    """Count the users of every item."""
    params = PopularityParams.model_validate(trial.params)
    counts = positives(rows, params.liked_only).sum(axis=0)
    return Popularity(np.asarray(counts, np.float32), params.liked_only)


def load(folder: Path) -> Popularity:
    """Load what ``save`` wrote."""
    settings, arrays = read_scorer(folder)
    return Popularity(arrays["counts"], **settings)
