"""The markup of every page: ``base.html`` and what extends it, and the filters they use.

Belongs here: how values are put into HTML. Does not belong here: what stands on a page (``page``,
``monitoring_page``, ``status_page``, ``incident``).
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from stores.reports import words

FOLDER = Path(__file__).parent
#: An interval: a line may break before its bracket, not inside.
BOUNDS = re.compile(r"\[(-?[\d.]+), (-?[\d.]+)\]")
#: Characters of one piece of evidence that are shown.
LONGEST = 2_000


def render_page(template: str, **values: Any) -> str:
    """A template of this folder as HTML; every value is escaped.

    All extend ``base.html``, which wants ``mood``, ``verdict``, ``headline`` and ``sections``.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "data_uri": _data_uri, "plain": _plain}
    return environment.get_template(template).render(**values)


def _cell(value: str | float) -> str:
    """A table cell: counts with thousands, other numbers with three digits, text as it is."""
    if isinstance(value, str):
        return (
            BOUNDS.sub("[\\1,\u00a0\\2]", value).replace("< 0", "<\u00a00").replace(" %", "\u00a0%")
        )
    return f"{value:,}" if isinstance(value, int) else words.number(value)


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _plain(value: JsonValue) -> str:
    """Evidence as text that a person reads; a long one is cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text):,} characters)"
