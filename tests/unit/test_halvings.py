"""The 5x2cv tests by hand: the formulas of Dietterich 1998 and Alpaydin 1999 on ten differences."""

import numpy as np
import pytest

from models.core import halvings

#: Means 3, 2, 2, 1, 2 (x 0.01), sums of squares about them 2, 2, 2, 2, 0 (x 0.0001).
DIFFERENCES = np.array([[2, 4], [1, 3], [3, 1], [0, 2], [2, 2]]) / 100


def test_the_t_test_by_hand():
    """t = 0.02 / sqrt(0.0008 / 5) = sqrt(2.5), between t(5) of 10 % (1.476) and 5 % (2.015)."""
    found = halvings.five_by_two_t(DIFFERENCES)
    assert found.statistic == pytest.approx(np.sqrt(2.5))
    assert 0.05 < found.p_value < 0.10
    assert found.detail["p_two_sided"] == pytest.approx(2 * found.p_value)
    assert found.detail["mean_difference"] == pytest.approx(0.02)
    assert found.high - found.effect == pytest.approx(2.015 * np.sqrt(0.00016), abs=1e-5)


def test_the_f_test_by_hand():
    """F = 0.0052 / (2 * 0.0008) = 3.25; tables: F(10, 5) is 3.30 at 10 %, 4.74 at 5 %."""
    found = halvings.combined_f(DIFFERENCES)
    assert found.statistic == pytest.approx(3.25)
    assert found.p_value == pytest.approx(0.10, abs=0.005)
    assert found.p_value > 0.10
    assert found.effect == pytest.approx(0.02)
    scaled = np.sqrt(4.735 / 3.25) * DIFFERENCES.mean()  # moving all by a constant keeps the spread
    more = DIFFERENCES + scaled
    assert halvings.combined_f(more).p_value < 0.05


def test_the_f_test_knows_no_direction_and_the_t_test_does():
    assert halvings.combined_f(-DIFFERENCES).p_value == halvings.combined_f(DIFFERENCES).p_value
    assert halvings.five_by_two_t(-DIFFERENCES).p_value == pytest.approx(
        1 - halvings.five_by_two_t(DIFFERENCES).p_value
    )


def test_the_same_model_twice_is_no_evidence():
    nothing = np.zeros((5, 2))
    assert halvings.five_by_two_t(nothing).p_value == 1.0
    assert halvings.combined_f(nothing).p_value == 1.0


@pytest.mark.parametrize("bad", [np.ones((5, 3)), np.full((5, 2), np.nan), np.ones(10)])
def test_other_shapes_are_refused(bad):
    with pytest.raises(ValueError, match="5 halvings x 2 halves"):
        halvings.combined_f(bad)
