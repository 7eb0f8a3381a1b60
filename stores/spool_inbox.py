"""Outcome files that people drop into ``<home>/inbox/outcomes/``: Parquet or CSV.

Columns: ``product`` (key), ``prediction_id`` or ``event_id`` (exactly one per row), ``label`` (0 or
1), ``known_at`` (UTC) and, when only rows of one tenant are meant, ``tenant``. A file enters as a
whole or not at all: one that does not fit goes to ``<home>/quarantine/outcomes/`` with its reason.
The same content again changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.contracts.base import Frozen
from models.contracts.traffic import OutcomeRecord
from stores import spool_parts
from stores.home import Home
from stores.landing import (
    DONE,
    NEXT_STEP,
    Landing,
    LandingError,
    content_digest,
    free_path,
    mismatches,
    move,
    nulls,
    read_table,
)

if TYPE_CHECKING:
    import pyarrow as pa

SOURCE = "outcomes"
#: In microseconds since 1970; Python and DuckDB do not read every time that Parquet can hold.
_YEAR_3000 = 32_503_680_000_000_000


class OutcomeFile(Frozen):
    """What became of a dropped file; ``reason`` is empty unless it was refused."""

    name: str
    status: Literal["landed", "known", "quarantined"]
    rows: int
    reason: str = ""


def waiting(home: Home) -> tuple[Path, ...]:
    """Files that were not yet taken."""
    return Landing(home.root).pending(SOURCE)


def take(home: Home, file: Path, slugs: Mapping[str, str], now: datetime) -> OutcomeFile:
    """Land one file and move it out of the inbox.

    A crash between the two leaves the file waiting; taken again, its parts are known.

    Args:
        home: Where the inbox and the log are.
        file: The file.
        slugs: Product key to slug.
        now: Receiver's clock, kept as ``received_at``.
    """
    try:
        rows = _checked(file, slugs)
    except LandingError as error:
        target = free_path(file, home.root / "quarantine" / SOURCE)
        spool_parts.write_again(
            target.with_name(f"{target.name}.reason.json"), json.dumps({"reason": str(error)})
        )
        move(file, target)
        return OutcomeFile(name=file.name, status="quarantined", rows=0, reason=str(error))
    new = [_land(home, file.name, mine, slugs[key], now) for key, mine in _by_product(rows)]
    move(file, free_path(file, file.parent / DONE))
    return OutcomeFile(name=file.name, status="landed" if any(new) else "known", rows=rows.num_rows)


def _checked(file: Path, slugs: Mapping[str, str]) -> pa.Table:
    """The file's rows in the inbox's schema.

    Raises:
        LandingError: They do not fit; the message says which rows and what to do.
    """
    import pyarrow as pa

    wanted = pa.schema([
        pa.field("product", pa.string(), nullable=False), pa.field("prediction_id", pa.string()),
        pa.field("event_id", pa.string()), pa.field("label", pa.int64(), nullable=False),
        pa.field("known_at", pa.timestamp("us"), nullable=False), pa.field("tenant", pa.string()),
    ])  # fmt: skip
    # DuckDB, which reads CSV, drops the offset of a time: times are read as text
    as_text = wanted.set(wanted.get_field_index("known_at"), pa.field("known_at", pa.string()))
    rows = _cast(file, read_table(file, as_text), wanted)
    if problems := mismatches(rows.schema, wanted) or nulls(rows, wanted):
        raise LandingError(f"{file.name}: {'; '.join(problems)}. {NEXT_STEP}")
    problems = _misfits(rows.to_pylist(), slugs)
    if problems or not rows.num_rows:
        found = "; ".join(problems) or "no rows"
        raise LandingError(f"{file.name}: {found}. {NEXT_STEP}")
    return rows.select(wanted.names)


def _cast(file: Path, rows: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Other widths, zones and resolutions than ours are no reason to refuse a file."""
    import pyarrow as pa

    for field in wanted:
        if field.nullable and field.name not in rows.column_names:
            rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
    for place, name in enumerate(rows.column_names):
        if name in wanted.names:
            try:
                values = _times(rows.column(place)) if name == "known_at" else rows.column(place)
                rows = rows.set_column(place, name, values.cast(wanted.field(name).type))
            except (pa.ArrowException, ValueError) as error:
                message = f"{file.name}: {name} cannot be read: {error}. {NEXT_STEP}"
                raise LandingError(message) from error
    return rows


def _times(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times in microseconds; text is ISO 8601, without an offset UTC.

    Raises:
        ValueError: A text is no time.
    """
    import pyarrow as pa

    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        texts = values.to_pylist()
        found = [datetime.fromisoformat(text) if text else None for text in texts]
        aware = [t.replace(tzinfo=t.tzinfo or UTC) if t else None for t in found]
        values = pa.chunked_array([pa.array(aware, pa.timestamp("us", "UTC"))])
    zone = getattr(values.type, "tz", None)
    times = values.cast(pa.timestamp("us", zone), safe=False)
    ticks = [t for t in times.cast(pa.int64()).to_pylist() if t is not None]
    if ticks and not 0 <= min(ticks) <= max(ticks) < _YEAR_3000:
        raise ValueError("a time lies before 1970 or after 2999")
    return times


def _misfits(rows: list[dict[str, Any]], slugs: Mapping[str, str]) -> list[str]:
    """What is wrong with rows, in words, with the first row (from 1) of each kind."""
    found: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        ids = [row[name] for name in ("prediction_id", "event_id") if row[name]]
        if row["product"] not in slugs:
            found.setdefault(f"unknown product {row['product']!r}", number)
        if len(ids) != 1:
            found.setdefault("give prediction_id or event_id, not " + ("both" if ids else "none"),
                             number)  # fmt: skip
        if row["label"] not in (0, 1):
            found.setdefault(f"label is {row['label']}, not 0 or 1", number)
    return [f"row {number}: {problem}" for problem, number in found.items()]


def _by_product(rows: pa.Table) -> list[tuple[str, pa.Table]]:
    import pyarrow.compute as pc

    keys = sorted(set(rows["product"].to_pylist()))
    return [(key, rows.filter(pc.equal(rows["product"], key))) for key in keys]


def _land(home: Home, name: str, mine: pa.Table, slug: str, now: datetime) -> bool:
    """Land a product's rows; False when the same content is there already, under any day."""
    # a column that says nothing is no other content: files of before it came are known again
    silent = mine["tenant"].null_count == mine.num_rows
    digest = content_digest(mine.drop_columns("tenant") if silent else mine)
    part = f"inbox-{digest}"
    if any((spool_parts.folder(home, "outcome") / slug).glob(f"day=*/{part}.parquet")):
        return False
    records = [
        OutcomeRecord(
            outcome_id=f"{digest}-{number}",
            product=row["product"],
            prediction_id=row["prediction_id"] or None,
            event_id=row["event_id"] or None,
            label=row["label"],
            known_at=row["known_at"].replace(tzinfo=UTC),
            received_at=now,
            source=name,
            tenant=row["tenant"] or None,
        )
        for number, row in enumerate(mine.to_pylist())
    ]
    spool_parts.write_parts(home, "outcome", slug, part, spool_parts.table("outcome", records))
    return True
