"""Writes the report: one HTML file with its style and plots inside, no script, no network.

Markup is in ``page.html``; what stands on the page is decided in ``sections``. The same data give
the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from stores.files import write_atomic
from stores.reports import ReportData, sections, tables, words
from stores.reports.templates import render_page

FILE_NAME = "report.html"
PAGE_DPI = 110


def write_report(folder: Path, data: ReportData) -> Path:
    """Write ``report.html`` into the folder, in one step: a reader sees the old page or the new.

    Args:
        folder: Where to write; it is made when it does not exist.
        data: What was measured and, when the gate has spoken, its decision.

    Returns:
        Path of the page (0.2 to 0.5 MB).

    Raises:
        ReportError: The challenger or the champion has no scorecard, or lacks the primary metric.
    """
    path = folder / FILE_NAME
    write_atomic(path, render(data))
    return path


def render(data: ReportData, dpi: int = PAGE_DPI) -> str:
    """The page as HTML. Every value is escaped: names of tenants and reasons come from data."""
    names = tables.model_names(data.scorecards)
    return render_page(
        "page.html",
        it=data,
        challenger=names[data.scorecard(data.challenger).candidate_id],
        champion=names[data.scorecard(data.champion).candidate_id] if data.champion else None,
        mood=data.decision.outcome if data.decision else "undecided",
        verdict=words.decision(data.decision),
        headline=list(sections.headline(data)),
        sections=sections.build(data, dpi),
    )
