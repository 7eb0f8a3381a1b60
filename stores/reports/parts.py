"""What a page is made of: tables, plots, sections, and the turning of wide tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stores.reports.tables import Row


@dataclass(frozen=True)
class Table:
    """Rows under a caption; the first column of each row is its header."""

    caption: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Plot:
    """A PNG, what a person who cannot see it reads, and how to read it."""

    png: bytes
    alt: str
    reading: str


@dataclass(frozen=True)
class Section:
    """One chapter of the page."""

    anchor: str
    title: str
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()


def transpose(rows: Sequence[Row], key: str) -> list[Row]:
    """Rows as columns, headed by the values of ``key``: few models with many figures read so."""
    if not rows:
        return []
    turned: list[Row] = []
    for name in rows[0]:
        if name != key:
            line: Row = {"Figure": name}
            line |= {str(row[key]): row[name] for row in rows}
            turned.append(line)
    return turned


def narrow(rows: Sequence[Row], kept: int, most: int) -> list[list[Row]]:
    """A wide table as several, each with the first columns and at most ``most`` of the others."""
    names = list(rows[0])
    parts = [names[i : i + most] for i in range(kept, len(names), most)]
    return [[{name: row[name] for name in names[:kept] + part} for row in rows] for part in parts]
