"""Guardrails: does a challenger do harm somewhere while its primary metric gets better?

Belongs here: which slice each guardrail looks at, the tests of one Holm family, the judgement of
measures. Does not belong here: the slices themselves (``slices``), the primary metric (``gates``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from models.contracts.product import Guardrail
from models.contracts.results import GuardrailResult, Measure
from models.core import bootstrap, metrics, significance
from models.core import slices as slicing
from models.core.slices import Units


class Harm(NamedTuple):
    """One guardrail in one slice, before Holm's correction."""

    guardrail: Guardrail
    slice: str
    challenger: float
    champion: float | None
    relative_loss: float | None
    p_value: float | None
    enough: bool
    counted: str = "rows of a class"


def expand(
    guardrails: Sequence[Guardrail], available: Mapping[str, slicing.Mask]
) -> dict[str, list[Guardrail]]:
    """Slice -> its guardrails; ``tenant`` stands for every tenant.

    Raises:
        ValueError: A guardrail names a slice that the rows do not have.
    """
    cases: dict[str, list[Guardrail]] = {}
    for guardrail in guardrails:
        names = [guardrail.slice]
        if guardrail.slice == slicing.TENANT:
            names = [name for name in available if name.startswith(f"{slicing.TENANT}=")]
        for name in names:
            if name not in available:
                raise ValueError(
                    f"guardrail on {guardrail.metric} names slice {name!r}, but the holdout has "
                    f"{sorted(available)}; correct the product's gate or add the column"
                )
            cases.setdefault(name, []).append(guardrail)
    return cases


def harms(
    guardrails: Sequence[Guardrail], slice_name: str, units: Units, size: int, seed: int
) -> list[Harm]:
    """All guardrails of one slice, tested on the same ``size`` resamples."""
    drawn = None
    if units.paired and units.scarcest >= slicing.MIN_CLASS_ROWS:
        names = sorted({guardrail.metric for guardrail in guardrails})
        drawn = slicing.replicate(names, units, slice_name, size, seed)
    return [harm(guardrail, slice_name, units, drawn) for guardrail in guardrails]


def harm(
    guardrail: Guardrail, slice_name: str, units: Units, drawn: slicing.Replicates | None
) -> Harm:
    """Test H0: the challenger's error is at most (1 + max_loss) times the champion's.

    The excess over the tolerance is held against its paired-bootstrap standard error. A share of
    resamples, as in the primary test, cannot tell 1e-4 from 1e-9, which Holm's correction over many
    tenants needs, and was liberal in small slices (docs/decisions/0003-the-gate.md).

    Args:
        guardrail: Metric and tolerance.
        slice_name: For the record.
        units: The slice's units.
        drawn: Both models' metrics on its resamples; None leaves the floor only.
    """
    name, enough = guardrail.metric, units.scarcest >= slicing.MIN_CLASS_ROWS
    challenger = units.value(name)
    case = Harm(guardrail, slice_name, challenger, None, None, None, enough, units.counted)
    if not units.paired:
        return case
    champion = units.value(name, champion=True)
    new, old = metrics.error(name, challenger), metrics.error(name, champion)
    loss = -float(bootstrap.relative_reduction(np.array(new), np.array(old)))
    p_value = None
    if drawn is not None and enough:
        p_value = excess_p(new, old, drawn.errors(name), 1 + guardrail.max_loss)
    relative = None if np.isnan(loss) else loss
    return case._replace(champion=champion, relative_loss=relative, p_value=p_value)


def excess_p(new: float, old: float, pairs: bootstrap.PairedErrors, tolerated: float) -> float:
    """One-sided p-value of H0: the first error is at most ``tolerated`` times the second.

    Args:
        new: First error on the units themselves.
        old: Second error on the units themselves.
        pairs: Both errors on resamples.
        tolerated: The factor.

    Returns:
        1.0 when fewer than two resamples define both errors.
    """
    excess = pairs.challenger - tolerated * pairs.champion
    excess = excess[~np.isnan(excess)]
    if len(excess) < 2:
        return 1.0
    z = bootstrap.standardised(new - tolerated * old, float(excess.std(ddof=1)))
    return float(stats.norm.sf(z))


def judge_harms(harms: Sequence[Harm], alpha: float) -> tuple[GuardrailResult, ...]:
    """Correct the family of harm tests with Holm and say of each whether it is violated."""
    tested = [i for i, case in enumerate(harms) if case.enough and case.p_value is not None]
    p_values = np.array([harms[i].p_value for i in tested], float)
    adjusted = dict(zip(tested, significance.holm(p_values).tolist(), strict=True))
    return tuple(_result(case, adjusted.get(i), alpha) for i, case in enumerate(harms))


