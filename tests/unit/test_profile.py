"""The reference profile of a holdout."""

import numpy as np
import pytest

from models.contracts.monitoring import ReferenceProfile
from models.contracts.results import Estimate
from models.core.drift_effect import effect, effects
from models.core.profile import build_profile, periods


def profile(rows=1_000, names=("a", "b")):
    generator = np.random.default_rng(0)
    scores = generator.random(rows)
    labels = (generator.random(rows) < scores).astype(float)
    inputs = generator.standard_normal((rows, 2))
    inputs[:100, 1] = np.nan
    times = np.datetime64("2020-01-01") + np.arange(rows).astype("timedelta64[h]")
    promised = {"roc_auc": Estimate(value=0.8, low=0.7, high=0.9)}
    made = build_profile(
        "risk/x", "e1", "c1", inputs, names, scores, labels, times, promised, 0.4
    )  # fmt: skip
    return made, inputs, scores


def test_a_holdout_does_not_drift_from_its_own_profile_and_survives_json():
    made, inputs, scores = profile()
    assert ReferenceProfile.model_validate_json(made.model_dump_json()) == made
    assert [one.effect for one in effects(made.inputs, made.rows, inputs, 0.1)] == [0, 0]
    assert effect(made.score, made.rows, scores, 0.1).effect == 0
    assert effect(made.score, made.rows, scores / 2, 0.1).drifted
    assert made.inputs[1].shares[-1] == pytest.approx(0.1)
    assert made.recalibration.slope == pytest.approx(1, abs=0.25)
    assert (made.rows, made.threshold, made.promised["roc_auc"].value) == (1_000, 0.4, 0.8)


def test_periods_are_equal_and_follow_time_whatever_the_order_of_rows():
    times = np.datetime64("2020-01-01") + np.arange(1_000).astype("timedelta64[h]")
    shuffled = np.random.default_rng(1).permutation(1_000)
    found = periods(times[shuffled])
    np.testing.assert_array_equal(found, shuffled // 100)
    assert set(periods(times[:199])) == {0}
    assert periods(np.repeat(times, 10)).max() == 23


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(1000, 2\) are not 1000 rows x 3 names"):
        profile(names=("a", "b", "c"))
