"""The rules of the gate in their order, and the sentences that explain a decision. Pure.

Belongs here: what decides (docs/decisions/0003-the-gate.md, 0012 on forms). Does not belong here:
gathering the evidence (``gates``), the tests themselves (``significance``, ``guardrails``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from models.contracts.product import Gate
from models.contracts.results import FormResult, GuardrailResult, Outcome, Scorecard, TestResult
from models.core import evaluation, metrics, power
from models.core import slices as slicing
from models.core.slices import Units

#: DeLong's test and the bootstrap are approximate: at a nominal 5 % they promoted 5.3 % of 12,000
#: simulated null challengers. ``alpha`` is a promise, so they are held to this share of it.
APPROXIMATE = 0.8


class Case(NamedTuple):
    """Everything the rule looks at.

    Attributes:
        forms: Its other forms: what was said of each, and its scorecard.
        serving: Scorecard of what is released when the answer is yes: the challenger or a form.
    """

    gate: Gate
    forms: tuple[tuple[FormResult, Scorecard], ...]
    serving: Scorecard
    approved: bool
    units: Units
    compared: evaluation.Comparison
    guardrails: tuple[GuardrailResult, ...]

    @property
    def rows(self) -> int:
        """Judged units."""
        return len(self.units)

    @property
    def rarer(self) -> int:
        """Units of the rarer class, or users."""
        return self.units.scarcest

    @property
    def title(self) -> str:
        """The primary metric in words."""
        return metrics.METRICS[self.gate.metric].title

    @property
    def value(self) -> float:
        """The challenger's primary metric."""
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
        """Smallest true reduction that these units show with the policy's power."""
        return power.detectable_effect(self.compared.se, self.level, self.gate.power)


Verdict = tuple[Outcome, str] | None


def first_verdict(case: Case) -> tuple[Outcome, str]:
    """Outcome and reason of the first rule that has something to say."""
    return next(verdict for rule in _RULES if (verdict := rule(case)))


def noted_tests(case: Case) -> tuple[TestResult, ...]:
    """The tests against the champion, with what the rows can show written into the deciding one."""
    first, *others = case.compared.tests
    more = {"level": case.level, "minimum_detectable_effect": case.detectable}
    return (first.model_copy(update={"detail": first.detail | more}), *others)


def required_rows(case: Case) -> int | None:
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


def _worse(case: Case) -> Verdict:
    if (effect := case.compared.effect) is None or not effect.high < 0:
        return None
    return "keep", (
        f"The challenger is worse, its {case.title} error {-effect.value:.1%} higher than the "
        f"champion's ({-effect.high:.1%} to {-effect.low:.1%}): look for what changed in its data "
        "or trial."
    )


def _scarce(case: Case) -> Verdict:
    if case.rarer >= slicing.MIN_CLASS_ROWS:
        return None
    shown = f"Only {case.rarer} of {case.rows} judged rows are of the rarer class"
    if case.units.primary is None:
        shown = f"Only {case.rarer} {case.units.counted} are judged"
    return "too_few_data", f"{shown}, {slicing.MIN_CLASS_ROWS} are needed: {_wait(case)}."


def _failing(case: Case) -> Verdict:
    """What more rows would not mend: the floor missed by the value, guardrails, budgets."""
    gate, found = case.gate, list[str]()
    if slicing.misses(gate.metric, case.value, gate.floor):
        found.append(f"{case.title} {case.value:.4f} misses the floor {gate.floor:g}")
    found += [result.reason for result in case.guardrails if result.status == "violated"]
    if over := over_budget(gate, case.serving):
        # a form that keeps the budgets did not pass, or it would serve: say why
        kept = [result.reason for result, card in case.forms if not over_budget(gate, card)]
        found += over + kept
    return ("keep", f"Not released: {'; '.join(found)}; mend this first.") if found else None


def over_budget(gate: Gate, card: Scorecard) -> list[str]:
    """Which budgets a model breaks, one clause each: latency, size, calibration."""
    found = []
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
    return found


def _slope(card: Scorecard) -> float:
    slope = card.metrics.get(slicing.OVERALL, {}).get("calibration_slope")
    return slope.value if slope else np.nan


def _floor_unsure(case: Case) -> Verdict:
    if not slicing.misses(case.gate.metric, case.bound, case.gate.floor):
        return None
    return "too_few_data", (
        f"{case.title} {case.value:.4f} meets the floor {case.gate.floor:g} but its one-sided "
        f"bound {case.bound:.4f} does not: {_wait(case)}."
    )


def _not_enough(case: Case) -> Verdict:
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


def _good(case: Case) -> Verdict:
    if case.compared.effect is None:
        shown = f"{case.title} {case.value:.4f}, one-sided bound {case.bound:.4f}, clears the floor"
    else:
        shown = _gain(case)
    shown = f"{shown}; every guardrail and budget holds{_in_form(case)}"
    if case.gate.needs_approval and not case.approved:
        return "awaiting_approval", f"{shown}: a named person must approve it now."
    return "promote", f"{shown}."


def _in_form(case: Case) -> str:
    serving = case.serving.candidate_id
    named = [result for result, _ in case.forms if result.candidate == serving]
    return "".join(
        f"; it serves as {form.trial}, {form.speedup:.1f} times as fast" for form in named
    )


def _gain(case: Case) -> str:
    if (effect := case.compared.effect) is None:
        return ""
    return (
        f"The reduction of the {case.title} error is {effect.value:.1%} ({effect.low:.1%} to "
        f"{effect.high:.1%}, p = {case.compared.tests[0].p_value:.2g} at level {case.level:.2g})"
    )


def _wait(case: Case) -> str:
    needed = required_rows(case)
    return "judge on more rows" if needed is None else f"judge again at about {needed:,} rows"


#: The rule: the first that has something to say decides.
_RULES: tuple[Callable[[Case], Verdict], ...]
_RULES = (_worse, _scarce, _failing, _floor_unsure, _not_enough, _good)
