"""Questions, histories and answers in numbers instead of ids, as a recommender works with them.

Field lists only; ids and files are ``recommender``'s.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.core.ranking.scorers import Numbers

#: Name of the answer for a user nobody knows anything of.
FALLBACK = "popularity"
_NONE: Numbers = np.empty(0, np.int64)


class Seen(NamedTuple):
    """Training histories, in time order within a user.

    Attributes:
        starts: Shape (u + 1,); user i has positions ``starts[i]`` to ``starts[i + 1]``.
        items: Shape (n,), item numbers.
        liked: Shape (n,).
    """

    starts: Numbers
    items: Numbers
    liked: NDArray[np.bool_]

    def of(self, user: int, liked_only: bool) -> Numbers:
        """Items of one user; none of the unknown user -1."""
        if user < 0:
            return _NONE
        part = slice(self.starts[user], self.starts[user + 1])
        return self.items[part][self.liked[part]] if liked_only else self.items[part]


class Asked(NamedTuple):
    """One question in numbers instead of ids.

    Attributes:
        user: -1 when unknown.
        since: Items since the fit.
        banned: Items that may not be answered, beside seen ones.
        only: When given, nothing else may.
        seen: Whether seen items may be answered.
        algorithm: Who is asked; who answers may be a fallback.
    """

    user: int
    k: int
    since: Numbers = _NONE
    banned: Numbers = _NONE
    only: Numbers | None = None
    seen: bool = False
    algorithm: str = FALLBACK


class Answer(NamedTuple):
    """Item numbers and scores, best first, and who answered."""

    items: Numbers
    scores: NDArray[np.float32]
    algorithm: str
