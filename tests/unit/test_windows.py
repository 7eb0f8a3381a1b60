"""The verdict on a window: when it moved, when it hurts, and when it says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from models.contracts.monitoring import DriftEffect
from models.contracts.product import Gate, Monitoring
from models.contracts.results import Estimate
from models.core.windows import Evidence, bar, judge, regression

GATE = Gate(metric="roc_auc", floor=0.75)
POLICY = Monitoring(min_rows=100, drift_effect=0.1, drift_share=0.3, max_loss=0.25)


def estimate(value: float, spread: float = 0.01) -> Estimate:
    return Estimate(value=value, low=value - spread, high=value + spread)


def effects(*values: float) -> tuple[DriftEffect, ...]:
    return tuple(
        DriftEffect(name=f"x{i}", effect=value, drifted=value >= 0.1)
        for i, value in enumerate(values)
    )


CALM = Evidence(
    rows=500, drift=effects(*[0.01] * 10), score_drift=effects(0.02)[0],
    estimated=estimate(0.94), realised=None, outcomes=0,
)  # fmt: skip


def test_the_bar_tolerates_some_error_and_never_less_than_the_floor() -> None:
    assert bar("roc_auc", 0.96, 0.25) == pytest.approx(0.95)
    assert bar("roc_auc", 0.96, 0.25, 0.97) == 0.97
    assert bar("roc_auc", 0.70, 0.25, 0.75) == 0.75
    assert bar("brier", 0.08, 0.25) == pytest.approx(0.1)
    assert bar("brier", 0.08, 0.25, 0.09) == 0.09


def test_a_calm_window_is_as_promised() -> None:
    verdict = judge(GATE, POLICY, 0.95, CALM)
    assert verdict.judged
    assert not verdict.violated
    assert verdict.basis == "estimated"
    assert "0 of 10 inputs moved, 30% count as drift" in verdict.reason
    assert "is not provably worse than the tolerated 0.9375 (promised 0.9500)" in verdict.reason


def test_few_rows_judge_nothing_however_bad() -> None:
    verdict = judge(GATE, POLICY, 0.95, CALM._replace(rows=99, estimated=estimate(0.5)))
    assert not verdict.judged
    assert not verdict.violated
    assert verdict.reason == "99 predictions, 100 are needed to judge a window"


@pytest.mark.parametrize(("moved", "drifted"), [(2, False), (3, True)])
def test_inputs_drift_from_the_policys_share_on(moved: int, drifted: bool) -> None:
    seen = CALM._replace(drift=effects(*[0.2] * moved, *[0.0] * (10 - moved)))
    verdict = judge(GATE, POLICY, 0.95, seen)
    assert verdict.drifted is drifted
    assert not verdict.hurt
    assert f"{moved} of 10 inputs moved (x0 0.20, x1 0.20" in verdict.reason


def test_moved_scores_are_drift_without_any_inputs_logged() -> None:
    seen = CALM._replace(drift=(), score_drift=effects(0.3)[0])
    verdict = judge(GATE, POLICY, 0.95, seen)
    assert verdict.drifted
    assert "inputs not logged, scores moved by 0.30" in verdict.reason
    assert not judge(GATE, POLICY, 0.95, seen._replace(score_drift=None)).drifted


def test_it_hurts_only_when_the_whole_interval_is_below_the_bar() -> None:
    wide, narrow = (CALM._replace(estimated=estimate(0.90, s)) for s in (0.05, 0.02))
    assert not judge(GATE, POLICY, 0.95, wide).hurt
    verdict = judge(GATE, POLICY, 0.95, narrow)
    assert verdict.hurt
    assert "estimated ROC-AUC 0.9000 [0.8800, 0.9200] is provably worse than" in verdict.reason


def test_outcomes_overrule_the_estimate_once_there_are_enough() -> None:
    seen = CALM._replace(realised=estimate(0.80), outcomes=99)
    assert judge(GATE, POLICY, 0.95, seen).basis == "estimated"
    verdict = judge(GATE, POLICY, 0.95, seen._replace(outcomes=100))
    assert verdict.basis == "realised"
    assert verdict.hurt
    fine = seen._replace(outcomes=100, realised=estimate(0.95), estimated=estimate(0.5))
    assert not judge(GATE, POLICY, 0.95, fine).hurt


def test_the_floor_counts_when_the_promise_was_low() -> None:
    seen = CALM._replace(estimated=estimate(0.73))
    assert judge(GATE, POLICY, 0.76, seen).hurt, "tolerated would be 0.70, the floor is 0.75"


def test_lower_is_better_turns_everything_round() -> None:
    gate = Gate(metric="brier", floor=0.2)
    assert not judge(gate, POLICY, 0.08, CALM._replace(estimated=estimate(0.105))).hurt
    assert judge(gate, POLICY, 0.08, CALM._replace(estimated=estimate(0.12))).hurt


def test_what_is_unknown_does_not_hurt() -> None:
    nothing = judge(GATE, POLICY, 0.95, CALM._replace(estimated=None))
    assert (nothing.hurt, nothing.basis) == (False, "none")
    assert "neither measured nor estimated" in nothing.reason
    blank = Estimate(value=np.nan, low=np.nan, high=np.nan)
    assert not judge(GATE, POLICY, 0.95, CALM._replace(estimated=blank)).hurt


def test_a_regression_is_below_the_promise_not_below_the_floor() -> None:
    reason = regression(GATE, POLICY, "v1", 0.95, estimate(0.90))
    assert reason is not None
    assert "v1 promised ROC-AUC 0.9500 and shows 0.9000" in reason
    assert "tolerated 0.9375" in reason
    assert regression(GATE, POLICY, "v1", 0.95, estimate(0.93)) is None
    assert regression(GATE, POLICY, "v1", 0.70, estimate(0.68)) is None, "below the floor only"
