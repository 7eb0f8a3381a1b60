"""How names and numbers are written for a person: metrics, slices, intervals, sizes, outcomes."""

from __future__ import annotations

import math

from models.contracts.results import Estimate, GateDecision, Outcome
from models.core.metrics import METRICS

OUTCOMES: dict[Outcome, str] = {
    "promote": "Promote",
    "too_few_data": "Too few data to decide",
    "awaiting_approval": "Passed, awaiting approval",
}

TESTS = {
    "combined_f": "F, all ten differences (Alpaydin)",
    "delong": "DeLong",
    "five_by_two_t": "t, the first difference (Dietterich)",
    "mcnemar_exact": "Exact McNemar",
    "non_inferiority": "Non-inferiority",
    "paired_bootstrap": "Paired bootstrap",
}

#: Slices that are derived from a group of people, see ``models.core.slices.masks``.
DERIVED = ("bpsn", "bnsp")
LAST = 3
NOT_DECIDED = "Not yet decided: the gate has not judged this evaluation."
MISSING = "n/a"


def metric(name: str) -> str:
    """A metric's name for a person; one that is not known is shown without its underscores.

    A measure (``attack.typo``) is shown by its key: that is what a guardrail names it by.
    """
    if "." in name:
        return name
    return sentence(METRICS[name].title if name in METRICS else name.replace("_", " "))


def sentence(text: str) -> str:
    """With a capital at its start, unless the first word has one elsewhere (``nDCG``)."""
    first = text.partition(" ")[0]
    return text if first[1:] != first[1:].lower() else text[:1].upper() + text[1:]


def direction(name: str) -> str:
    """Which values of a metric are good."""
    if name == "calibration_slope":
        return "best at 1"
    known = METRICS.get(name)
    if known is None:
        return ""
    return "higher is better" if known.higher_is_better else "lower is better"


def slice_name(name: str) -> str:
    """A slice's name for a person: ``slice_hard`` -> ``hard slice``.

    ``bpsn_identity_women`` -> ``women, BPSN`` (background positive, subgroup negative).
    """
    derived, _, group = name.partition("_identity_")
    if derived in DERIVED and group:
        return f"{group.replace('_', ' ')}, {derived.upper()}"
    if name.startswith("slice_"):
        return f"{name.removeprefix('slice_').replace('_', ' ')} slice"
    return name


def test(name: str) -> str:
    """A statistical test's name for a person."""
    return TESTS.get(name) or name.replace("_", " ")


def number(value: float | None, digits: int = 3) -> str:
    """A value with fixed digits; None, NaN and infinities are ``n/a``, never a false zero."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text


def p_value(value: float | None) -> str:
    """A p-value: three digits, and below 0.001 said so."""
    if value is None or not math.isfinite(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as percent."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{number(100 * value, digits)} %"


def bounds(estimate: Estimate, digits: int = 3) -> str:
    """The interval alone: ``[0.948, 0.965]``."""
    return f"[{number(estimate.low, digits)}, {number(estimate.high, digits)}]"


def interval(estimate: Estimate | None, digits: int = 3) -> str:
    """Value and interval: ``0.957 [0.948, 0.965]``."""
    if estimate is None or not math.isfinite(estimate.value):
        return MISSING
    return f"{number(estimate.value, digits)} {bounds(estimate, digits)}"


def points(difference: Estimate | None) -> str:
    """A difference of shares in percentage points: ``+1.3 [-0.2, +2.8]``."""
    if difference is None:
        return MISSING
    value, low, high = (100 * one for one in (difference.value, difference.low, difference.high))
    return f"{value:+z.1f} [{low:+z.1f}, {high:+z.1f}]"  # z: no "-0.0"


def size(count: int) -> str:
    """Bytes as kB or MB (powers of 1000)."""
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.1f} kB"


def outcome(value: GateDecision) -> str:
    """The outcome in a few words."""
    if value.outcome == "keep":
        return "Keep the champion" if value.champion else "No first champion"
    return OUTCOMES[value.outcome]


def serves(value: GateDecision) -> str:
    """What is released when the outcome is to promote: the challenger, or a form of it by name."""
    for form in value.forms:
        if form.candidate == value.serves:
            return f"{form.trial} ({form.candidate})"
    return value.serves or value.challenger


def decision(value: GateDecision | None) -> str:
    """The decision and its reason in one sentence."""
    if value is None:
        return NOT_DECIDED
    return f"{outcome(value)}: {value.reason.rstrip('.')}."


def slice_order(name: str) -> int:
    """Where a slice stands in a list: overall, named slices, tenants, derived ones (``LAST``)."""
    if name == "overall":
        return 0
    if name.partition("_identity_")[0] in DERIVED:
        return LAST
    return 1 if name.startswith("slice_") else 2


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign: ``+0.012``."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text != MISSING else text


def percent_interval(estimate: Estimate | None) -> str:
    """A share and its interval as percent: ``12.3 % [6.1, 18.0]``."""
    if estimate is None or not math.isfinite(estimate.value):
        return MISSING
    low, high = number(100 * estimate.low, 1), number(100 * estimate.high, 1)
    return f"{percent(estimate.value)} [{low}, {high}]"
