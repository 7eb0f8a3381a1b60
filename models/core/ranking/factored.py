"""Scores to pick from, and scorers that are a product of factors: those need not score everything.

Belongs here: what such scorers share, and when their scores are estimated first. Does not belong
here: how (``screen``), the factors themselves (``ials``, ``content``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

from models.core.ranking.scorers import Numbers, Scorer, Scores
from models.core.ranking.screen import Screen, products
from models.core.ranking.top import top

#: Numbers in a table from which on a first look pays: 16 MiB, as much as processors keep near.
_LARGE = 1 << 22


class Scored(Protocol):
    """Scores of some users, to pick from."""

    @property
    def scores(self) -> Scores:
        """Shape (b, m); what may not be picked is made ``-inf`` in it."""
        ...

    def best(self, row: int, k: int, /) -> tuple[Numbers, Scores]:
        """Item numbers and scores of the k best of one user; see ``top``."""
        ...


class Plain(NamedTuple):
    """Scores as a scorer gives them."""

    scores: Scores

    def best(self, row: int, k: int) -> tuple[Numbers, Scores]:
        """See ``Scored``."""
        scores = self.scores[row]
        best = top(scores, k)
        return best, scores[best]


class Factored(ABC):
    """A scorer whose score is the product of a user's factors and an item's.

    Attributes:
        items: Shape (m, f).
    """

    items: Scores

    @abstractmethod
    def users(self, histories: Sequence[Numbers]) -> Scores:
        """Factors of whoever has these histories, shape (len(histories), f)."""

    @abstractmethod
    def parts(self, history: Numbers) -> Scores:
        """What each place of a history adds to the factors, shape (len(history), f); their sum."""

    @cached_property
    def screen(self) -> Screen:
        """For a first look, made at the first query."""
        return Screen(self.items)

    def score(self, _: Numbers, histories: Sequence[Numbers]) -> Scores:
        """Product of users and items; see ``Scorer``.

        Each by itself: a product of matrices sums in an order of its own at every place and for
        every number of users, so that items of the same words change places with who else asks.
        """
        return products(self.items, self.users(histories)[:, None])


def scored(member: Scorer, users: Numbers, histories: Sequence[Numbers]) -> Scored:
    """What ``member.score`` gives, or estimates that pick the same."""
    if isinstance(member, Factored) and member.items.size >= _LARGE:
        return member.screen.estimates(member.users(histories))
    return Plain(member.score(users, histories))
