"""What becomes of a running rollout: abort, promote, next stage, no verdict, or go on. Pure.

Belongs here: the order of the reasons and the levels. Does not belong here: evidence of one rule
(``betting``), whether the plan is what happens (``enforce``), doing it (the controller).

Levels: the abort rules share ``alpha`` (union bound), so an equal challenger is ever aborted with
chance at most ``alpha``. A promotion needs every required rule at ``promote_alpha`` each, because
one true null suffices to stop it (intersection-union, Berger 1982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from models.contracts.results import Estimate
from models.contracts.rollout import (
    Evidence,
    Limit,
    RolloutPhase,
    RolloutPlan,
    RolloutStep,
    RuleName,
    Tally,
)
from models.core.rollouts import betting

#: An outcome within so many units means that outcomes come: the realised rule is required.
OUTCOME_UNITS = 1_000
#: How the reason begins when the plan is not what happens.
UNENFORCED = "not enforced"
_NOTHING = (0,) * len(betting.GRID)


class Elapsed(NamedTuple):
    """Time on the ledger's clock."""

    stage_seconds: float
    hours: float


class Verdict(NamedTuple):
    """Where the rollout goes; the step's own phase, stage and weight where it goes on as it is.

    Attributes:
        evidence: Of all rules, when something changes.
    """

    phase: RolloutPhase
    stage: int
    weight: float
    reason: str
    evidence: tuple[Evidence, ...]


def decide(
    plan: RolloutPlan, step: RolloutStep, tally: Tally, unenforced: str | None, elapsed: Elapsed
) -> Verdict:
    """The next arrow of a running rollout.

    Args:
        plan: Of the rollout.
        step: Its newest, ``running``.
        tally: Everything counted.
        unenforced: See ``enforce.enforced``.
        elapsed: Since the stage and the rollout began to run.

    Raises:
        ValueError: The rollout does not run.
    """
    if step.phase != "running":
        raise ValueError(f"{step.rollout_id} is {step.phase}: there is nothing to decide")
    if unenforced:
        return _end("aborted", f"{UNENFORCED}: {unenforced}", step, plan, tally)
    if harm := _harm(plan, tally):
        return _end("aborted", harm, step, plan, tally)
    settled = _settled(plan, step, tally, elapsed)
    if settled and step.stage + 1 < len(plan.weights):
        stage, weight = step.stage + 1, plan.weights[step.stage + 1]
        reason = f"stage {step.stage} is over without harm"
        return Verdict("running", stage, weight, reason, evidence(plan, tally))
    if settled and not _unproven(plan, tally):
        return _proven(plan, step, tally)
    if tally.units >= plan.max_units or elapsed.hours >= plan.max_hours:
        return _without(plan, step, tally, elapsed)
    return Verdict(step.phase, step.stage, step.weight, "", ())


def required(plan: RolloutPlan, tally: Tally) -> tuple[RuleName, ...]:
    """Rules that must be proven: the plan's, else errors, latency and one of quality.

    Quality is what really came of the requests while outcomes come, else the estimate of it. Of
    these the rules without a margin in the plan are left out; if none is left, all with one count.
    """
    if plan.require:
        return plan.require
    seen = tally.outcome_unit
    outcomes = seen is not None and tally.units - seen < OUTCOME_UNITS
    quality: RuleName = "realised" if outcomes else "estimated"
    provable = tuple(limit.rule for limit in plan.limits if limit.margin is not None)
    wanted = ("errors", "latency", quality)
    return tuple(rule for rule in provable if rule in wanted) or provable


def evidence(plan: RolloutPlan, tally: Tally) -> tuple[Evidence, ...]:
    """What is known of every rule, in the plan's order; intervals at level ``1 - alpha``."""
    return tuple(_evidence(limit, plan, tally) for limit in plan.limits)


def lift(found: Sequence[Evidence]) -> Estimate | None:
    """How much better the challenger is by what came of its answers; None without outcomes.

    In shares of requests: decided right, or of a ranking that something of it was taken. The
    interval holds at every look at once.
    """
    known = next((one for one in found if one.rule == "realised" and one.units), None)
    return Estimate(value=-known.mean, low=-known.high, high=-known.low) if known else None


def _evidence(limit: Limit, plan: RolloutPlan, tally: Tally) -> Evidence:
    counts = _counts(tally, limit.rule)
    low, high = betting.interval(counts, plan.alpha)
    margin = limit.margin
    return Evidence(
        rule=limit.rule,
        units=sum(counts),
        mean=betting.mean(counts),
        low=low,
        high=high,
        abort_e=betting.log_e(counts, limit.tolerance, "above"),
        promote_e=None if margin is None else betting.log_e(counts, margin, "below"),
    )


def _end(
    phase: RolloutPhase, reason: str, step: RolloutStep, plan: RolloutPlan, tally: Tally
) -> Verdict:
    """A promoted challenger has all traffic as the champion: the rollout's own weight ends at 0."""
    return Verdict(phase, step.stage, 0.0, reason, evidence(plan, tally))


def _proven(plan: RolloutPlan, step: RolloutStep, tally: Tally) -> Verdict:
    proven = f"provably not worse by {', '.join(required(plan, tally))}"
    if plan.on_end == "promote":
        return _end("promoted", proven, step, plan, tally)
    return _end("inconclusive", f"{proven}; a person decides", step, plan, tally)


def _without(plan: RolloutPlan, step: RolloutStep, tally: Tally, elapsed: Elapsed) -> Verdict:
    after = f"after {tally.units:,} units and {elapsed.hours:.1f} h"
    unproven = ", ".join(_unproven(plan, tally))
    missing = f"{unproven} unproven" if unproven else f"stage {step.stage} not over"
    reason = f"{after} no harm, but {missing}; a person decides"
    return _end("inconclusive", reason, step, plan, tally)


def _harm(plan: RolloutPlan, tally: Tally) -> str | None:
    """The first rule by which the challenger is provably worse than tolerated."""
    line = math.log(len(plan.limits) / plan.alpha)
    for limit in plan.limits:
        counts = _counts(tally, limit.rule)
        if betting.log_e(counts, limit.tolerance, "above") >= line:
            return (
                f"{limit.rule}: worse by {betting.mean(counts):.3f} over {sum(counts):,} units, "
                f"provably more than the tolerated {limit.tolerance:g}"
            )
    return None


def _unproven(plan: RolloutPlan, tally: Tally) -> tuple[RuleName, ...]:
    line = math.log(1 / plan.promote_alpha)
    margins = {limit.rule: limit.margin for limit in plan.limits if limit.margin is not None}
    return tuple(
        rule
        for rule in required(plan, tally)
        if betting.log_e(_counts(tally, rule), margins[rule], "below") < line
    )


def _settled(plan: RolloutPlan, step: RolloutStep, tally: Tally, elapsed: Elapsed) -> bool:
    """Whether the stage had its units and its time; units of the stage before do not count."""
    seen = tally.stage.seen if tally.stage.weight == step.weight else 0
    return seen >= plan.min_units and elapsed.stage_seconds >= plan.min_seconds


def _counts(tally: Tally, rule: RuleName) -> tuple[int, ...]:
    return tally.counts.get(rule, _NOTHING)
