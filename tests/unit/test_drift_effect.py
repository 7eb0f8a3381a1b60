"""Drift as an effect size: blind to the number of rows, sharp on ties, nulls and unseen values."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from models.core import drift_effect
from models.core.drift_effect import effect, effects, histogram

NAN = float("nan")


def moved(reference, values, threshold=0.1):
    """Effect of ``values`` against the histogram of ``reference``."""
    reference = np.asarray(reference, float)
    found = histogram("column", reference)
    return effect(found, len(reference), np.asarray(values, float), threshold)


def nulls(rows, runs, seed=0):
    """Effects between samples of one population; the reference has 2,000 rows."""
    generator = np.random.default_rng(seed)
    draw = generator.standard_normal
    return np.array([moved(draw(2_000), draw(rows)).effect for _ in range(runs)])


@pytest.mark.parametrize(("rows", "runs", "false"), [
    (200, 300, 0.06), (500, 200, 0.01), (5_000, 100, 0.0), (100_000, 20, 0.0),
])  # fmt: skip
def test_without_drift_the_effect_is_small_whatever_the_rows(rows, runs, false):
    found = nulls(rows, runs)
    assert found.mean() < 0.03
    assert (found >= 0.1).mean() <= false


@pytest.mark.parametrize("shift", [0.3, 0.6])
def test_a_shift_has_the_same_effect_at_500_and_at_500_000_rows(shift):
    generator = np.random.default_rng(1)
    reference = histogram("column", generator.standard_normal(5_000))
    few, many = (
        np.mean([
            effect(reference, 5_000, shift + generator.standard_normal(rows), 0.1).effect
            for _ in range(runs)
        ])
        for rows, runs in ((500, 60), (500_000, 3))
    )  # fmt: skip
    assert few == pytest.approx(many, abs=0.012)
    assert many > 0.1


def test_without_the_correction_few_rows_would_look_like_drift():
    generator = np.random.default_rng(2)
    shares = [generator.multinomial(200, np.full(10, 0.1)) / 200 for _ in range(2)]
    assert jensenshannon(*shares, base=2) > drift_effect.distance(shares[0], 200, shares[1], 200)


def test_the_distance_is_scipys_when_rows_abound():
    before, now = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.1, 0.2, 0.3, 0.4])
    found = drift_effect.distance(before, 10**12, now, 10**12)
    assert found == pytest.approx(jensenshannon(before, now, base=2), abs=1e-9)
    apart = drift_effect.distance(np.array([1.0, 0.0]), 10**12, np.array([0.0, 1.0]), 10**12)
    assert apart == pytest.approx(1)


def test_a_constant_column():
    assert moved(np.full(500, 7.0), np.full(300, 7.0)).effect == 0
    for other in (6.999, 7.001):
        assert moved(np.full(500, 7.0), np.full(300, other)).effect > 0.99


def test_nulls_are_a_bin_of_their_own():
    everything, nothing = np.arange(500.0), np.full(500, NAN)
    assert moved(nothing, nothing).effect == 0
    assert moved(nothing, everything).effect > 0.99
    assert moved(everything, nothing).effect > 0.99
    assert histogram("column", np.r_[everything, nothing]).shares[-1] == 0.5


def test_zeros_that_become_ones_are_seen():
    reference = np.repeat([0.0, 1.0, 2.0], [900, 80, 20])
    assert moved(reference, np.repeat([0.0, 1.0, 2.0], [450, 40, 10])).effect == 0
    assert moved(reference, np.repeat([0.0, 1.0, 2.0], [700, 250, 50])).drifted
    mirrored = 2 - reference  # most rows at the top instead of the bottom
    assert moved(mirrored, 2 - np.repeat([0.0, 1.0, 2.0], [700, 250, 50])).drifted


def test_values_beyond_the_reference_are_seen():
    reference = np.random.default_rng(3).uniform(0, 1, 5_000)
    assert moved(reference, reference[:1_000]).effect < 0.03
    for shifted in (reference[:1_000] + 1, reference[:1_000] - 1, reference[:1_000] * 60):
        assert moved(reference, shifted).effect > 0.8
    counts = np.repeat([0.0, 1.0], [600, 400])
    assert moved(counts, np.repeat([0.0, -1.0], [600, 400])).drifted


def test_the_shares_of_a_reference_are_about_equal_and_sum_to_one():
    found = histogram("column", np.random.default_rng(4).standard_normal(1_000))
    assert len(found.edges) == 9
    assert sum(found.shares) == pytest.approx(1)
    np.testing.assert_allclose(found.shares[:10], 0.1, atol=0.002)


def test_a_matrix_is_its_columns():
    generator = np.random.default_rng(5)
    reference, rows = generator.standard_normal((800, 3)), generator.standard_normal((400, 3))
    rows[:, 1] += 1
    inputs = tuple(histogram(f"x{i}", reference[:, i]) for i in range(3))
    found = effects(inputs, 800, rows, 0.1)
    assert [one.name for one in found] == ["x0", "x1", "x2"]
    assert [one.drifted for one in found] == [False, True, False]
    assert found[1] == effect(inputs[1], 800, rows[:, 1], 0.1)


def test_rows_of_another_model_and_no_rows_are_refused():
    inputs = (histogram("column", np.arange(9.0)),)
    with pytest.raises(ValueError, match=r"profile has 1 inputs, the rows have shape \(5, 2\)"):
        effects(inputs, 9, np.zeros((5, 2)), 0.1)
    with pytest.raises(ValueError, match="'column' has no rows to compare"):
        effects(inputs, 9, np.zeros((0, 1)), 0.1)
