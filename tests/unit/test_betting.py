"""The betting test: fair under the null, never early in the long run, exact borders."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from models.core.rollouts.betting import GRID, interval, log_e, mean, rounded


def counts(**differences: int) -> list[int]:
    """Counts by sixteenths: ``p16=3`` is three differences of 1, ``m8=1`` one of -1/2."""
    found = [0] * 33
    for name, times in differences.items():
        found[16 + int(name[1:]) * (1 if name[0] == "p" else -1)] = times
    return found


def test_one_difference_by_hand() -> None:
    # lambda_j = 0.75 r^j, r = 2^(-2/3): the mean over 16 bets is a geometric sum
    ratio = 2 ** (-2 / 3)
    bets = 0.75 * (1 - ratio**16) / (1 - ratio) / 16
    assert bets == pytest.approx(0.12660, abs=1e-5)
    assert log_e(counts(p16=1), 0.0, "above") == pytest.approx(math.log(1 + bets))
    assert log_e(counts(m16=1), 0.0, "above") == pytest.approx(math.log(1 - bets))
    assert log_e(counts(m16=1), 0.0, "below") == pytest.approx(math.log(1 + bets))
    # about another mean: (1 - 0.05) / 1.05 of that bet wins, and the largest bet keeps a quarter
    assert log_e(counts(p16=1), 0.05, "above") == pytest.approx(math.log(1 + bets * 0.95 / 1.05))


def test_nothing_seen_is_no_evidence_and_zeros_say_nothing_about_zero() -> None:
    assert log_e(counts(), 0.1, "above") == 0
    assert log_e(counts(p0=500), 0.0, "above") == 0
    assert log_e(counts(p0=2000), 0.005, "below") > math.log(20)


@pytest.mark.parametrize("side", ["above", "below"])
@pytest.mark.parametrize("drawn", [{1.0: 0.25, -0.5: 0.5, 0.0: 0.25}, {1.0: 0.1, 0.0: 0.9}])
def test_a_fair_game_stays_fair(drawn: dict[float, float], side: str) -> None:
    """At its own mean the expected capital is 1 after any number of differences."""
    centre = sum(value * chance for value, chance in drawn.items())
    expected = 0.0
    for draws in product(drawn, repeat=3):
        places = np.bincount([round((value + 1) * 16) for value in draws], minlength=33)
        chance = math.prod(drawn[value] for value in draws)
        expected += chance * math.exp(log_e(places.tolist(), centre, side))  # type: ignore[arg-type]
    assert expected == pytest.approx(1)


def test_looking_always_rejects_a_true_null_seldom() -> None:
    """Ville: over all looks together at most alpha; looked at after every 10 of 1,000."""
    generator = np.random.default_rng(5)
    line, ever = math.log(1 / 0.05), 0
    for _ in range(300):
        places = generator.choice([0, 16, 32], size=1000, p=[0.1, 0.8, 0.1])
        steps = np.cumsum(places[:, None] == np.arange(33), axis=0)[9::10]
        ever += any(log_e(list(row), 0.0, "above") >= line for row in steps)
    assert ever <= 0.05 * 300 + 2 * math.sqrt(300 * 0.05 * 0.95)
    assert ever > 0, "a test that never rejects proves nothing"


def test_the_interval_ends_where_rejection_ends() -> None:
    seen = counts(p16=30, p0=950, m16=20)
    low, high = interval(seen, 0.05)
    assert low < mean(seen) == 0.01 < high

    def capital(about: float, sign: int) -> float:
        bets = 0.375 * 2 ** (-np.arange(16) / 1.5)
        gains = np.log1p(bets[:, None] * sign * (GRID - about)) @ np.array(seen)
        return float(np.exp(gains).mean())

    assert capital(low, 1) == pytest.approx(2 / 0.05, rel=1e-3)
    assert capital(high, -1) == pytest.approx(2 / 0.05, rel=1e-3)


def test_intervals_of_little_and_of_much() -> None:
    assert interval(counts(), 0.05) == (-1, 1)
    low, high = interval(counts(p0=1000), 0.05)
    assert low == pytest.approx(-high, abs=1e-6)
    # the largest bet alone, a 16th of the capital: (1 + 0.375 m)^1000 / 16 >= 40
    assert 0 < high <= (math.exp(math.log(640) / 1000) - 1) / 0.375 < 0.0173
    everything = interval(counts(p16=1000), 0.05)
    assert everything[1] == 1
    assert everything[0] > 0.95


def test_rounding_keeps_the_grid_and_the_mean() -> None:
    assert [rounded(value, "x") for value in (-1, -0.5, 0, 1 / 16, 1)] == [0, 8, 16, 17, 32]
    values = [GRID[rounded(0.3, f"q{number}")] for number in range(4000)]
    assert set(values) == {4 / 16, 5 / 16}
    assert np.mean(values) == pytest.approx(0.3, abs=0.002)
    assert rounded(0.3, "q7") == rounded(0.3, "q7")
    with pytest.raises(ValueError, match="lies within"):
        rounded(1.01, "x")
