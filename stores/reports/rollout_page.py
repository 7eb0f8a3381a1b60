"""The page of one rollout: share served against weight, evidence by rule, steps. One HTML file.

Shows what the ledger's steps and the tally say; measures and decides nothing. Markup is in
``rollout.html``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from models.contracts.product import ModelProduct
from models.contracts.results import Estimate
from models.contracts.rollout import Evidence, Limit, RolloutPlan, RolloutStep, Tally
from models.core.rollouts import decide
from models.core.rollouts.enforce import share
from stores.files import write_atomic
from stores.reports import words
from stores.reports.canvas import INK, MUTED, colour, dress, figure, png
from stores.reports.page import PAGE_DPI
from stores.reports.parts import Plot, Section, Table
from stores.reports.tables import Row
from stores.reports.templates import render_page

#: What a difference of a rule is.
_RULES = {
    "errors": "requests that failed",
    "latency": "requests slower than the limit",
    "disagreement": "requests decided differently",
    "estimated": "requests decided wrong, by both releases' own probabilities",
    "realised": "requests decided wrong, by their outcomes",
}
_OVER = ("refused", "promoted", "aborted", "inconclusive")


@dataclass(frozen=True)
class RolloutData:
    """What stands on the page.

    Attributes:
        steps: When each arrow was written down, oldest first.
    """

    product: ModelProduct
    as_of: datetime
    steps: Sequence[tuple[datetime, RolloutStep]]
    plan: RolloutPlan
    tally: Tally

    @property
    def newest(self) -> RolloutStep:
        """Where the rollout is."""
        return self.steps[-1][1]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """What is known now; the verdict's own once there is one."""
        over = self.newest.phase in _OVER and self.newest.evidence
        return self.newest.evidence if over else decide.evidence(self.plan, self.tally)


def write_page(path: Path, data: RolloutData) -> None:
    """Write the page in one step."""
    write_atomic(path, render(data))


def render(data: RolloutData, dpi: int = PAGE_DPI) -> str:
    """The page as HTML; every value is escaped."""
    step = data.newest
    return render_page(
        "rollout.html",
        it=data,
        over=step.phase in _OVER,
        mood="promote" if step.phase in ("promoted", "running", "starting") else "keep",
        verdict=f"{words.sentence(step.phase)}: {step.reason}" if step.reason else step.phase,
        headline=list(_headline(data)),
        sections=list(_sections(data, dpi)),
    )


def evidence_table(plan: RolloutPlan, found: Sequence[Evidence]) -> list[Row]:
    """One row per rule: the difference with its interval, and how far the proof is."""
    limits = {limit.rule: limit for limit in plan.limits}
    return [_evidence_row(plan, limits[one.rule], one) for one in found]


def share_table(data: RolloutData) -> list[Row]:
    """Who answered how much, beside what the plan says."""
    seen, step = share(data.tally), data.newest
    answered, total = data.tally.answered, sum(data.tally.answered.values())
    stage = seen.value if seen.weight == step.weight else None
    rows: list[Row] = []
    for variant, version, planned in (
        ("champion", step.champion, 1 - step.weight),
        ("challenger", step.challenger, step.weight),
    ):
        given = None if stage is None else (stage if variant == "challenger" else 1 - stage)
        count = answered.get("champion" if variant == "champion" else "challenger", 0)
        rows.append({
            "Release": f"{variant} {version}",
            "Planned now": words.percent(planned),
            "Served in this stage": words.percent(given),
            "Answers in all": count,
            "Share in all": words.percent(count / total if total else None),
        })  # fmt: skip
    return rows


def _headline(data: RolloutData) -> Iterator[tuple[str, str | int]]:
    step, tally = data.newest, data.tally
    yield "Phase", step.phase
    if data.plan.kind != "shadow":
        yield "Stage", f"{step.stage + 1} of {len(data.plan.weights)}"
        yield "Weight", words.percent(step.weight)
        yield "Share served", words.percent(share(tally).value)
    yield "Units that show the challenger", tally.units
    yield "Lift by outcomes, points", words.points(decide.lift(data.evidence))
    limit = tally.latency_limit_ms
    yield "Slow from", f"{limit:.1f} ms" if limit else words.MISSING


def _sections(data: RolloutData, dpi: int) -> Iterator[Section]:
    found = [one for one in data.evidence if one.units]
    plots = [_plot(data.plan, found, dpi)] if found else []
    rows = evidence_table(data.plan, data.evidence)
    yield Section("evidence", "Evidence", plots, [Table("By rule", rows)])
    yield Section("share", "Traffic", (), [Table("Who answered", share_table(data))])
    steps = [_step_row(at, step) for at, step in reversed(data.steps)]
    yield Section("steps", "Steps", (), [Table("Newest first, as the ledger has them", steps)])


def _evidence_row(plan: RolloutPlan, limit: Limit, one: Evidence) -> Row:
    harm = one.abort_e / math.log(len(plan.limits) / plan.alpha)
    proof = None if one.promote_e is None else one.promote_e / math.log(1 / plan.promote_alpha)
    known = Estimate(value=one.mean, low=one.low, high=one.high) if one.units else None
    return {
        "Rule": one.rule,
        "A difference is": _RULES[one.rule],
        "Units": one.units,
        "Difference": words.interval(known, 4),
        "Tolerated": f"{limit.tolerance:g}",
        "Margin": words.MISSING if limit.margin is None else f"{limit.margin:g}",
        "Proof of harm": _progress(harm),
        "Proof of no harm": words.MISSING if proof is None else _progress(proof),
    }


def _progress(share_of_line: float) -> str:
    """How far an e-value's logarithm is on its way to the line."""
    return "reached" if share_of_line >= 1 else words.percent(max(0.0, share_of_line), 0)


def _step_row(at: datetime, step: RolloutStep) -> Row:
    return {
        "#": str(step.number),
        "At": f"{at:%Y-%m-%d %H:%M:%S}",
        "Phase": step.phase,
        "Weight": words.percent(step.weight),
        "Units": step.units,
        "By": step.by,
        "Why": step.reason or words.MISSING,
    }


def _plot(plan: RolloutPlan, found: Sequence[Evidence], dpi: int) -> Plot:
    """Every rule's interval against what is tolerated and its margin, in percentage points."""
    limits = {limit.rule: limit for limit in plan.limits}
    drawn = figure(1.6 + 0.7 * len(found))
    axes = drawn.subplots()
    for place, one in enumerate(found):
        bounds = [100 * one.low, 100 * one.high]
        axes.plot(bounds, [place, place], color=colour("challenger", 0), linewidth=2.4)
        axes.plot(100 * one.mean, place, "o", color=colour("challenger", 0), markersize=8)
        limit = limits[one.rule]
        axes.plot(100 * limit.tolerance, place, "|", color=INK, markersize=22)
        if limit.margin is not None:
            axes.plot(100 * limit.margin, place, "|", color=MUTED, markersize=14)
    axes.set_yticks(range(len(found)), [one.rule for one in found])
    axes.invert_yaxis()
    axes.margins(y=0.3)
    dress(axes, "Challenger worse by", "Percentage points of requests", "", grid="x")
    return Plot(
        png(drawn, dpi),
        "Mean difference of each rule with its confidence sequence",
        "Right of 0 the challenger is worse. It is aborted when an interval is provably right of "
        "the long mark (tolerated), and promoted when those required are left of the short one.",
    )
