"""The rollback rule: who may be rolled back, and what proves that it must be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from models.contracts.product import Gate, Monitoring
from models.contracts.results import Estimate
from models.core.rollback import SameRows, Standing, barred, decide
from models.core.slices import Scores

NOW = datetime(2030, 5, 1, tzinfo=UTC)
GATE = Gate(metric="roc_auc", floor=0.75)
POLICY = Monitoring(min_rows=200, max_loss=0.25, fresh_hours=48, cooldown_hours=24)
FRESH = Standing("v2", "v1", NOW - timedelta(hours=5), None, NOW)


def scores(champion: float, previous: float, rows: int = 2000, rate: float = 0.3) -> Scores:
    """Labels and two models whose positives lie so many deviations higher."""
    generator = np.random.default_rng(1)
    labels = (generator.random(rows) < rate).astype(float)
    noise = generator.standard_normal((2, rows))
    mine, theirs = (1 / (1 + np.exp(-n - gap * labels)) for n, gap in
                    zip(noise, (champion, previous), strict=True))  # fmt: skip
    return Scores(labels, mine, theirs, (0.5, 0.5))


def estimates(champion: float, previous: float) -> tuple[Estimate, Estimate]:
    mine, theirs = (Estimate(value=v, low=v - 0.02, high=v + 0.02) for v in (champion, previous))
    return mine, theirs


NO_OUTCOMES = scores(1, 1, rows=0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"previous": None}, "no release before"),
        ({"released_at": None}, "came by a rollback"),
        ({"released_at": NOW - timedelta(hours=48)}, "no longer fresh"),
        ({"last_rollback_at": NOW - timedelta(hours=23)}, "again not before 2030-05-01 01:00 UTC"),
    ],
)
def test_who_is_barred_stays_however_bad(change: dict[str, object], reason: str) -> None:
    standing = FRESH._replace(**change)
    assert reason in (barred(standing, POLICY) or "")
    decision = decide(standing, GATE, POLICY, SameRows(2000, scores(0, 3), estimates(0.5, 0.9)))
    assert not decision.roll_back
    assert decision.basis == "none"
    assert reason in decision.reason


def test_a_rollback_of_long_ago_bars_nobody() -> None:
    assert barred(FRESH._replace(last_rollback_at=NOW - timedelta(hours=24)), POLICY) is None


def test_a_worse_champion_goes_back_on_outcomes() -> None:
    decision = decide(FRESH, GATE, POLICY, SameRows(2000, scores(1.0, 2.5), None))
    assert decision.roll_back
    assert decision.basis == "realised"
    assert decision.champion_value is not None
    assert decision.previous_value is not None
    assert decision.champion_value.value < decision.previous_value.value
    assert "ROC-AUC of v2 (before it v1)" in decision.reason
    assert "provably more than 25% above" in decision.reason


@pytest.mark.parametrize("champion", [2.5, 2.3, 3.5])
def test_an_equal_slightly_worse_or_better_champion_stays(champion: float) -> None:
    decision = decide(FRESH, GATE, POLICY, SameRows(2000, scores(champion, 2.5), None))
    assert not decision.roll_back
    assert "is not provably more than 25% above" in decision.reason


def test_lower_is_better_is_understood() -> None:
    gate = Gate(metric="brier", floor=0.3)
    assert decide(FRESH, gate, POLICY, SameRows(2000, scores(0.2, 3.0), None)).roll_back
    assert not decide(FRESH, gate, POLICY, SameRows(2000, scores(3.0, 0.2), None)).roll_back
    worse = SameRows(2000, NO_OUTCOMES, estimates(0.3, 0.1))
    assert decide(FRESH, gate, POLICY, worse).roll_back


def test_outcomes_that_are_in_silence_the_estimate() -> None:
    same = SameRows(2000, scores(2.5, 2.5), estimates(0.5, 0.9))
    assert not decide(FRESH, GATE, POLICY, same).roll_back


def test_before_outcomes_the_estimates_must_be_apart() -> None:
    apart, touching = (
        decide(FRESH, GATE, POLICY, SameRows(500, NO_OUTCOMES, estimates(v, 0.9)))
        for v in (0.82, 0.84)  # of the previous release's worse end, 0.88, the policy leaves 0.85
    )
    assert apart.roll_back
    assert apart.basis == "estimated"
    assert "too few outcomes yet; on 500 rows" in apart.reason
    assert "is provably worse than 0.8500, which tolerates 25% more error" in apart.reason
    assert not touching.roll_back


def test_nothing_to_compare_on_keeps_the_champion() -> None:
    few = decide(FRESH, GATE, POLICY, SameRows(199, NO_OUTCOMES, estimates(0.5, 0.9)))
    assert few.reason == "199 rows of the champion's traffic, 200 are needed"
    none = decide(FRESH, GATE, POLICY, SameRows(500, NO_OUTCOMES, None))
    assert "no label-free estimate" in none.reason
    assert not few.roll_back
    assert not none.roll_back
    nan = Estimate(value=np.nan, low=np.nan, high=np.nan)
    blank = decide(FRESH, GATE, POLICY, SameRows(500, NO_OUTCOMES, (nan, nan)))
    assert not blank.roll_back
