"""Evidence on the mean of bounded differences that holds at every look: a test by betting.

Belongs here: e-values and confidence sequences from a histogram of differences. Does not belong
here: where the differences come from (``units``, ``fold``), what follows (``decide``).

A gambler who bets the share lambda on "the mean is above tau" multiplies the capital by
1 + lambda (d - tau) at each difference d. Where the mean is at most tau the capital is a
non-negative supermartingale, so it *ever* reaches 1/alpha with chance at most alpha (Ville 1939):
no plan of looks, no end, no variance is assumed. The mean over several bets is such a capital too
(Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by betting, JRSS B 86).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

import numpy as np

from models.contracts.learner import Matrix, Vector

#: Differences are kept as multiples of 1 / STEPS, from -1 to 1: a histogram is then the whole
#: state, in any order and from any number of writers.
STEPS = 16
GRID: Vector = np.arange(-STEPS, STEPS + 1) / STEPS
Side = Literal["above", "below"]

#: Bets: the largest leaves a quarter of the capital after the worst difference, each next one is
#: 2^(1/1.5) times smaller, down to one that suits means of a thousandth.
_LARGEST, _BETS = 0.75, 16
_SHRINK: Vector = 2.0 ** (-np.arange(_BETS) / 1.5)
#: For every mean m within [-1, 1] at once: 1 + lambda (d - m) >= 1/4 needs lambda <= 0.375.
_FOR_ALL_MEANS = 0.375
_HALVINGS = 24


def log_e(counts: Sequence[int], mean: float, side: Side) -> float:
    """Natural logarithm of the evidence against a mean on the harmless side of ``mean``.

    Args:
        counts: 33 counts on ``GRID``.
        mean: In (-1, 1).
        side: ``above``: against "the true mean is <= ``mean``". ``below``: against ">=".

    Returns:
        0 without any difference. Reaching log(1 / alpha) at any look rejects at level alpha.
    """
    return _log_mixture(_gains(mean, side), counts)


def interval(counts: Sequence[int], alpha: float) -> tuple[float, float]:
    """Confidence sequence of the mean: at all looks together it misses with chance <= ``alpha``.

    Args:
        counts: 33 counts on ``GRID``.
        alpha: Halved between both sides.

    Returns:
        Lowest and highest mean that is not rejected, within [-1, 1].
    """
    line = math.log(2 / alpha)

    def rejected(mean: float, side: Side) -> bool:
        return _log_mixture(_log_gains(_FOR_ALL_MEANS, mean, side), counts) >= line

    low, high = -1.0, 1.0
    if rejected(low, "above"):
        low = _border(lambda mean: rejected(mean, "above"), low, high)
    if rejected(high, "below"):
        high = _border(lambda mean: rejected(mean, "below"), high, low)
    return low, high


def mean(counts: Sequence[int]) -> float:
    """Mean difference; 0 without any."""
    total = sum(counts)
    return float(np.dot(GRID, counts) / total) if total else 0.0


def rounded(value: float, token: str) -> int:
    """Place of a difference on ``GRID``, rounded up or down at random so that its mean stays.

    Args:
        value: Within [-1, 1].
        token: Gives the random bits; the same token rounds the same value alike.

    Raises:
        ValueError: The value lies outside.
    """
    if not -1 <= value <= 1:
        raise ValueError(f"a difference lies within [-1, 1], not at {value}")
    exact = (value + 1) * STEPS
    place = int(exact)
    return place + (exact - place > uniform(token)) if exact > place else place


def uniform(token: str) -> float:
    """A number in [0, 1) that only depends on the token."""
    return int.from_bytes(blake2b(token.encode(), digest_size=8).digest()) / 2**64


def _border(rejected: Callable[[float], bool], outside: float, inside: float) -> float:
    """Where rejection ends; the last mean that is still rejected, so that the border is safe."""
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2
        if rejected(middle):
            outside = middle
        else:
            inside = middle
    return outside


@lru_cache(maxsize=64)
def _gains(mean: float, side: Side) -> Matrix:
    return _log_gains(_LARGEST / (1 + abs(mean)), mean, side)


def _log_gains(largest: float, mean: float, side: Side) -> Matrix:
    """Shape (bets, 33): what each difference adds to the logarithm of each bet's capital."""
    distance = GRID - mean if side == "above" else mean - GRID
    gains: Matrix = np.log1p(largest * np.outer(_SHRINK, distance))
    return gains


def _log_mixture(gains: Matrix, counts: Sequence[int]) -> float:
    capital = gains @ np.asarray(counts, dtype=np.float64)
    most = float(capital.max())
    return most + math.log(float(np.exp(capital - most).mean()))
