"""The page a person looks at first: products, champions, drift, quality, incidents. One HTML file.

Shows what releases, window reports and the alert table say; measures and decides nothing. Markup is
in ``status.html``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from textwrap import shorten

from models.contracts.incidents import Incident
from models.contracts.monitoring import OVERALL, MonitoringResult, VersionWindow, WindowReport
from models.contracts.product import ModelProduct
from models.contracts.results import Estimate, Release
from models.contracts.rollout import RolloutStep
from stores.files import write_atomic
from stores.reports import monitoring_plots, words
from stores.reports.monitoring_page import verdict_word
from stores.reports.page import PAGE_DPI
from stores.reports.parts import Plot, Section, Table
from stores.reports.tables import Row
from stores.reports.templates import render_page

#: Incidents shown; open ones come first.
MAX_INCIDENTS = 25


@dataclass(frozen=True)
class ProductStatus:
    """What is known of one product.

    Attributes:
        release: What should serve; None before the first release.
        promised: The gate metric on the release's holdout.
        decision: What the gate last said, in words; with the deadline while an approval is due.
        evaluated_at: When candidates were last judged.
        url: Where it answers; None when nothing serves it.
        result: What monitoring concluded; None before its first run.
        reports: Its windows, oldest first.
        rollout: Newest step of its newest rollout; None before the first.
    """

    product: ModelProduct
    release: Release | None
    promised: Estimate | None
    decision: str
    evaluated_at: datetime | None
    url: str | None
    result: MonitoringResult | None
    reports: Sequence[WindowReport]
    rollout: RolloutStep | None = None


@dataclass(frozen=True)
class StatusData:
    """What stands on the page.

    Attributes:
        runs: Job to (successful, failed) runs of the last seven days.
        links: Name to address of further pages.
    """

    as_of: datetime
    products: Sequence[ProductStatus]
    incidents: Sequence[Incident]
    runs: Mapping[str, tuple[int, int]]
    links: Mapping[str, str]


def write_status(path: Path, data: StatusData) -> None:
    """Write the page in one step."""
    write_atomic(path, render(data))


def render(data: StatusData, dpi: int = PAGE_DPI) -> str:
    """The page as HTML; every value is escaped."""
    troubles = list(_troubles(data))
    return render_page(
        "status.html",
        it=data,
        mood="keep" if troubles else "promote",
        verdict="; ".join(troubles) or "Nothing needs a person.",
        headline=list(_headline(data)),
        links=list(data.links.items()),
        sections=list(_sections(data, dpi)),
    )


def _troubles(data: StatusData) -> Iterator[str]:
    """What a person should look at, the gravest first."""
    wanted = [one for one in _open(data) if one.severity != "info"]
    grave = [one for one in wanted if one.severity == "error"] or wanted
    if grave:
        many = "1 open incident" if len(wanted) == 1 else f"{len(wanted)} open incidents, newest"
        yield f"{many}: {grave[0].kind.replace('_', ' ')} ({grave[0].subject})"
    for one in data.products:
        if one.release and one.url is None:
            yield f"{one.product.key} is released and does not serve"
        if one.result and one.result.regression:
            yield f"{one.product.key} is below its promise"
        if "waits for a named person" in one.decision:
            yield f"{one.product.key} {one.decision}"


def _open(data: StatusData) -> list[Incident]:
    return [one for one in data.incidents if one.closed_at is None]


def _headline(data: StatusData) -> Iterator[tuple[str, str | int]]:
    yield "Products", len(data.products)
    yield "Serving", sum(one.url is not None for one in data.products)
    yield "Open incidents", len(_open(data))
    good, bad = (sum(counts[i] for counts in data.runs.values()) for i in (0, 1))
    yield "Runs in 7 days", f"{good + bad} ({bad or 'none'} failed)"


def _sections(data: StatusData, dpi: int) -> Iterator[Section]:
    """Products first, then what is wrong, then each product's quality over time."""
    releases = Table("What serves", [_release_row(one) for one in data.products])
    traffic = Table("Newest window of traffic", [_traffic_row(one) for one in data.products])
    yield Section("products", "Products", tables=(releases, traffic))
    if rollouts := [_rollout_row(one, one.rollout) for one in data.products if one.rollout]:
        table = Table("Newest rollout of each product", rollouts)
        yield Section("rollouts", "Rollouts", tables=(table,))
    if data.incidents:
        table = Table("Newest incidents, open ones first", _incident_rows(data))
        yield Section("incidents", "Incidents", tables=(table,))
    for one in data.products:
        if section := _quality(one, dpi):
            yield section
    if data.runs:
        runs: list[Row] = [
            {"Job": name, "Successful": good, "Failed": bad}
            for name, (good, bad) in sorted(data.runs.items())
            if good + bad
        ]
        yield Section("runs", "Runs", tables=(Table("Runs of the last seven days", runs),))


