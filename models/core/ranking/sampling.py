"""Training pairs and negatives for rankers that learn from samples, drawn a whole block at a time.

A loop over samples costs more than the steps it feeds: here a block of users, positives and
negatives is a handful of array operations, and collisions with what a user had are drawn anew.

Belongs here: drawing, which interactions are held out to validate. Does not belong here: models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.contracts.learner import Interactions
from models.core.ranking.scorers import Numbers, positives

#: Positives drawn at once; bounds the memory of an epoch.
BLOCK = 1 << 18
#: A user who had nearly everything keeps a wrong negative after so many tries.
_TRIES = 20
#: Which interaction of a user validates: it has to be drawn as those that will be judged. A fit
#: stopped by the newest goes on for longer, as it learns what comes next, than one that has to
#: find any of a user's items (LightGCN on ML-100k: 0.34 against 0.43 ndcg@10 of items at random).
Held = Literal["newest", "random"]


@dataclass(frozen=True)
class Pairs:
    """What users had to do with, each pair once.

    Attributes:
        starts: Shape (u + 1,); user i has positions ``starts[i]`` to ``starts[i + 1]``.
        users: Shape (n,), rising.
        items: Shape (n,), rising within a user.
        keys: Shape (n,), ``user * m + item``: rising, so that a pair is found by bisection.
        size: Items of the catalogue, m.
    """

    starts: Tensor
    users: Tensor
    items: Tensor
    keys: Tensor
    size: int

    @classmethod
    def of(cls, matrix: sp.csr_array) -> Pairs:
        """The stored pairs of shape (users, items); column numbers sorted, no duplicates."""
        starts = torch.from_numpy(matrix.indptr.astype(np.int64))
        items = torch.from_numpy(matrix.indices.astype(np.int64))
        users = torch.repeat_interleave(torch.arange(matrix.shape[0]), starts.diff())
        return cls(starts, users, items, users * matrix.shape[1] + items, matrix.shape[1])

    def had(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether each user had the item; any shape."""
        asked = users * self.size + items
        found = torch.searchsorted(self.keys, asked).clamp_(max=len(self.keys) - 1)
        return self.keys[found] == asked

    def negatives(self, users: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Uniform items that the users never had, shape (len(users), count)."""
        drawn = torch.randint(self.size, (len(users) * count,), generator=generator)
        owners = users.repeat_interleave(count)
        wrong = torch.nonzero(self.had(owners, drawn))[:, 0]
        for _ in range(_TRIES):
            if not len(wrong):
                break
            drawn[wrong] = torch.randint(self.size, wrong.shape, generator=generator)
            wrong = wrong[self.had(owners[wrong], drawn[wrong])]
        return drawn.view(-1, count)

    def shuffled(
        self, negatives: int, batch: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every pair once, in random order, each beside fresh negatives.

        Yields:
            Users of shape (at most ``batch``,), and items of shape (b, 1 + negatives) with what the
            user had in the first column.
        """
        order = torch.randperm(len(self.users), generator=generator)
        for part in torch.split(order, max(1, BLOCK // batch) * batch):
            users = self.users[part]
            drawn = self.negatives(users, negatives, generator)
            items = torch.cat([self.items[part, None], drawn], dim=1)
            yield from zip(torch.split(users, batch), torch.split(items, batch), strict=True)

    def by_user(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Users drawn alike, however much they had, each with one of the items; shape (count,)."""
        lengths = self.starts.diff()
        active = torch.nonzero(lengths)[:, 0]
        users = active[torch.randint(len(active), (count,), generator=generator)]
        place = torch.rand(count, generator=generator, dtype=torch.float64) * lengths[users]
        return users, self.items[self.starts[users] + place.long()]


@dataclass(frozen=True)
class Validation:
    """One interaction of some users each, kept from training, and how high it is ranked.

    Attributes:
        users: Shape (v,).
        items: Shape (v,), the item to be found.
        histories: What else each had, in time order.
    """

    users: Numbers
    items: Numbers
    histories: tuple[Numbers, ...]

    def ndcg(self, score: Callable[[Numbers, Sequence[Numbers]], Tensor]) -> float:
        """Mean ndcg of the whole catalogue without what the user had.

        Not cut at ten: one item of each user is seldom among the first ten, and a fit stopped by so
        few hits stops by chance. An item that ties with others is ranked behind them, so that equal
        scores are no success.

        Args:
            score: As ``Scorer.score``, as a tensor.
        """
        total = 0.0
        for start in range(0, len(self.users), 256):
            part = slice(start, start + 256)
            scores = score(self.users[part], self.histories[part]).float().clone()
            wanted = torch.from_numpy(self.items[part]).to(scores.device)[:, None]
            own = scores.gather(1, wanted)
            for row, history in zip(scores, self.histories[part], strict=True):
                row[torch.from_numpy(history).to(scores.device)] = -torch.inf
            rank = (scores.scatter(1, wanted, -torch.inf) >= own).sum(1)
            total += float((1 / torch.log2(rank + 2.0)).sum())
        return total / len(self.users)


def hold_out(
    rows: Interactions, liked_only: bool, users: int, seed: int, held: Held = "newest"
) -> tuple[sp.csr_array, NDArray[np.bool_], Validation]:
    """Keep an item of some users from training.

    Few users lose one item each, so the model that is kept has still learned from nearly all.

    Args:
        rows: In time order.
        liked_only: Whether the others teach nothing.
        users: At most so many are asked; only those who had three items or more, and at most half.
        seed: Which users, and which of their items if it is random.
        held: Which item of a user.

    Returns:
        The pairs to train on as (users, items), which rows these are, and the validation.

    Raises:
        ValueError: Nobody had three items.
    """
    matrix = positives(rows, liked_only)
    able = np.flatnonzero(np.diff(matrix.indptr) >= 3)
    if not len(able):
        raise ValueError("no user had three items: nothing can be learned and validated, add data")
    count = min(users, max(1, len(able) // 2))
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.choice(able, count, replace=False))
    usable = rows.liked if liked_only else np.ones(len(rows.users), bool)
    places = np.flatnonzero(usable)
    last = _last(rows, places if held == "newest" else generator.permutation(places))[chosen]
    items = np.full(matrix.shape[0], -1, np.int64)
    items[chosen] = rows.items[last]
    kept = usable & (rows.items != items[rows.users])
    train = sp.csr_array(matrix.copy())
    train[chosen, items[chosen]] = 0.0
    train.eliminate_zeros()
    others = histories_of(rows, kept, chosen)
    return train, kept, Validation(chosen.astype(np.int64), items[chosen], others)


def histories_of(
    rows: Interactions, kept: NDArray[np.bool_], users: Numbers
) -> tuple[Numbers, ...]:
    """Items of the users' kept rows, in time order."""
    places = np.flatnonzero(kept)
    order = places[np.argsort(rows.users[places], kind="stable")]
    bounds = np.searchsorted(rows.users[order], np.stack([users, users + 1]))
    return tuple(rows.items[order[low:high]].astype(np.int64) for low, high in bounds.T)


def _last(rows: Interactions, places: NDArray[np.int64]) -> Numbers:
    """Each user's last row among ``places``, in their order; -1 without one."""
    last = np.full(len(rows.user_ids), -1, np.int64)
    last[rows.users[places]] = places  # the last assignment stands
    return last
