"""Markdown that shows text from data as text. Pure functions.

Names of tenants and reasons come from data: they are escaped, so that they stay what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence


def escape(value: object) -> str:
    """Text that Markdown and HTML leave as it is, on one line."""
    line = " ".join(str(value).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", line)


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """A table with a column for each key of the first row; an empty string without rows."""
    if not rows:
        return ""
    lines = [[escape(name) for name in rows[0]], ["---"] * len(rows[0])]
    lines += [[escape(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def listing(facts: Iterable[tuple[str, str]]) -> str:
    """A bullet for each name and value."""
    return "\n".join(f"- {escape(name)}: {escape(value)}" for name, value in facts)
