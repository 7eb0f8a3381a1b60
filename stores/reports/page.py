"""Writes the report: one HTML file with its style and plots inside, no script, no network.

Markup and style are in ``page.html`` and ``style.html``; what stands on the page is decided in
``sections``. The same data give the same bytes.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING

from stores.files import write_atomic
from stores.reports import ReportData, sections, tables, words

if TYPE_CHECKING:
    from jinja2 import Environment

FILE_NAME = "report.html"
TEMPLATES = Path(__file__).parent
PAGE_DPI = 110
#: An interval: a line may break before its bracket, not inside.
BOUNDS = re.compile(r"\[(-?[\d.]+), (-?[\d.]+)\]")


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
    outcome = data.decision.outcome if data.decision else "undecided"
    return (
        environment()
        .get_template("page.html")
        .render(
            it=data,
            challenger=names[data.scorecard(data.challenger).candidate_id],
            champion=names[data.scorecard(data.champion).candidate_id] if data.champion else None,
            verdict=words.decision(data.decision),
            outcome=outcome,
            headline=list(sections.headline(data)),
            sections=sections.build(data, dpi),
        )
    )


def environment() -> Environment:
    """Templates of this folder, with the filters ``cell`` (of a table) and ``data_uri`` (a PNG)."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"cell": _cell, "data_uri": _data_uri}
    return found


def _cell(value: str | float) -> str:
    """A table cell: counts with thousands, other numbers with three digits, text as it is."""
    if isinstance(value, str):
        return (
            BOUNDS.sub("[\\1,\u00a0\\2]", value).replace("< 0", "<\u00a00").replace(" %", "\u00a0%")
        )
    return f"{value:,}" if isinstance(value, int) else words.number(value)


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
