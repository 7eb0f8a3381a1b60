"""Writes the report: one HTML file with its style and plots inside, no script, no network.

Markup and style are in ``templates/``; what stands on the page is decided in ``sections``. The same
comparison gives the same bytes.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from stores.files import write_atomic
from stores.reports import Comparison, sections, tables, words

FILE_NAME = "report.html"
TEMPLATES = Path(__file__).parent / "templates"
PAGE_DPI = 110
#: An interval: a line may break before its bracket, not inside.
BOUNDS = re.compile(r"\[(-?[\d.]+), (-?[\d.]+)\]")


def write_report(folder: Path, comparison: Comparison) -> Path:
    """Write ``report.html`` into the folder, in one step: a reader sees the old page or the new.

    Args:
        folder: Where to write; it is made when it does not exist.
        comparison: What was measured and, when the gate has spoken, its decision.

    Returns:
        Path of the page (0.2 to 0.5 MB).

    Raises:
        ReportError: The challenger or the champion has no scorecard, or lacks the primary metric.
    """
    path = folder / FILE_NAME
    write_atomic(path, render(comparison))
    return path


def render(comparison: Comparison, dpi: int = PAGE_DPI) -> str:
    """The page as HTML. Every value is escaped: names of tenants and reasons come from data."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "data_uri": _data_uri}
    names = tables.model_names(comparison.scorecards)
    outcome = comparison.decision.outcome if comparison.decision else "undecided"
    return environment.get_template("page.html").render(
        it=comparison,
        challenger=names[comparison.scorecard(comparison.challenger).candidate_id],
        champion=names[comparison.champion] if comparison.champion else None,
        verdict=words.decision(comparison.decision),
        outcome=outcome,
        headline=list(sections.headline(comparison)),
        sections=sections.build(comparison, dpi),
    )


def _cell(value: str | float) -> str:
    """A table cell: counts with thousands, other numbers with three digits, text as it is."""
    if isinstance(value, str):
        return BOUNDS.sub("[\\1,\u00a0\\2]", value)
    return f"{value:,}" if isinstance(value, int) else words.number(value)


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
