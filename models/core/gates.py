"""The promotion gate: a pure function from paired per-row results and a policy to a decision.

Belongs here: the rule (docs/decisions/0003-the-gate.md) and the sentence that explains a decision.
Does not belong here: the tests themselves (``significance``), guardrail tests (``guardrails``), or
writing, moving and serving anything (the promotion stage does that).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from models.contracts.product import Gate, Guardrail
from models.contracts.results import GateDecision, GuardrailResult, Outcome, Scorecard, TestResult
from models.core import evaluation, metrics, power
from models.core import guardrails as guarding
from models.core import slices as slicing
from models.core.slices import Units

#: DeLong's test and the bootstrap are approximate: at a nominal 5 % they promoted 5.3 % of 12,000
#: simulated null challengers. ``alpha`` is a promise, so they are held to this share of it.
APPROXIMATE = 0.8


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


class _Case(NamedTuple):
    """Everything the rule looks at."""

    gate: Gate
    card: Scorecard
    approved: bool
    units: Units
    compared: evaluation.Comparison
    guardrails: tuple[GuardrailResult, ...]

    @property
    def rows(self) -> int:
        return len(self.units)

    @property
    def rarer(self) -> int:
        return self.units.scarcest

    @property
    def title(self) -> str:
        return metrics.METRICS[self.gate.metric].title

    @property
    def value(self) -> float:
        return self.compared.challenger.value

    @property
    def bound(self) -> float:
        """The end of the challenger's interval that the floor is held against."""
        higher = metrics.METRICS[self.gate.metric].higher_is_better
        return self.compared.challenger.low if higher else self.compared.challenger.high

    @property
    def level(self) -> float:
        """What the deciding p-value must be below."""
        exact = bool(self.compared.tests) and self.compared.tests[0].name == "mcnemar_exact"
        return self.gate.alpha if exact else APPROXIMATE * self.gate.alpha

    @property
    def detectable(self) -> float:
        return power.detectable_effect(self.compared.se, self.level, self.gate.power)


