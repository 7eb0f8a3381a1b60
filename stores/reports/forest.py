"""Forest plots: values with their intervals, side by side. Draws what was measured elsewhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from models.contracts.results import Estimate, GateDecision, Scorecard
from stores.reports import ReportError, Role, words
from stores.reports.canvas import (
    DPI,
    INK,
    MARKERS,
    MUTED,
    colour,
    dress,
    figure,
    legend,
    plain,
    png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_SLICES = 25


def measured(card: Scorecard, metric: str) -> list[str]:
    """Slices on which the metric has a value: overall, named, tenants, derived; each by rows."""
    found = [
        name
        for name, metrics in card.metrics.items()
        if metric in metrics and math.isfinite(metrics[metric].value)
    ]
    found.sort(key=lambda name: (words.slice_order(name), -card.rows.get(name, 0), name))
    return found[:MAX_SLICES]


def slices(challenger: Scorecard, champion: Scorecard | None, metric: str, dpi: int = DPI) -> bytes:
    """One metric per slice and tenant, challenger against champion, with intervals.

    The 25 slices with most rows are drawn; ``tables.slices_table`` lists all.

    Raises:
        ReportError: The challenger has this metric on no slice.
    """
    names = measured(challenger, metric)
    if not names:
        raise ReportError(f"{challenger.trial}: metric {metric!r} was measured on no slice")
    drawn = figure(1.9 + 0.46 * len(names))
    axes = drawn.subplots()
    _series(axes, "challenger", challenger, names, metric)
    if champion is not None:
        _series(axes, "champion", champion, names, metric)
    axes.set_yticks(range(len(names)), [_label(challenger, name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    if names[0] == "overall":
        overall = challenger.metrics["overall"][metric].value
        axes.axvline(overall, color=MUTED, linewidth=1, linestyle=":")
    label = words.metric(metric)
    dress(axes, f"{label} by slice", label, "", grid="x")
    legend(drawn)
    return png(drawn, dpi)


def effect(decision: GateDecision, dpi: int = DPI) -> bytes:
    """The gate's effect with its interval, against 0 and the smallest effect worth a release.

    For a first champion there is no effect: its primary metric is drawn against the floor.

    Raises:
        ReportError: The policy in the decision lacks the bound to draw.
    """
    found = decision.effect
    drawn = figure(2.9)
    axes = drawn.subplots()
    if found is None:
        floor = _bound(decision, "floor")
        _against(axes, decision.challenger_value, {f"floor {floor:g}": floor}, 3)
        title = "First champion: its value against the floor"
        dress(axes, title, words.metric(decision.metric), "", grid="x")
    else:
        least = 100 * _bound(decision, "min_effect")
        shown = Estimate(value=100 * found.value, low=100 * found.low, high=100 * found.high)
        _against(axes, shown, {"no difference": 0.0, f"worth a release: {least:g} %": least}, 1)
        title = f"Effect of the challenger on {words.metric(decision.metric)}"
        dress(axes, title, "Error removed, relative to the champion (%)", "", grid="x")
    axes.set_yticks([])
    axes.set_ylim(-1, 1.25)
    axes.spines["left"].set_visible(False)
    return png(drawn, dpi)


def _label(card: Scorecard, name: str) -> str:
    return f"{plain(words.slice_name(name), 28)}  n={card.rows.get(name, 0):,}"


def _series(axes: Axes, role: Role, card: Scorecard, names: list[str], metric: str) -> None:
    """One model's value and interval per slice, challenger above champion."""
    shift = -0.14 if role == "challenger" else 0.14
    legend: str | None = f"{role}: {plain(card.trial)}"
    for place, name in enumerate(names):
        found = card.metrics.get(name, {}).get(metric)
        if found is None or not math.isfinite(found.value):
            continue
        _whisker(axes, found, place + shift, role, legend)
        legend = None


def _whisker(axes: Axes, found: Estimate, place: float, role: Role, legend: str | None) -> None:
    # A bootstrap interval need not hold its point value: draw it as it is, never a negative bar.
    axes.plot([found.low, found.high], [place, place], color=colour(role, 0), linewidth=2.4)
    axes.plot(
        found.value, place, color=colour(role, 0), marker=MARKERS[role], markersize=8, label=legend
    )


def _against(axes: Axes, found: Estimate, limits: dict[str, float], digits: int) -> None:
    """One interval against named vertical limits; ``n/a`` when it is not defined."""
    _whisker(axes, found, 0.0, "challenger", None)
    values = (found.low, found.value, found.high)
    known = [*limits.values(), *(value for value in values if math.isfinite(value))]
    place = found.value if math.isfinite(found.value) else next(iter(limits.values()))
    text = words.interval(found, digits)
    axes.text(place, 0.22, text, ha="center", fontsize=14, fontweight="bold", color=INK)
    for index, (name, limit) in enumerate(limits.items()):
        axes.axvline(limit, color=MUTED, linewidth=1.5, linestyle="-" if index == 0 else "--")
        side = "right" if index == 0 and len(limits) > 1 else "left"
        axes.text(limit, -0.85, f" {name} ", ha=side, fontsize=12, color=MUTED)
    room = 0.3 * max(max(known) - min(known), 1e-6)
    axes.set_xlim(min(known) - room, max(known) + room)


def _bound(decision: GateDecision, name: str) -> float:
    value = decision.policy.get(name)
    if not isinstance(value, int | float):
        raise ReportError(f"decision on {decision.product}: its policy lacks {name!r} (a number)")
    return float(value)
