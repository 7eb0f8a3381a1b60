"""Plots of the monitoring page: a metric over windows, drift per column. PNG bytes.

Draws what the window reports hold; measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from models.contracts.monitoring import OVERALL, DriftEffect, WindowReport
from models.contracts.results import Estimate
from stores.reports import words
from stores.reports.canvas import (
    BLUE,
    DPI,
    INK,
    MUTED,
    VERMILION,
    dress,
    figure,
    legend,
    plain,
    png,
)

if TYPE_CHECKING:
    from datetime import datetime

    from matplotlib.axes import Axes

MAX_BARS, MIN_BARS = 25, 3
#: Effects below are written as 0.00.
_VISIBLE = 0.005
Point = tuple["datetime", Estimate]


def over_time(
    reports: Sequence[WindowReport], metric: str, limits: Mapping[str, float], *, dpi: int = DPI
) -> bytes | None:
    """Estimated beside realised values with intervals, one pair per window; None without any.

    Of a window with several releases the one with most predictions is drawn.

    Args:
        reports: Oldest first.
        metric: Its name.
        limits: Horizontal lines: name to value, the first solid.
        dpi: Dots per inch.
    """
    estimated, realised = (_points(reports, metric, kind) for kind in ("estimated", "realised"))
    if not estimated and not realised:
        return None
    drawn = figure(5.0)
    axes = drawn.subplots()
    for index, (name, limit) in enumerate(limits.items()):
        style = "-" if index == 0 else "--"
        axes.axhline(limit, color=MUTED, lw=1.3, ls=style, label=f"{name} {limit:.3f}")
    shift = (reports[-1].end - reports[-1].start) * 0.03
    _series(axes, [(at - shift, e) for at, e in estimated], BLUE, "s", "estimated, no outcomes")
    _series(axes, [(at + shift, e) for at, e in realised], VERMILION, "o", "realised")
    title = words.metric(metric)
    dress(axes, f"{title} over windows", "Middle of the window (UTC)", title)
    axes.tick_params(axis="x", labelrotation=20)
    legend(drawn)
    return png(drawn, dpi)


def drift_bars(effects: Sequence[DriftEffect], threshold: float, *, dpi: int = DPI) -> bytes | None:
    """The effects that are not zero as bars against the threshold, at least three.

    Returns:
        The largest 25 of them; None when nothing was measured.
    """
    known = [each for each in effects if math.isfinite(each.effect)]
    if not known:
        return None
    bars = max(MIN_BARS, sum(each.effect >= _VISIBLE for each in known))
    ordered = sorted(known, key=lambda each: (-each.effect, each.name))
    shown = ordered[: min(bars, MAX_BARS)][::-1]
    drawn = figure(1.9 + 0.32 * len(shown))
    axes = drawn.subplots()
    places = range(len(shown))
    tints = [VERMILION if each.drifted else BLUE for each in shown]
    axes.barh(places, [each.effect for each in shown], color=tints, height=0.7)
    axes.set_yticks(places, [plain(each.name, 36) for each in shown])
    for place, each in enumerate(shown):
        axes.text(each.effect, place, f" {each.effect:.2f}", va="center", fontsize=12, color=INK)
    axes.axvline(threshold, color=MUTED, lw=1.5, ls="--", label=f"moved from {threshold:g} on")
    dress(axes, f"Drift: the farthest {len(shown)} of {len(known)} columns", "Effect", "", grid="x")
    axes.set_xlim(0, max(1.25 * threshold, 1.12 * shown[-1].effect))
    axes.set_ylim(-0.6, len(shown) - 0.4)
    legend(drawn)
    return png(drawn, dpi)


def _points(reports: Sequence[WindowReport], metric: str, kind: str) -> list[Point]:
    """Middle of the window and the metric, where it is known."""
    found = []
    for report in reports:
        most = max(report.versions, key=lambda one: one.rows, default=None)
        value = getattr(most, kind).get(OVERALL, {}).get(metric) if most else None
        if value is not None and math.isfinite(value.value):
            found.append((report.start + (report.end - report.start) / 2, value))
    return found


def _series(axes: Axes, points: Sequence[Point], tint: str, mark: str, label: str) -> None:
    if not points:
        return
    from matplotlib.dates import date2num

    times = [float(date2num(at)) for at, _ in points]
    values = [found.value for _, found in points]
    axes.xaxis_date()
    axes.vlines(times, [e.low for _, e in points], [e.high for _, e in points], color=tint, lw=2.2)
    axes.plot(times, values, color=tint, marker=mark, ms=7, ls=":", lw=1, label=label)
