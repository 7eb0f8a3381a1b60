"""Other forms of a model (ONNX, INT8): may one serve in its original's place? Pure.

Belongs here: the test that a form is not inferior to its original, what it gains, and which of a
model's forms serves. Does not belong here: whether the original is released at all (``gates``),
making a form (a learner), the tests of harm (``guardrails``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
from pydantic import JsonValue
from scipy import stats

from models.contracts.product import Gate
from models.contracts.results import FormResult, Scorecard, TestResult
from models.core import bootstrap, guardrails, metrics, power, significance
from models.core import slices as slicing
from models.core.gate_rules import APPROXIMATE
from models.core.slices import Units


class Form(NamedTuple):
    """One form of the challenger.

    Attributes:
        card: Its scorecard.
        units: The judged units; ``challenger`` is the form, ``champion`` the model it was made of.
    """

    card: Scorecard
    units: Units


class _Test(NamedTuple):
    """One test of non-inferiority, before Holm's correction."""

    metric: str
    slice: str
    result: TestResult
    floors: tuple[float, ...]
    rows_needed: int | None


def judge_forms(
    gate: Gate,
    forms: Sequence[Form],
    original: Scorecard,
    tenants: slicing.Names,
    slices: Mapping[str, slicing.Mask],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[FormResult, ...]:
    """Say of each form whether it may serve in the original's place.

    It may when it is shown not to be inferior on the gate's metric overall and on every guardrail's
    metric and slice with enough rows, keeps every floor, and is faster (p95) or smaller. A form
    that cannot be told from its original because there are too few rows is not passed: not seeing a
    difference is no proof of its absence.

    Args:
        gate: Metric, margin (``form_margin``), level, guardrails.
        forms: The forms.
        original: Scorecard of the model they were made of.
        tenants: Shape (n,), owner of each unit.
        slices: Name (``slice_*``) to shape (n,) booleans.
        replicates: Bootstrap resamples per slice.
        seed: Seed of the resamples.

    Raises:
        ValueError: Units that cannot be judged, or without the original's answers.
    """
    found = []
    for form in forms:
        form.units.check()
        if not form.units.paired or len(form.units) != len(tenants):
            raise ValueError(
                f"form {form.card.trial!r} needs its own and its original's answers to all "
                f"{len(tenants)} judged units; give them as challenger and champion"
            )
        tests = _tests(gate, form, tenants, slices, replicates, seed)
        found.append(_result(gate, form, original, tests))
    return tuple(found)


def non_inferiority(
    name: str,
    form: float,
    original: float,
    pairs: bootstrap.PairedErrors,
    margin: float,
    *,
    alpha: float = 0.05,
) -> TestResult:
    """Test H0: the form's error is at least (1 + margin) times the original's.

    The distance to the margin is held against its paired-bootstrap standard error: the test of
    ``guardrails.harm`` with the hypotheses exchanged, so a lack of rows speaks against the form
    (a non-inferiority trial with a relative margin, as in Piaggio et al. 2012, CONSORT extension).

    Args:
        name: Metric, for the record.
        form: Its error on the units themselves.
        original: Error of its original.
        pairs: Errors of form and original on the same resamples.
        margin: Relative increase that counts as inferior.
        alpha: One-sided level of the interval.

    Returns:
        Effect: relative increase of the error with its percentile interval. Statistic: distance
        beyond the margin over its standard error, negative is good. p one-sided; 1.0 where the
        resamples do not define the errors.
    """
    excess = pairs.challenger - (1 + margin) * pairs.champion
    excess = excess[~np.isnan(excess)]
    se = float(excess.std(ddof=1)) if len(excess) > 1 else np.nan
    z = bootstrap.standardised(form - (1 + margin) * original, se)
    low, high = bootstrap.percentile_interval(-pairs.reduction, alpha)
    increase = bootstrap.relative_reduction(np.array(form), np.array(original))
    return TestResult(
        name="non_inferiority",
        statistic=z,
        p_value=1.0 if np.isnan(z) else float(stats.norm.cdf(z)),
        effect=-float(increase),
        low=low,
        high=high,
        detail={
            "effect_is": f"relative increase of the error of {name}",
            "margin": margin,
            "se": se / original if original > 0 else np.nan,
        },
    )


def choose(
    forms: Sequence[tuple[FormResult, Scorecard]], original: Scorecard, fits: Mapping[str, bool]
) -> Scorecard:
    """What serves: of the original and its passed forms within the budgets, the one of least p95.

    Of equals the form. With nothing within the budgets the original, which then breaks them: a form
    that is slower than its original serves only where the original may not.

    Args:
        forms: What was said of each form, and its scorecard.
        original: Scorecard of the model they were made of.
        fits: Candidate id to whether it keeps the budgets.
    """
    able = [card for result, card in forms if result.passed and fits[card.candidate_id]]
    if fits[original.candidate_id]:
        able.append(original)
    return min(able, key=lambda card: card.latency_p95_ms, default=original)


def _tests(  # noqa: PLR0917  what is judged, by which rule, on which resamples
    gate: Gate,
    form: Form,
    tenants: slicing.Names,
    slices: Mapping[str, slicing.Mask],
    size: int,
    seed: int,
) -> list[_Test]:
    """The primary metric overall first, then the guardrails' metrics slice by slice."""
    available = slicing.masks(tenants, slices, form.units.primary)
    ruled = [each for each in gate.guardrails if not each.on_measure]
    family: dict[str, dict[str, list[float]]] = {slicing.OVERALL: {gate.metric: [gate.floor]}}
    for name, rules in guardrails.expand(ruled, available).items():
        for rule in rules:
            floors = family.setdefault(name, {}).setdefault(rule.metric, [])
            floors += [] if rule.floor is None else [rule.floor]
    found = []
    for name, wanted in family.items():
        here = slicing.part(form.units, available, name)
        if here.scarcest < slicing.MIN_CLASS_ROWS and name != slicing.OVERALL:
            continue
        drawn = slicing.replicate(sorted(wanted), here, name, size, seed)
        found += [
            _test(gate, here, name, drawn, metric, tuple(floors))
            for metric, floors in wanted.items()
        ]
    return found


def _test(  # noqa: PLR0917  what is judged where, on which resamples, by which rule
    gate: Gate,
    units: Units,
    slice_name: str,
    drawn: slicing.Replicates,
    name: str,
    floors: tuple[float, ...],
) -> _Test:
    new, old = (metrics.error(name, units.value(name, champion=c)) for c in (False, True))
    result = non_inferiority(name, new, old, drawn.errors(name), gate.form_margin, alpha=gate.alpha)
    se, few = cast("float", result.detail["se"]), units.scarcest < slicing.MIN_CLASS_ROWS
    level = APPROXIMATE * gate.alpha
    needed = power.rows_needed(len(units), se, gate.form_margin, level, gate.power)
    noted: dict[str, JsonValue] = {"metric": name, "slice": slice_name, "rows": len(units)}
    noted |= {"value": units.value(name), "p_unadjusted": result.p_value}
    changes = {"detail": result.detail | noted, "p_value": 1.0 if few else result.p_value}
    return _Test(name, slice_name, result.model_copy(update=changes), floors, needed)


def _result(gate: Gate, form: Form, original: Scorecard, tests: Sequence[_Test]) -> FormResult:
    adjusted = significance.holm(np.array([test.result.p_value for test in tests]))
    tests = [
        test._replace(result=test.result.model_copy(update={"p_value": float(p)}))
        for test, p in zip(tests, adjusted, strict=True)
    ]
    card = form.card
    speedup = _ratio(original.latency_p95_ms, card.latency_p95_ms)
    ratio = _ratio(card.size_bytes, original.size_bytes)
    against = [reason for test in tests if (reason := _against(gate, form.units, test))]
    for rule in gate.guardrails:
        if rule.on_measure and rule.metric in card.measures:
            judged = guardrails.judge_measure(rule, card.measures, original.measures)
            against += [judged.reason] if judged.status == "violated" else []
    if not (speedup > 1 or ratio < 1):
        against.append(f"it is neither faster ({speedup:.2f} times) nor smaller ({ratio:.2f})")
    gains = f"{speedup:.2f} times as fast, {ratio:.2f} of the size"
    reason = f"Not released as {card.trial}: {'; '.join(against)}"
    if not against:
        worst = max(test.result.effect for test in tests)
        reason = (
            f"{card.trial} is not inferior in {len(tests)} tests (largest increase of an error "
            f"{worst:.1%}, margin {gate.form_margin:.1%}); {gains}"
        )
    return FormResult(
        candidate=card.candidate_id,
        trial=card.trial,
        passed=not against,
        reason=reason,
        tests=tuple(test.result for test in tests),
        speedup=speedup,
        size_ratio=ratio,
    )


def _ratio(part: float, whole: float) -> float:
    """Infinite where a clock or a folder says zero."""
    return part / whole if whole else float("inf")


def _against(gate: Gate, units: Units, test: _Test) -> str | None:
    """What one test says against the form, or nothing."""
    result, where = test.result, f"{metrics.METRICS[test.metric].title} on {test.slice}"
    value = cast("float", result.detail["value"])
    for floor in test.floors:
        if slicing.misses(test.metric, value, floor):
            return f"{where} is {value:.4f} and misses its floor {floor:g}"
    if result.p_value < APPROXIMATE * gate.alpha:
        return None
    change = (
        f"its error in {where} changes by {result.effect:+.1%} ({result.low:+.1%} to "
        f"{result.high:+.1%}), the margin is {gate.form_margin:.1%}"
    )
    if test.slice == slicing.OVERALL and units.scarcest < slicing.MIN_CLASS_ROWS:
        fewer = f"fewer than {slicing.MIN_CLASS_ROWS} {units.counted}"
        return f"{change}: too few rows to show it, {fewer}"
    if result.effect < gate.form_margin:
        needed = "" if test.rows_needed is None else f", about {test.rows_needed:,} could"
        return f"{change}: too few rows to show it (Holm p = {result.p_value:.2g}){needed}"
    return change