def judge_measure(
    guardrail: Guardrail, challenger: Mapping[str, Measure], champion: Mapping[str, Measure] | None
) -> GuardrailResult:
    """A guardrail on a measure: its floor by the value, its tolerance by the ends of intervals.

    Violated when even the challenger's better end has more than (1 + max_loss) times the error of
    the champion's worse end. Of two estimates, whatever their correlation, the ends lie at least as
    far apart as the interval of the difference, so the chance to blame an equal model is at most
    that of one interval's miss (alpha); of two equally wide independent ones at 5 % it is 1 %. A
    measure without an interval is compared as it is. It is no member of the Holm family.

    The error of a measure is the value itself where lower is better. Where higher is better it is
    1 - value of a share, 1 / value of anything above 1. A negative error compares with nothing: the
    floor alone then counts, as it does when the champion has no such measure. NaN says that there
    were too few rows to measure: like a small slice it is reported, not judged.

    Args:
        guardrail: ``metric`` names the measure; its slice is ``overall``.
        challenger: Its measures.
        champion: The champion's; None without one.

    Raises:
        ValueError: The challenger has no such measure.
    """
    name, measure = guardrail.metric, challenger.get(guardrail.metric)
    if measure is None:
        raise ValueError(
            f"a guardrail names the measure {name!r}, but the scorecard has {sorted(challenger)}; "
            "correct the product's gate or examine the model for it"
        )
    before = (champion or {}).get(name)
    loss, excess = _measured_loss(measure, before, guardrail.max_loss)
    status, reason = _said_of(guardrail, measure, before if excess else None)
    return GuardrailResult(
        metric=name,
        slice=slicing.OVERALL,
        challenger=measure.value,
        champion=None if before is None else before.value,
        relative_loss=loss,
        p_value=None,
        adjusted_p=None,
        status=status,
        reason=reason,
    )


def _said_of(guardrail: Guardrail, measure: Measure, lost: Measure | None) -> tuple[Any, str]:
    """Status and reason; ``lost`` is the champion's, where more is lost than is tolerated."""
    if np.isnan(measure.value):
        return "too_few_rows", f"{measure.title} could not be measured: too few rows"
    value = f"{measure.title} is {measure.value:.4g}"
    if guardrail.floor is not None and _misses(measure, guardrail.floor):
        return "violated", f"{value} and misses its floor {guardrail.floor:g}"
    if lost is not None:
        return "violated", (
            f"{measure.title} goes from {_interval(lost)} to {_interval(measure)}: even its "
            f"better end loses more than the {guardrail.max_loss:.1%} that are tolerated"
        )
    return "passed", f"{value}, within what is allowed"


def _measured_loss(
    new: Measure, old: Measure | None, tolerated: float
) -> tuple[float | None, bool]:
    """Relative increase of the error, and whether its ends prove more than is tolerated."""
    if old is None:
        return None, False
    share = max(new.value, new.high, old.value, old.high) <= 1

    def error(value: float) -> float:
        if not new.higher_is_better:
            return value
        return 1 - value if share else 1 / value if value > 0 else np.inf

    best = error(new.high if new.higher_is_better else new.low)
    worst = error(old.low if old.higher_is_better else old.high)
    if min(error(new.value), error(old.value), worst) < 0:
        return None, False
    change = bootstrap.relative_reduction(np.array(error(new.value)), np.array(error(old.value)))
    return None if np.isnan(change) else -float(change), best > (1 + tolerated) * worst


def _misses(measure: Measure, floor: float) -> bool:
    """Whether it is on the wrong side of its floor; a ceiling when lower is better."""
    return not (measure.value >= floor if measure.higher_is_better else measure.value <= floor)


def _interval(measure: Measure) -> str:
    if measure.low == measure.high:
        return f"{measure.value:.4g}"
    return f"{measure.value:.4g} [{measure.low:.4g}, {measure.high:.4g}]"


def _result(case: Harm, adjusted: float | None, alpha: float) -> GuardrailResult:
    status: Any = "passed"
    where = f"{metrics.METRICS[case.guardrail.metric].title} on {case.slice}"
    reason = f"{where} is {case.challenger:.4f}, within what is allowed"
    floor, least = case.guardrail.floor, slicing.MIN_CLASS_ROWS
    if not case.enough:
        status = "too_few_rows"
        reason = f"{where} is not tested: fewer than {least} {case.counted}"
    elif floor is not None and slicing.misses(case.guardrail.metric, case.challenger, floor):
        status = "violated"
        reason = f"{where} is {case.challenger:.4f} and misses its floor {floor:g}"
    elif adjusted is not None and adjusted < alpha:
        status = "violated"
        lost = "from zero" if case.relative_loss is None else f"by {case.relative_loss:.1%}"
        reason = (
            f"{where} goes from {case.champion:.4f} to {case.challenger:.4f}: its error rises "
            f"{lost}, {case.guardrail.max_loss:.1%} is tolerated (Holm p = {adjusted:.2g})"
        )
    return GuardrailResult(
        metric=case.guardrail.metric,
        slice=case.slice,
        challenger=case.challenger,
        champion=case.champion,
        relative_loss=case.relative_loss,
        p_value=case.p_value if case.enough else None,
        adjusted_p=adjusted,
        status=status,
        reason=reason,
    )
