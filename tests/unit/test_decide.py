"""The verdict on a rollout: order of reasons, levels, and whether the plan is what happens."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.contracts.rollout import Limit, RolloutPlan, RuleName, Stage, Tally
from models.core.rollouts.decide import Elapsed, decide, evidence, lift, required
from models.core.rollouts.enforce import Routes, Share, enforced, share, startable
from stores.reports import words
from tests.unit.rollout_sample import exposure, folded, step

PLAN = RolloutPlan(weights=(0.05, 0.5), min_units=100, min_seconds=30)
LATER = Elapsed(stage_seconds=60, hours=1)
LAST = step(stage=1, weight=0.5)


def tally(seen: int = 0, weight: float = 0.05, units: int | None = None,
          outcome: int | None = None, **differences: dict[int, int]) -> Tally:  # fmt: skip
    """Counts by rule and sixteenths; everything else calm."""
    counts: dict[RuleName, tuple[int, ...]] = {
        rule: tuple(places.get(place - 16, 0) for place in range(33))
        for rule, places in differences.items()
    }  # type: ignore[misc]
    return Tally(rollout_id="r1", counts=counts, units=seen if units is None else units,
                 stage=Stage(weight=weight, units=20 * seen, challenger=seen, seen=seen),
                 outcome_unit=outcome)  # fmt: skip


GOOD = {"errors": {0: 2000}, "latency": {0: 2000}, "estimated": {0: 2000}}


def test_nothing_yet_goes_on() -> None:
    verdict = decide(PLAN, step(), tally(), None, LATER)
    assert verdict == ("running", 0, 0.05, "", ())


def test_not_enforced_comes_first_and_harm_second() -> None:
    bad = tally(seen=500, errors={16: 300})
    assert decide(PLAN, step(), bad, "no gateway", LATER).reason == "not enforced: no gateway"
    verdict = decide(PLAN, step(), bad, None, LATER)
    assert (verdict.phase, verdict.weight) == ("aborted", 0)
    assert verdict.reason.startswith("errors: worse by 1.000 over 300 units")
    assert [evidence.rule for evidence in verdict.evidence] == [
        "errors", "latency", "disagreement", "estimated", "realised",
    ]  # fmt: skip


def test_a_dead_challenger_is_aborted_at_the_shared_level() -> None:
    # mean over 16 bets of (1 + lambda)^n against 5 / 0.05: the largest bet alone passes at 14, as
    # log(16 * 100) / log(1.75) = 13.2; with the others a little earlier
    first = next(
        n
        for n in range(1, 50)
        if decide(PLAN, step(), tally(errors={16: n}), None, LATER).phase == "aborted"
    )
    assert 11 <= first <= 14
    alone = PLAN.model_copy(update={"limits": (Limit(rule="errors", tolerance=0),)})
    assert decide(alone, step(), tally(errors={16: first - 1}), None, LATER).phase == "aborted"


def test_stages_pass_by_units_and_time() -> None:
    enough = tally(seen=100, **GOOD)
    assert decide(PLAN, step(), tally(seen=99, **GOOD), None, LATER).stage == 0
    assert decide(PLAN, step(), enough, None, Elapsed(29, 1)).stage == 0
    verdict = decide(PLAN, step(), enough, None, LATER)
    assert verdict[:3] == ("running", 1, 0.5)
    assert verdict.reason
    assert decide(PLAN, LAST, enough, None, LATER).phase == "running", "units of the stage before"


def test_proven_is_promoted_in_the_last_stage_only() -> None:
    good = tally(seen=100, weight=0.5, **GOOD)
    verdict = decide(PLAN, LAST, good, None, LATER)
    assert (verdict.phase, verdict.weight) == ("promoted", 0)
    report = PLAN.model_copy(update={"on_end": "report"})
    assert decide(report, LAST, good, None, LATER).phase == "inconclusive"
    # (1 + 0.746 * 0.005)^700 is 13.6, below 20
    few = tally(seen=100, weight=0.5, **GOOD | {"errors": {0: 700}})
    assert decide(PLAN, LAST, few, None, LATER).phase == "running"


@pytest.mark.parametrize(("units", "hours"), [(200_000, 1.0), (10, 72.0)])
def test_without_a_verdict_it_ends(units: int, hours: float) -> None:
    verdict = decide(PLAN, LAST, tally(seen=10, weight=0.5, units=units), None, Elapsed(60, hours))
    assert (verdict.phase, verdict.weight) == ("inconclusive", 0)
    assert "a person decides" in verdict.reason


def test_outcomes_are_required_while_they_come() -> None:
    assert required(PLAN, tally()) == ("errors", "latency", "estimated")
    assert required(PLAN, tally(units=1500, outcome=501))[2] == "realised"
    assert required(PLAN, tally(units=1501, outcome=501))[2] == "estimated"
    plan = PLAN.model_copy(update={"limits": (Limit(rule="errors", tolerance=0, margin=0.01),)})
    assert required(plan, tally()) == ("errors",)
    other = PLAN.model_copy(
        update={"limits": (Limit(rule="disagreement", tolerance=0.1, margin=0.2),)}
    )
    assert required(other, tally()) == ("disagreement",)
    assert required(RolloutPlan(require=("errors",)), tally()) == ("errors",)


def test_what_ended_is_not_decided_again() -> None:
    with pytest.raises(ValueError, match="aborted"):
        decide(PLAN, step(phase="aborted"), tally(), None, LATER)


def test_kinds_have_their_own_defaults() -> None:
    assert RolloutPlan().weights == (0.05, 0.25, 0.5)
    shadow = RolloutPlan(kind="shadow")
    assert (shadow.weights, shadow.mirror, shadow.on_end) == ((0.0,), 1.0, "report")
    ab = RolloutPlan(kind="ab")
    assert (ab.weights, ab.mirror, ab.on_end) == ((0.5,), 0.0, "promote")
    assert RolloutPlan.model_validate_json(shadow.model_dump_json()) == shadow


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": (0.5, 0.05)}, "must rise"),
        ({"weights": (1.0,)}, "lie in"),
        ({"kind": "shadow", "weights": (0.1,)}, "lie in"),
        ({"kind": "shadow", "mirror": 0}, "sees nothing"),
        ({"require": ("disagreement",)}, "cannot be proven"),
        ({"limits": (Limit(rule="errors", tolerance=0),) * 2}, "one limit per rule"),
        ({"limits": (Limit(rule="errors", tolerance=0),)}, "ever be proven"),
    ],
)
def test_plans_that_cannot_run(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RolloutPlan.model_validate(given)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Share(0.05, 0, 0, 0), None),
        (Share(0.05, 10_000, 500, 10_000), None),
        # 4.5 * sqrt(0.05 * 0.95 / 10,000) + 0.01 = 0.0198
        (Share(0.05, 10_000, 697, 10_000), None),
        (Share(0.05, 10_000, 699, 10_000), "answered 7.0% of 10,000, not 5.0%"),
        (Share(0.05, 10_000, 301, 10_000), "answered 3.0%"),
        (Share(0.05, 10_000, 699, 800), None),  # few heavy keys vary more
        (Share(0.05, 1_000, 200, 300), None),  # too few keys to say, and too early to complain
        (Share(0.05, 2_000, 0, 300), "300 keys cannot give a share of 5.0%: 400 are needed"),
        (Share(0.0, 100, 0, 3), None),
        (Share(0.0, 100, 2, 100), "not 0.0%"),
    ],
)
def test_the_share_must_be_the_weight(seen: Share, reason: str | None) -> None:
    found = enforced(seen, Routes())
    assert found is reason if reason is None else reason in (found or "")


def test_keys_count_by_their_weight() -> None:
    assert share(folded(*(exposure(n) for n in range(100)))) == Share(0.05, 100, 100, 100)
    two = folded(*(exposure(n, key=f"{n % 2:08x}00000000") for n in range(100)))
    # two keys of 50: the chance of a pair is 49/99, and 1 / (49/99 + 50/99/100) = 2.0
    assert share(two).keys == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("routes", "reason"),
    [
        (Routes(acknowledged=False), "no live gateway"),
        (Routes(behind=("g2",)), "g2"),
        (Routes(direct=3), "past the gateway"),
        (Routes(told=0.08), "the gateways count 8.0%"),
    ],
)
def test_ways_past_the_table_stop_it(routes: Routes, reason: str) -> None:
    assert reason in (enforced(Share(0.05, 10_000, 500, 10_000), routes) or "")


def test_counters_that_are_seconds_ahead_of_the_journal_contradict_nothing() -> None:
    # a quarter of 1,600 by chance: 4.5 deviations of 1,000 units are 6 points
    assert enforced(Share(0.25, 1_000, 250, 1_000), Routes(told=0.26)) is None
    assert "the gateways" in (enforced(Share(0.25, 1_000, 250, 1_000), Routes(told=0.33)) or "")


def test_when_it_may_start() -> None:
    assert startable(0.05, 400, Routes()) is None
    assert startable(0.05, None, Routes()) is None
    assert startable(0.0, 1, Routes()) is None
    assert "400 are needed" in (startable(0.05, 399, Routes()) or "")
    assert "golden" in (startable(0.05, 999, Routes(golden="row 3 differs")) or "")
    assert "no live gateway" in (startable(0.05, 999, Routes(acknowledged=False)) or "")


def test_the_lift_is_what_outcomes_say_the_other_way_around() -> None:
    found = lift(evidence(PLAN, tally(realised={0: 900, -16: 80, 16: 20})))
    assert found is not None
    assert found.value == pytest.approx(0.06)  # 80 won, 20 lost, of 1,000
    assert 0 < found.low < 0.06 < found.high < 0.12
    assert words.points(found).startswith("+6.0 [+")
    nothing = found.model_copy(update={"value": -0.0001})
    assert words.points(nothing).startswith("+0.0 [")


def test_without_outcomes_there_is_no_lift() -> None:
    assert lift(evidence(PLAN, tally(errors={0: 100}))) is None
    assert words.points(None) == words.MISSING