def _release_row(one: ProductStatus) -> Row:
    return {
        "Product": one.product.key,
        "Champion": f"{one.release.version} ({one.release.trial})" if one.release else "none yet",
        "Serves at": one.url or "nowhere",
        "Gate last said": one.decision,
        "Last evaluated": f"{one.evaluated_at:%Y-%m-%d %H:%M}" if one.evaluated_at else "never",
        "Owner": one.product.owner,
    }


def _rollout_row(one: ProductStatus, step: RolloutStep) -> Row:
    return {
        "Product": one.product.key,
        "Rollout": f"{step.kind} {step.rollout_id}",
        "Challenger": step.challenger,
        "Phase": step.phase,
        "Weight": words.percent(step.weight),
        "Share served": words.percent(step.share),
        "Units": step.units,
        "Why": shorten(step.reason, 200, placeholder=" ...") or words.MISSING,
    }


def _traffic_row(one: ProductStatus) -> Row:
    newest, metric = newest_window(one), one.product.gate.metric
    seen = newest[1] if newest else None
    title = words.metric(metric)
    return {
        "Product": one.product.key,
        "From": f"{newest[0].start:%Y-%m-%d %H:%M}" if newest else words.MISSING,
        "Predictions": f"{seen.rows:,}" if seen else words.MISSING,
        f"{title}, promised": words.interval(one.promised),
        f"{title}, estimated": words.interval(_of(seen, "estimated", metric)),
        f"{title}, realised": words.interval(_of(seen, "realised", metric)),
        "Verdict": verdict_word(seen.verdict) if seen else "no traffic judged",
    }


def newest_window(one: ProductStatus) -> tuple[WindowReport, VersionWindow] | None:
    """The newest window in which the champion answered."""
    champion = one.release.version if one.release else None
    parts = ((r, v) for r in reversed(one.reports) for v in r.versions if v.version == champion)
    return next(parts, None)


def _of(seen: VersionWindow | None, kind: str, metric: str) -> Estimate | None:
    return getattr(seen, kind).get(OVERALL, {}).get(metric) if seen else None


def _incident_rows(data: StatusData) -> list[Row]:
    ordered = [*_open(data), *(one for one in data.incidents if one.closed_at)]
    return [
        {
            "Opened": f"{one.opened_at:%Y-%m-%d %H:%M}",
            "Kind": one.kind.replace("_", " "),
            "Subject": one.subject,
            "State": "open" if one.closed_at is None else "closed",
            "Severity": one.severity,
            "Seen": one.count,
            "What": shorten(one.message.split("\n", 1)[0], 200, placeholder=" ..."),
            "Next step": one.next_step,
        }
        for one in ordered[:MAX_INCIDENTS]
    ]


def _quality(one: ProductStatus, dpi: int) -> Section | None:
    metric = one.product.gate.metric
    limits = {"promised": one.promised.value} if one.promised else {}
    png = monitoring_plots.over_time(one.reports, metric, limits, dpi=dpi) if one.reports else None
    if png is None:
        return None
    plot = Plot(
        png,
        f"{words.metric(metric)} of {one.product.key} over windows, estimated and realised",
        "Squares are estimates made without outcomes, circles what the outcomes then showed; bars "
        "are intervals. Where the circles leave the line of the promise, the model decays.",
    )
    return Section(f"quality-{one.product.slug}", f"Quality of {one.product.key}", plots=(plot,))
