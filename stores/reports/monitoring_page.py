"""The monitoring page of a product: windows, quality, drift, latency, decisions. One HTML file.

Shows what the window reports say; measures and decides nothing. Markup is in ``monitoring.html``,
the plots in ``monitoring_plots``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.contracts.monitoring import (
    OVERALL,
    MonitoringResult,
    VersionWindow,
    WindowReport,
    WindowVerdict,
)
from models.contracts.product import ModelProduct
from models.contracts.results import Estimate
from stores.files import write_atomic
from stores.reports import monitoring_plots, words
from stores.reports.page import PAGE_DPI
from stores.reports.parts import Plot, Section, Table
from stores.reports.tables import Row
from stores.reports.templates import render_page


@dataclass(frozen=True)
class PageData:
    """What stands on the page.

    Attributes:
        reports: Windows, oldest first.
        limits: What the gate metric is held to: name to value, e.g. the promise and the bar.
        drift_page: Address of Evidently's page on the newest window; None without one.
    """

    product: ModelProduct
    reports: Sequence[WindowReport]
    result: MonitoringResult
    limits: dict[str, float]
    drift_page: str | None


def write_page(path: Path, data: PageData) -> None:
    """Write the page in one step."""
    write_atomic(path, render(data))


def render(data: PageData, dpi: int = PAGE_DPI) -> str:
    """The page as HTML; every value is escaped."""
    mood, verdict = _verdict(data.result)
    return render_page(
        "monitoring.html",
        it=data,
        mood=mood,
        verdict=verdict,
        headline=list(_headline(data)),
        sections=_sections(data, dpi),
        level=1 - 2 * data.product.gate.alpha,
    )


def windows_table(reports: Sequence[WindowReport], metric: str) -> list[Row]:
    """One row per window and release, newest first."""
    return [
        {
            "Window": f"{report.start:%Y-%m-%d %H:%M}",
            "Release": one.version,
            "Predictions": one.rows,
            "Share": words.percent(one.share),
            "Inputs moved": _moved(one),
            "Scores moved": words.number(one.score_drift.effect, 2),
            f"{words.metric(metric)}, estimated": words.interval(_of(one, "estimated", metric)),
            f"{words.metric(metric)}, realised": words.interval(_of(one, "realised", metric)),
            "Outcomes": one.outcomes,
            "Verdict": verdict_word(one.verdict),
        }
        for report in reversed(reports)
        for one in report.versions
    ]


def verdict_word(verdict: WindowVerdict) -> str:
    """A verdict in a word or two."""
    if not verdict.judged:
        return "not judged"
    if verdict.hurt:
        return "drifted and hurts" if verdict.drifted else "hurts"
    return "drifted, does not hurt" if verdict.drifted else "as promised"


def _verdict(result: MonitoringResult) -> tuple[str, str]:
    """The page's mood and what follows from the newest windows, in one sentence."""
    if result.rollback and result.rollback.roll_back:
        return "keep", f"Go back to {result.rollback.previous}: {result.rollback.reason}."
    if result.retrain.retrain:
        return "keep", f"Retrain: {result.retrain.reason}."
    if result.regression:
        return "keep", f"The promise is broken: {result.regression}."
    return "promote", f"Nothing to do: {result.retrain.reason}."


def _headline(data: PageData) -> Iterator[tuple[str, str | int]]:
    yield "Champion", data.result.champion or "none"
    newest = _newest(data)
    if newest is None:
        return
    report, one = newest
    title = words.metric(data.product.gate.metric)
    yield "Newest window", f"{report.start:%Y-%m-%d %H:%M}"
    yield "Predictions in it", one.rows
    yield f"{title}, estimated", words.interval(_of(one, "estimated", data.product.gate.metric))
    yield f"{title}, realised", words.interval(_of(one, "realised", data.product.gate.metric))
    yield "Requests that failed", words.percent(one.error_rate, 2)


def _newest(data: PageData) -> tuple[WindowReport, VersionWindow] | None:
    """The newest window of the champion, else of whatever answered last."""
    parts = [(report, one) for report in reversed(data.reports) for one in report.versions]
    mine = (part for part in parts if part[1].version == data.result.champion)
    return next(mine, parts[0] if parts else None)


def _sections(data: PageData, dpi: int) -> list[Section]:
    """Every section there is something to show for, in reading order."""
    parts = [_decisions(data), _quality(data, dpi), _windows(data)]
    if (newest := _newest(data)) is not None:
        parts += [_drift(data, newest[1], dpi), _slices(newest[1])]
    parts += [_service(data), _rows(data)]
    return [part for part in parts if part.plots or any(table.rows for table in part.tables)]


def _decisions(data: PageData) -> Section:
    result = data.result
    rows: list[Row] = [
        {
            "Rule": "Retrain",
            "Says": "yes" if result.retrain.retrain else "no",
            "Reason": result.retrain.reason,
        }
    ]
    if result.rollback:
        said = "yes" if result.rollback.roll_back else "no"
        rows.append({"Rule": "Roll back", "Says": said, "Reason": result.rollback.reason})
    rows.append(_promise(data))
    if (newest := _newest(data)) is not None:
        word, reason = verdict_word(newest[1].verdict), newest[1].verdict.reason
        rows.append({"Rule": "Newest window", "Says": word, "Reason": reason})
    return Section("decisions", "Decisions", tables=[Table("What follows, and why", rows)])


