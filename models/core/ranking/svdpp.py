"""SVD++: matrix factorisation with biases, a user also being what they had to do with.

Source: Koren, "Factorization Meets the Neighborhood", KDD 2008, equation 15: the rating of item i
by user u is mean + b_u + b_i + q_i (p_u + |N|^-1/2 sum of y_j over N), N being what u rated. Its
penalty is added to the squared error of every rating; trained by ``models.core.trainer`` on batches
of whole users, so that the sum over N is made once for all ratings of a user.

Predicted ratings rank poorly, because what people rate at all says more than how. With
``negatives`` the same model learns had or had not instead, an item then being left out of its own
user's sum (Kabbur et al., FISM, KDD 2013), since it would give the answer away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, Interactions
from models.contracts.product import Trial
from models.core.ranking.neural import arrays, settings
from models.core.ranking.sampling import Pairs, hold_out
from models.core.ranking.scorers import (
    Numbers,
    Reads,
    Scores,
    history_matrix,
    positives,
    read_scorer,
    write_scorer,
)
from models.core.trainer.loop import train

KIND = "svdpp"
#: Users whose newest item validates, where had or not is learned.
_ASKED = 1000


class SvdppParams(Frozen):
    """Parameters of an SVD++ trial beside the trainer's; ``batch_size`` counts users.

    Attributes:
        penalty: L2 penalty of biases and factors, per rating.
        negatives: Items not had per rating; 0 learns the ratings themselves.
        validation: Share of the ratings, drawn, that says when to stop (with ``negatives``, the
            newest items of some users do).
    """

    model: str = KIND
    factors: int = 100
    penalty: float = 0.03
    negatives: int = 0
    validation: float = 0.02


class Batch(NamedTuple):
    """Ratings of some whole users.

    Attributes:
        users: Shape (b,), user numbers.
        had: Shape (sum of lengths,), what they had, user after user.
        lengths: Shape (b,), at least 1.
        row: Shape (n,), which of ``users`` a rating is of.
        items: Shape (n,).
        ratings: Shape (n,).
        own: Shape (n,); whether the item is among what its user had.
    """

    users: Tensor
    had: Tensor
    lengths: Tensor
    row: Tensor
    items: Tensor
    ratings: Tensor
    own: Tensor


class SvdppModule(nn.Module):
    """The parameters; names as in the paper."""

    def __init__(self, users: int, items: int, factors: int, mean: float) -> None:
        super().__init__()
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(mean))
        self.bu, self.bi = nn.Parameter(torch.zeros(users)), nn.Parameter(torch.zeros(items))
        self.p = nn.Parameter(torch.randn(users, factors) * 0.1 / factors**0.5)
        self.q = nn.Parameter(torch.randn(items, factors) * 0.1 / factors**0.5)
        self.y = nn.Parameter(torch.randn(items, factors) * 0.1 / factors**0.5)

    def forward(self, batch: Batch, leave_out: bool) -> Tensor:
        """Predicted ratings, shape (n,); ``leave_out`` leaves an item out of its own user."""
        starts = functional.pad(batch.lengths.cumsum(0)[:-1], (1, 0))
        sums = functional.embedding_bag(batch.had, self.y, starts, mode="sum")
        sums, lengths, q = sums[batch.row], batch.lengths[batch.row], self.q[batch.items]
        if leave_out:
            own = batch.own.to(sums.dtype)
            sums = sums - own[:, None] * self.y[batch.items]
            lengths = (lengths - own).clamp(min=1)
        user = self.p[batch.users][batch.row] + sums / lengths.sqrt()[:, None]
        biases = self.bu[batch.users][batch.row] + self.bi[batch.items]
        found: Tensor = self.mean + biases + (q * user).sum(1)
        return found

    def size(self, batch: Batch) -> Tensor:
        """Squared parameters behind the ratings, per rating (the sum that is penalised)."""
        counts = torch.bincount(batch.row, minlength=len(batch.users)).to(self.p.dtype)
        behind = torch.repeat_interleave(counts, batch.lengths)
        users = self.p[batch.users].square().sum(1) + self.bu[batch.users].square()
        items = self.q[batch.items].square().sum(1) + self.bi[batch.items].square()
        said = (self.y.square().sum(1)[batch.had] * behind).sum()
        return ((users * counts).sum() + items.sum() + said) / len(batch.items)


_ARRAYS = ("mean", "bu", "bi", "p", "q", "y")
#: Worth of a fitted scorer.
Judge = Callable[["Svdpp"], float]


@dataclass
class SvdppTask:
    """For ``models.core.trainer``.

    Attributes:
        pairs: What every user had in training, without what is held out.
        ratings: Shape (n,), beside ``pairs.items``.
        judge: What the fitted scorer is worth on what is held out; higher is better.
        negatives: See ``SvdppParams``, as ``penalty``.
    """

    module: SvdppModule
    pairs: Pairs
    ratings: Tensor
    judge: Judge
    negatives: int
    penalty: float
    batch_size: int

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """All users who rated something, shuffled."""
        users = self._users()
        order = users[torch.randperm(len(users), generator=generator)]
        for some in torch.split(order, self.batch_size):
            yield self._batch(some, generator)

    def batch_count(self) -> int:
        """Of one epoch."""
        return -(-len(self._users()) // self.batch_size)

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error and the penalty."""
        found = self.module(batch, leave_out=self.negatives > 0)
        error = (batch.ratings - found).square().mean()
        total: Tensor = error + self.penalty * self.module.size(batch)
        return total

    def validate(self) -> float:
        """See ``judge``."""
        return self.judge(Svdpp.of(arrays(self.module)))

    def _users(self) -> Tensor:
        return torch.nonzero(self.pairs.starts.diff())[:, 0]

    def _batch(self, users: Tensor, generator: torch.Generator) -> Batch:
        places, lengths = _places(self.pairs.starts, users)
        row = torch.repeat_interleave(torch.arange(len(users)), lengths)
        had, ratings = self.pairs.items[places], self.ratings[places]
        items, own = had, torch.ones(len(had), dtype=torch.bool)
        if count := self.negatives:
            drawn = self.pairs.negatives(users[row], count, generator).reshape(-1)
            items, row = torch.cat([had, drawn]), torch.cat([row, row.repeat_interleave(count)])
            own = torch.cat([own, torch.zeros(len(drawn), dtype=torch.bool)])
            ratings = own.float()
        return Batch(users, had, lengths, row, items, ratings, own)