_Verdict = tuple[Outcome, str] | None


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
) -> GateDecision:
    """Promote the challenger, keep the champion, or say that the data cannot tell.

    Args:
        product: Key of the product, for the record.
        gate: The policy.
        paired: Both models' answers to the same judged units.
        challenger: Its scorecard on those units: latency, size, calibration and measures.
        champion: The champion's scorecard; None when nothing serves yet.
        approved: Whether a named person has approved this challenger.
        replicates: Bootstrap resamples.
        seed: Seed of the resamples; the same arguments give the same decision.

    Returns:
        The outcome, one sentence of reason and its numbers; ``tests[0]`` is the one that decided.

    Raises:
        ValueError: Unfit units, scorecards of other units, or an unknown metric, measure or slice.
    """
    _check(gate, paired, challenger, champion)
    compared, harms = _gather(gate, paired, replicates, seed)
    guardrails = harms + _measured(gate, challenger, champion)
    case = _Case(gate, challenger, approved, paired.units, compared, guardrails)
    outcome, reason = next(verdict for rule in _RULES if (verdict := rule(case)))
    return GateDecision(
        product=product,
        challenger=challenger.candidate_id,
        champion=champion.candidate_id if champion else None,
        outcome=outcome,
        reason=reason,
        metric=gate.metric,
        challenger_value=compared.challenger,
        champion_value=compared.champion,
        effect=compared.effect,
        tests=_noted(case) if champion else (),
        guardrails=guardrails,
        rows=case.rows,
        required_rows=_required_rows(case),
        policy=gate.model_dump(mode="json")
        | {"approved": approved, "replicates": replicates, "seed": seed},
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
    named = {gate.metric, *(each.metric for each in gate.guardrails if not _on_measure(each))}
    if untestable := named - (set(metrics.METRICS) - {"calibration_slope"}):
        raise ValueError(
            f"the gate cannot test {sorted(untestable)}; name metrics of models.core.metrics, "
            "measures as <examination>.<name>, and bound the calibration slope by "
            "max_calibration_error"
        )
    for each in gate.guardrails:
        if _on_measure(each) and each.slice != slicing.OVERALL:
            raise ValueError(f"the measure {each.metric} knows no slices; remove {each.slice!r}")


def _on_measure(guardrail: Guardrail) -> bool:
    return "." in guardrail.metric


def _measured(
    gate: Gate, challenger: Scorecard, champion: Scorecard | None
) -> tuple[GuardrailResult, ...]:
    before = None if champion is None else champion.measures
    return tuple(
        guarding.judge_measure(each, challenger.measures, before)
        for each in gate.guardrails
        if _on_measure(each)
    )


def _gather(
    gate: Gate, paired: Paired, size: int, seed: int
) -> tuple[evaluation.Comparison, tuple[GuardrailResult, ...]]:
    units = paired.units
    available = slicing.masks(paired.tenants, paired.slices, units.primary)
    tested = [each for each in gate.guardrails if not _on_measure(each)]
    family = guarding.expand(tested, available)
    here = family.pop(slicing.OVERALL, [])
    wanted = {gate.metric, *(guardrail.metric for guardrail in here)}
    drawn = slicing.replicate(sorted(wanted), units, slicing.OVERALL, size, seed)
    harms = [guarding.harm(guardrail, slicing.OVERALL, units, drawn) for guardrail in here]
    for name, guardrails in family.items():
        harms += guarding.harms(guardrails, name, slicing.part(units, available, name), size, seed)
    compared = evaluation.compare(gate.metric, units, drawn, alpha=gate.alpha)
    return compared, guarding.judge_harms(harms, gate.alpha)


def _noted(case: _Case) -> tuple[TestResult, ...]:
    """The tests, with what the rows can show written into the deciding one."""
    first, *others = case.compared.tests
    more = {"level": case.level, "minimum_detectable_effect": case.detectable}
    return (first.model_copy(update={"detail": first.detail | more}), *others)


def _required_rows(case: _Case) -> int | None:
    """Rows at which the policy's question is answered with the policy's power."""
    gate, compared = case.gate, case.compared
    if case.rarer < slicing.MIN_CLASS_ROWS:
        return -(-case.rows * slicing.MIN_CLASS_ROWS // case.rarer) if case.rarer else None
    if compared.effect is not None:
        return power.rows_needed(case.rows, compared.se, gate.min_effect, case.level, gate.power)
    margin = abs(case.value - gate.floor)
    if not margin or not slicing.misses(gate.metric, case.bound, gate.floor):
        return None
    se = abs(case.value - case.bound) / power.detectable_effect(1.0, gate.alpha, 0.5)
    return power.rows_needed(case.rows, se, margin, gate.alpha, gate.power)


def _worse(case: _Case) -> _Verdict:
    if (effect := case.compared.effect) is None or not effect.high < 0:
        return None
    return "keep", (
        f"The challenger is worse, its {case.title} error {-effect.value:.1%} higher than the "
        f"champion's ({-effect.high:.1%} to {-effect.low:.1%}): look for what changed in its data "
        "or trial."
    )


def _scarce(case: _Case) -> _Verdict:
    if case.rarer >= slicing.MIN_CLASS_ROWS:
        return None
    shown = f"Only {case.rarer} of {case.rows} judged rows are of the rarer class"
    if case.units.primary is None:
        shown = f"Only {case.rarer} {case.units.counted} are judged"
    return "too_few_data", f"{shown}, {slicing.MIN_CLASS_ROWS} are needed: {_wait(case)}."


def _failing(case: _Case) -> _Verdict:
    """What more rows would not mend: the floor missed by the value, guardrails, budgets."""
    gate, card, found = case.gate, case.card, list[str]()
    if slicing.misses(gate.metric, case.value, gate.floor):
        found.append(f"{case.title} {case.value:.4f} misses the floor {gate.floor:g}")
    found += [result.reason for result in case.guardrails if result.status == "violated"]
    if not card.latency_p95_ms <= gate.max_latency_ms:
        limit = f"{gate.max_latency_ms:g} ms"
        found.append(f"p95 latency {card.latency_p95_ms:.2f} ms is over its budget of {limit}")
    if not card.size_bytes <= gate.max_size_mb * 1e6:
        limit = f"{gate.max_size_mb:g} MB"
        found.append(f"the artifact has {card.size_bytes / 1e6:.1f} MB, over its budget of {limit}")
    if gate.max_calibration_error is not None:
        slope, limit = _slope(card), f"{gate.max_calibration_error:g}"
        if not metrics.error("calibration_slope", slope) <= gate.max_calibration_error:
            found.append(f"calibration slope {slope:.2f} is further than {limit} from 1")
    return ("keep", f"Not released: {'; '.join(found)}; mend this first.") if found else None


def _slope(card: Scorecard) -> float:
    slope = card.metrics.get(slicing.OVERALL, {}).get("calibration_slope")
    return slope.value if slope else np.nan


def _floor_unsure(case: _Case) -> _Verdict:
    if not slicing.misses(case.gate.metric, case.bound, case.gate.floor):
        return None
    return "too_few_data", (
        f"{case.title} {case.value:.4f} meets the floor {case.gate.floor:g} but its one-sided "
        f"bound {case.bound:.4f} does not: {_wait(case)}."
    )


def _not_enough(case: _Case) -> _Verdict:
    """The gain is not shown, or is shown and not worth a release."""
    compared, least = case.compared, f"{case.gate.min_effect:.1%}"
    if compared.effect is None:
        return None
    if np.isnan(compared.effect.value):
        return "keep", f"The champion's {case.title} has no error here: judge on harder rows."
    if compared.effect.high < case.gate.min_effect:
        return "keep", f"{_gain(case)}: the wanted {least} are ruled out, try another trial."
    if compared.tests[0].p_value < case.level:
        return None
    shows = f"{case.rows:,} rows can show {case.detectable:.1%} or more"
    if case.detectable > case.gate.min_effect:
        return "too_few_data", f"{_gain(case)}: {shows}, wanted are {least}; {_wait(case)}."
    return "keep", f"{_gain(case)}: {shows} and show none, try another trial."


def _good(case: _Case) -> _Verdict:
    if case.compared.effect is None:
        shown = f"{case.title} {case.value:.4f}, one-sided bound {case.bound:.4f}, clears the floor"
    else:
        shown = _gain(case)
    shown = f"{shown}; every guardrail and budget holds"
    if case.gate.needs_approval and not case.approved:
        return "awaiting_approval", f"{shown}: a named person must approve it now."
    return "promote", f"{shown}."


def _gain(case: _Case) -> str:
    if (effect := case.compared.effect) is None:
        return ""
    return (
        f"The reduction of the {case.title} error is {effect.value:.1%} ({effect.low:.1%} to "
        f"{effect.high:.1%}, p = {case.compared.tests[0].p_value:.2g} at level {case.level:.2g})"
    )


def _wait(case: _Case) -> str:
    needed = _required_rows(case)
    return "judge on more rows" if needed is None else f"judge again at about {needed:,} rows"


#: The rule: the first that has something to say decides.
_RULES: tuple[Callable[[_Case], _Verdict], ...]
_RULES = (_worse, _scarce, _failing, _floor_unsure, _not_enough, _good)
