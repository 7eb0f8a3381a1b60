"""Markdown for Dagster's metadata: decisions, tables, embedded plots. Pure functions.

Names of tenants and reasons come from data: they are escaped, so that they stay text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

from models.contracts.results import GateDecision
from stores.reports import tables, words
from stores.reports.tables import Row


def escape(value: object) -> str:
    """Text that Markdown and HTML leave as it is, on one line."""
    line = " ".join(str(value).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", line)


def table(rows: Sequence[Row]) -> str:
    """A Markdown table of the rows; an empty string when there are none."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines = [[escape(name) for name in lines[0]], lines[1]]
    lines += [[escape(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def image(png: bytes, alt: str) -> str:
    """A PNG as a Markdown image with its bytes inside (a third longer than the PNG).

    Draw it with ``dpi=THUMBNAIL_DPI``: Dagster keeps metadata in its event log.
    """
    return f"![{escape(alt)}](data:image/png;base64,{base64.b64encode(png).decode()})"


def decision(value: GateDecision) -> str:
    """The decision for a person: the sentence, both values, the effect, tests and guardrails."""
    name = words.metric(value.metric)
    facts = {
        f"{name} of the challenger {value.challenger}": words.interval(value.challenger_value),
        f"{name} of the champion {value.champion or '(none)'}": words.interval(
            value.champion_value
        ),
        "Error removed (relative)": words.percent_interval(value.effect),
        "Rows judged": f"{value.rows:,}",
        "Rows needed": "n/a" if value.required_rows is None else f"{value.required_rows:,}",
    }
    parts = [f"**{escape(words.outcome(value))}**: {escape(value.reason)}"]
    parts.append("\n".join(f"- {escape(key)}: {escape(text)}" for key, text in facts.items()))
    parts += [table(tables.tests_table(value)), table(tables.guardrails_table(value))]
    return "\n\n".join(part for part in parts if part)
