"""Gauges of a rollout under way say what its ledger and its tally say."""

import math

from models.contracts.rollout import DEFAULT_LIMITS, RolloutPlan, RolloutStep, Stage, Tally
from models.risk.sync_conflict.product import PRODUCT
from orchestration.rollout_gauges import rollouts
from stores.home import Home
from stores.ledger import Ledger
from stores.rollout_journal import save_tally

PLAN = RolloutPlan()


def step(number: int, phase: str, **changed: object) -> RolloutStep:
    fields = {
        "rollout_id": "r20260101_000000", "number": number, "phase": phase, "kind": "canary",
        "champion": "v1", "challenger": "v2", "stage": 0, "weight": 0.25, "share": None, "units": 0,
        "reason": "", "by": "test",
    }  # fmt: skip
    return RolloutStep(**(fields | changed))


def written(home: Home, *steps: RolloutStep) -> None:
    ledger = Ledger(home.ledger(PRODUCT))
    for one in steps:
        ledger.append("rollout_step", one)


def test_nothing_is_said_before_a_rollout_and_after_it(tmp_path):
    home = Home(tmp_path)
    assert rollouts(home, [PRODUCT]) == []
    written(home, step(0, "requested", plan=PLAN), step(1, "running"), step(2, "aborted"))
    assert rollouts(home, [PRODUCT]) == []


def test_before_the_first_unit_there_is_no_share_and_no_evidence(tmp_path):
    home = Home(tmp_path)
    written(home, step(0, "requested", plan=PLAN), step(1, "running"))
    (found,) = rollouts(home, [PRODUCT])
    assert (found.product, found.weight, found.share) == (PRODUCT.key, 0.25, None)
    assert dict(found.evidence) == {limit.rule: 0.0 for limit in DEFAULT_LIMITS}


def test_share_and_evidence_come_from_the_tally(tmp_path):
    """After 100 units of which all err and none did before, a bet of 0.75 of d = 1 each time.

    The e-value is the mean over 16 bets of (1 + bet) ** 100; the largest bet is 0.75 / 2 ** 0.
    """
    home = Home(tmp_path)
    written(home, step(0, "requested", plan=PLAN), step(1, "running"))
    counts = [0] * 33
    counts[32] = 100
    save_tally(home, PRODUCT, Tally(
        rollout_id="r20260101_000000", counts={"errors": tuple(counts)},
        stage=Stage(weight=0.25, units=400, challenger=96),
    ))  # fmt: skip
    (found,) = rollouts(home, [PRODUCT])
    assert found.share == 0.24
    bets = [0.75 * 2 ** (-j / 1.5) for j in range(16)]
    e_value = math.log(sum((1 + bet) ** 100 for bet in bets) / 16)
    assert math.isclose(found.evidence["errors"], e_value / math.log(5 / 0.05), rel_tol=1e-9)


def test_a_share_of_another_weight_is_not_told(tmp_path):
    home = Home(tmp_path)
    written(home, step(0, "requested", plan=PLAN), step(1, "running", weight=0.5))
    save_tally(home, PRODUCT, Tally(
        rollout_id="r20260101_000000", stage=Stage(weight=0.25, units=400, challenger=96),
    ))  # fmt: skip
    assert rollouts(home, [PRODUCT])[0].share is None
