"""The promotion gate: a pure function from two models' answers and a policy to a decision.

Belongs here: gathering the evidence of one decision. Does not belong here: the rule and its
sentences (``gate_rules``), the tests (``significance``, ``guardrails``, ``forms``), or writing,
moving and serving anything (the promotion stage does that).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from models.contracts.product import Gate
from models.contracts.results import FormResult, GateDecision, GuardrailResult, Scorecard
from models.core import evaluation, metrics
from models.core import guardrails as guarding
from models.core import slices as slicing
from models.core.forms import Form, choose, judge_forms
from models.core.gate_rules import (
    Case,
    first_verdict,
    noted_tests,
    over_budget,
    required_rows,
)
from models.core.slices import Units


class Paired(NamedTuple):
    """The same holdout units, answered by the challenger and by the champion.

    Attributes:
        units: Their answers; not ``paired`` when nothing serves yet.
        tenants: Shape (n,) of strings.
        slices: Name (``slice_*``) to shape (n,) booleans.
    """

    units: Units
    tenants: slicing.Names
    slices: Mapping[str, slicing.Mask]


def decide(
    product: str,
    gate: Gate,
    paired: Paired,
    challenger: Scorecard,
    champion: Scorecard | None,
    *,
    approved: bool = False,
    replicates: int = 2000,
    seed: int = 0,
    forms: Sequence[Form] = (),
) -> GateDecision:
    """Promote the challenger, keep the champion, or say that the data cannot tell.

    Whether the challenger is released is decided on its own answers. What then serves is the
    fastest of it and its forms that passed; the budgets are those of what serves.

    Args:
        product: Key of the product, for the record.
        gate: The policy.
        paired: Both models' answers to the same judged units.
        challenger: Its scorecard on those units: latency, size, calibration and measures.
        champion: The champion's scorecard; None when nothing serves yet.
        approved: Whether a named person has approved this challenger.
        replicates: Bootstrap resamples.
        seed: Seed of the resamples; the same arguments give the same decision.
        forms: Other forms of the challenger, judged on the same units.

    Returns:
        The outcome, one sentence of reason and its numbers; ``tests[0]`` is the one that decided.

    Raises:
        ValueError: Unfit units, scorecards of other units, or an unknown metric, measure or slice.
    """
    _check(gate, paired, challenger, champion)
    compared, harms = _gather(gate, paired, replicates, seed)
    guardrails = harms + _measured(gate, challenger, champion)
    judged = _forms(gate, forms, challenger, paired, (replicates, seed))
    fits = {c.candidate_id: not over_budget(gate, c) for c in (challenger, *(c for _, c in judged))}
    serving = choose(judged, challenger, fits)
    case = Case(gate, judged, serving, approved, paired.units, compared, guardrails)
    settings = {"approved": approved, "replicates": replicates, "seed": seed}
    return _record(product, case, challenger, champion, gate.model_dump(mode="json") | settings)


def _record(
    product: str,
    case: Case,
    challenger: Scorecard,
    champion: Scorecard | None,
    policy: dict[str, JsonValue],
) -> GateDecision:
    """What the rule says of the case, with every number behind it."""
    outcome, reason = first_verdict(case)
    return GateDecision(
        product=product,
        challenger=challenger.candidate_id,
        champion=champion.candidate_id if champion else None,
        outcome=outcome,
        reason=reason,
        metric=case.gate.metric,
        challenger_value=case.compared.challenger,
        champion_value=case.compared.champion,
        effect=case.compared.effect,
        tests=noted_tests(case) if champion else (),
        guardrails=case.guardrails,
        rows=case.rows,
        required_rows=required_rows(case),
        policy=policy,
        forms=tuple(result for result, _ in case.forms),
        serves=case.serving.candidate_id,
    )


def _check(gate: Gate, paired: Paired, challenger: Scorecard, champion: Scorecard | None) -> None:
    paired.units.check()
    rows = len(paired.units)
    if len(paired.tenants) != rows:
        raise ValueError(f"{len(paired.tenants)} tenants for {rows} rows")
    if paired.units.paired != (champion is not None):
        raise ValueError("give the champion's scores and its scorecard, or neither")
    for card in (challenger, champion):
        if card is not None and card.rows.get(slicing.OVERALL) != rows:
            raise ValueError(
                f"scorecard of {card.candidate_id} is over {card.rows.get(slicing.OVERALL)} rows, "
                f"the paired scores over {rows}; evaluate both on the same holdout"
            )
    named = {
        gate.metric,
        *(each.metric for each in gate.guardrails if not each.on_measure),
    }
    if untestable := named - (set(metrics.METRICS) - {"calibration_slope"}):
        raise ValueError(
            f"the gate cannot test {sorted(untestable)}; name metrics of models.core.metrics, "
            "measures as <examination>.<name>, and bound the calibration slope by "
            "max_calibration_error"
        )
    for each in gate.guardrails:
        if each.on_measure and each.slice != slicing.OVERALL:
            raise ValueError(f"the measure {each.metric} knows no slices; remove {each.slice!r}")


def _measured(
    gate: Gate, challenger: Scorecard, champion: Scorecard | None
) -> tuple[GuardrailResult, ...]:
    before = None if champion is None else champion.measures
    return tuple(
        guarding.judge_measure(each, challenger.measures, before)
        for each in gate.guardrails
        if each.on_measure
    )


def _gather(
    gate: Gate, paired: Paired, size: int, seed: int
) -> tuple[evaluation.Comparison, tuple[GuardrailResult, ...]]:
    units = paired.units
    available = slicing.masks(paired.tenants, paired.slices, units.primary)
    tested = [each for each in gate.guardrails if not each.on_measure]
    family = guarding.expand(tested, available)
    here = family.pop(slicing.OVERALL, [])
    wanted = {gate.metric, *(guardrail.metric for guardrail in here)}
    drawn = slicing.replicate(sorted(wanted), units, slicing.OVERALL, size, seed)
    harms = [guarding.harm(guardrail, slicing.OVERALL, units, drawn) for guardrail in here]
    for name, guardrails in family.items():
        harms += guarding.harms(guardrails, name, slicing.part(units, available, name), size, seed)
    compared = evaluation.compare(gate.metric, units, drawn, alpha=gate.alpha)
    return compared, guarding.judge_harms(harms, gate.alpha)


def _forms(
    gate: Gate,
    forms: Sequence[Form],
    challenger: Scorecard,
    paired: Paired,
    resampling: tuple[int, int],
) -> tuple[tuple[FormResult, Scorecard], ...]:
    """Each form's result and its scorecard."""
    size, seed = resampling
    results = judge_forms(
        gate, forms, challenger, paired.tenants, paired.slices, replicates=size, seed=seed
    )
    return tuple((result, form.card) for result, form in zip(results, forms, strict=True))