def _promise(data: PageData) -> Row:
    """Whether outcomes show the promise broken; without any, nothing is claimed."""
    broken, metric = data.result.regression, data.product.gate.metric
    parts = (one for report in data.reports for one in report.versions)
    if broken:
        said, reason = "broken", broken
    elif any(one.version == data.result.champion and _of(one, "realised", metric) for one in parts):
        said, reason = "kept", "the outcomes do not show it broken"
    else:
        said, reason = "not judged", "too few outcomes of the champion are known"
    return {"Rule": "Promise", "Says": said, "Reason": reason}


def _quality(data: PageData, dpi: int) -> Section:
    metric = data.product.gate.metric
    png = monitoring_plots.over_time(data.reports, metric, data.limits, dpi=dpi)
    if png is None:
        return Section("quality", "Quality")
    title = words.metric(metric)
    reading = (
        f"{title} per window ({words.direction(metric)}): estimated without outcomes, and realised "
        "once they are in. A window hurts when the whole interval is on the wrong side of the bar."
    )
    return Section("quality", "Quality", plots=[Plot(png, f"{title} over windows", reading)])


def _windows(data: PageData) -> Section:
    rows = windows_table(data.reports, data.product.gate.metric)
    return Section("windows", "Windows", tables=[Table("Newest first, one row per release", rows)])


def _drift(data: PageData, one: VersionWindow, dpi: int) -> Section:
    effects = sorted((*one.drift, one.score_drift), key=lambda each: -each.effect)
    least = data.product.monitoring.drift_effect
    png = monitoring_plots.drift_bars(effects, least, dpi=dpi)
    if png is None:
        return Section("drift", "Drift")
    reading = (
        "Jensen-Shannon distance of each column to the release's holdout (0 to 1), freed of what "
        "sampling alone gives: the same shift reads the same in a small and in a large window."
    )
    rows: list[Row] = [
        {
            "Column": each.name,
            "Effect": each.effect,
            "Moved": "yes" if each.drifted else "no",
            "Nulls": words.percent(one.quality.nulls.get(each.name, 0.0)),
            "Outside bounds": words.percent(one.quality.outside.get(each.name, 0.0)),
        }
        for each in effects
    ]
    return Section(
        "drift",
        "Drift",
        plots=[Plot(png, "Effect per column against the threshold", reading)],
        tables=[Table("Newest window, farthest first", rows)],
    )


def _slices(one: VersionWindow) -> Section:
    metrics = sorted({m for found in (one.estimated, one.realised) for s in found.values()
                      for m in s})  # fmt: skip
    names = dict.fromkeys([*one.estimated, *one.realised])
    rows: list[Row] = []
    for name in names:
        row: Row = {"Slice": words.slice_name(name)}
        for metric in metrics:
            for kind in ("estimated", "realised"):
                found = getattr(one, kind).get(name, {}).get(metric)
                row[f"{words.metric(metric)}, {kind}"] = words.interval(found)
        rows.append(row)
    return Section("slices", "Slices", tables=[Table("Newest window by tenant", rows)])


def _service(data: PageData) -> Section:
    rows: list[Row] = [
        {
            "Window": f"{report.start:%Y-%m-%d %H:%M}",
            "Release": one.version,
            "Requests": one.requests,
            "Failed (5xx)": one.errors,
            "Error rate": words.percent(one.error_rate, 2),
            "Median ms": words.number(one.latency.median, 1),
            "p95 ms": words.number(one.latency.p95, 1),
            "p99 ms": words.number(one.latency.p99, 1),
            "Cost per 1,000": words.number(one.cost_per_1000, 6),
        }
        for report in reversed(data.reports)
        for one in report.versions
    ]
    return Section("service", "Service", tables=[Table("Latency, errors and cost", rows)])


def _rows(data: PageData) -> Section:
    rows: list[Row] = [
        {
            "Window": f"{report.start:%Y-%m-%d %H:%M}",
            "Release": one.version,
            "Columns outside bounds": len(one.quality.outside),
            "Columns with nulls": len(one.quality.nulls),
            "Contradicting outcomes": one.quality.contradictions,
            "Outcomes without a prediction": one.quality.orphans,
        }
        for report in reversed(data.reports)
        for one in report.versions
    ]
    return Section("rows", "Data quality", tables=[Table("The rows themselves", rows)])


def _moved(one: VersionWindow) -> str:
    if not one.drift:
        return words.MISSING
    return f"{sum(each.drifted for each in one.drift)} of {len(one.drift)}"


def _of(one: VersionWindow, kind: str, metric: str) -> Estimate | None:
    """The metric over all rows, estimated or realised."""
    slices: dict[str, dict[str, Estimate]] = getattr(one, kind)
    return slices.get(OVERALL, {}).get(metric)
