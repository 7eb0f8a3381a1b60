"""What the gauges say of rollouts under way, read from ledgers and tallies; decides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from models.contracts.product import ModelProduct
from models.contracts.rollout import RolloutPlan, RolloutStep, Tally
from models.core.rollouts.decide import evidence
from orchestration.gauges import RolloutGauge
from stores.home import Home
from stores.ledger import Ledger
from stores.rollout_journal import load_tally

_UNDER_WAY = ("starting", "running")


def rollouts(home: Home, products: Sequence[ModelProduct]) -> list[RolloutGauge]:
    """The rollouts of these products that are under way."""
    found = []
    for product in products:
        ledger = Ledger(home.ledger(product))
        step = ledger.rollout_step()
        if step is None or step.phase not in _UNDER_WAY:
            continue
        tally = load_tally(home, product, step.rollout_id)
        found.append(_gauge(product, step, _plan(ledger, step.rollout_id), tally))
    return found


def _plan(ledger: Ledger, rollout_id: str) -> RolloutPlan:
    """What step 0 declared."""
    entries = ledger.rollout_entries(rollout_id)
    steps = (RolloutStep.model_validate(entry.body) for entry in entries)
    return next(step.plan for step in steps if step.plan is not None)


def _gauge(
    product: ModelProduct, step: RolloutStep, plan: RolloutPlan, tally: Tally
) -> RolloutGauge:
    line = math.log(len(plan.limits) / plan.alpha)
    stage = tally.stage
    known = stage.weight == step.weight and stage.units > 0
    return RolloutGauge(
        product.key,
        step.weight,
        stage.challenger / stage.units if known else None,
        {one.rule: one.abort_e / line for one in evidence(plan, tally)},
    )