def _places(starts: Tensor, users: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of some users' pairs, user after user, and how many each has."""
    lengths = starts[users + 1] - starts[users]
    first = lengths.cumsum(0) - lengths
    shift = torch.repeat_interleave(starts[users] - first, lengths)
    return torch.arange(int(lengths.sum())) + shift, lengths


@dataclass(frozen=True)
class Svdpp:
    """Fitted SVD++; arrays named as in the paper, ``mean`` of shape ()."""

    mean: Scores
    bu: Scores
    bi: Scores
    p: Scores
    q: Scores
    y: Scores
    liked_only: bool = False
    kind: str = KIND
    reads: Reads = ("user", "history")

    @classmethod
    def of(cls, parts: Mapping[str, Scores]) -> Svdpp:
        """From its arrays by name."""
        mean, bu, bi, p, q, y = (parts[name] for name in _ARRAYS)
        return cls(mean, bu, bi, p, q, y)

    def score(self, users: Numbers, histories: Sequence[Numbers]) -> Scores:
        """Predicted ratings, not cut to the scale; a user nobody knows is their history."""
        known = (users >= 0)[:, None]
        lengths = np.maximum([len(history) for history in histories], 1).astype(np.float32)
        said = (history_matrix(histories, len(self.y)) @ self.y) / np.sqrt(lengths)[:, None]
        factors = np.where(known, self.p[users], 0) + said
        level = self.mean + np.where(known, self.bu[users][:, None], 0)
        return np.asarray(factors @ self.q.T + self.bi + level, np.float32)

    def save(self, folder: Path) -> None:
        """See ``Scorer``."""
        write_scorer(folder, self, {name: getattr(self, name) for name in _ARRAYS})


def fit(trial: Trial, rows: Interactions, context: FitContext) -> Svdpp:
    """Train until what is held out gets worse; a pair rated twice has its mean rating."""
    params, config = settings(
        SvdppParams, trial, batch_size=16, learning_rate=0.001, weight_decay=0.0, clip_norm=None,
        max_epochs=60, patience=4, plateau_patience=1,
    )  # fmt: skip
    made = _had_or_not(rows, trial.seed) if params.negatives else _rated(rows, params, trial.seed)
    kept, judge = made
    torch.manual_seed(trial.seed)
    mean = float(kept.data.mean()) / (1 + params.negatives)
    task = SvdppTask(
        module=SvdppModule(*kept.shape, params.factors, mean),
        pairs=Pairs.of(kept),
        ratings=torch.from_numpy(kept.data),
        judge=judge,
        negatives=params.negatives,
        penalty=params.penalty,
        batch_size=config.batch_size,
    )
    train(task, config, context)
    return Svdpp.of(arrays(task.module))


def _had_or_not(rows: Interactions, seed: int) -> tuple[sp.csr_array, Judge]:
    """Pairs to train on, and ndcg of the newest item of some users."""
    kept, _, validation = hold_out(rows, liked_only=False, users=_ASKED, seed=seed)
    return kept, lambda fitted: validation.ndcg(
        lambda users, histories: torch.from_numpy(fitted.score(users, histories))
    )


def _rated(rows: Interactions, params: SvdppParams, seed: int) -> tuple[sp.csr_array, Judge]:
    """Ratings to train on, and minus the root mean squared error of the others."""
    rated = positives(rows, liked_only=False)
    rated.data = _mean_ratings(rows)
    drawn = np.random.default_rng(seed).random(rated.nnz) < params.validation
    pairs = rated.tocoo()

    def part(chosen: NDArray[np.bool_]) -> sp.csr_array:
        ends = pairs.row[chosen], pairs.col[chosen]
        return sp.csr_array((pairs.data[chosen], ends), shape=rated.shape)

    kept, held = part(~drawn), part(drawn)
    return kept, lambda fitted: -rmse(fitted, kept, held)


def rmse(fitted: Svdpp, had: sp.csr_array, ratings: sp.csr_array) -> float:
    """Root mean squared error of ratings, from who had what in training; both (users, items)."""
    total = 0.0
    for start in range(0, ratings.shape[0], 512):
        users = np.arange(start, min(start + 512, ratings.shape[0]))
        histories = [had.indices[had.indptr[u] : had.indptr[u + 1]].astype(np.int64) for u in users]
        some = ratings[users].tocoo()
        found = fitted.score(users, histories)[some.row, some.col]
        total += float(np.square(found - some.data).sum())
    return float(np.sqrt(total / ratings.nnz))


def _mean_ratings(rows: Interactions) -> Scores:
    """Beside the data of ``positives``."""
    keys = rows.users * len(rows.catalogue.items) + rows.items
    _, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(place, rows.strengths) / counts, np.float32)


def load(folder: Path) -> Svdpp:
    """Load what ``save`` wrote."""
    _, parts = read_scorer(folder)
    return Svdpp.of(parts)
