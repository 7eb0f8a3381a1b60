"""The landed prediction log: schemas, Parquet parts by product and day, retention.

``<home>/raw/<kind>s/<slug>/day=YYYY-MM-DD/<name>.parquet``, and ``empty.parquet`` beside the
products, so that a glob always matches. Who names a part, and when, is ``stores.spool``'s affair.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from models.contracts.base import Frozen
from models.contracts.traffic import OutcomeRecord, PredictionRecord, RecordKind, RefusalRecord
from stores.files import sync_folder, write_atomic
from stores.home import Home

if TYPE_CHECKING:
    import pyarrow as pa

#: A day with this many parts is merged into one: a reader opens every file.
MERGE_PARTS = 48


class Log(NamedTuple):
    """One of the three logs.

    Attributes:
        name: Folder below ``raw``.
        record: Type of a line's body.
        moment: Field whose day names the partition: when the line was logged.
    """

    name: str
    record: type[Frozen]
    moment: str


LOGS: dict[RecordKind, Log] = {
    "prediction": Log("predictions", PredictionRecord, "answered_at"),
    "outcome": Log("outcomes", OutcomeRecord, "received_at"),
    "refusal": Log("refusals", RefusalRecord, "answered_at"),
}


def predictions_schema() -> pa.Schema:
    """Columns of ``raw/predictions``: PredictionRecord; times are UTC without a zone."""
    import pyarrow as pa

    return _schema(
        prediction_id=pa.string(), request_id=pa.string(), product=pa.string(),
        tenant=pa.string(), model_version=pa.string(), event_id=pa.string(),
        event_time=pa.timestamp("us"), answered_at=pa.timestamp("us"), purpose=pa.string(),
        score=pa.float64(), inputs=pa.list_(pa.float64()), inputs_hash=pa.string(),
        latency_ms=pa.float64(), rows=pa.int64(),
    )  # fmt: skip


def outcomes_schema() -> pa.Schema:
    """Columns of ``raw/outcomes``: OutcomeRecord; times are UTC without a zone."""
    import pyarrow as pa

    return _schema(
        outcome_id=pa.string(), product=pa.string(), prediction_id=pa.string(),
        event_id=pa.string(), label=pa.int64(), known_at=pa.timestamp("us"),
        received_at=pa.timestamp("us"), source=pa.string(), tenant=pa.string(),
    )  # fmt: skip


def refusals_schema() -> pa.Schema:
    """Columns of ``raw/refusals``: RefusalRecord; times are UTC without a zone."""
    import pyarrow as pa

    return _schema(
        request_id=pa.string(), product=pa.string(), model_version=pa.string(),
        answered_at=pa.timestamp("us"), path=pa.string(), status=pa.int64(),
        latency_ms=pa.float64(),
    )  # fmt: skip


def schema(kind: RecordKind) -> pa.Schema:
    """Columns of a log."""
    makers = {"prediction": predictions_schema, "outcome": outcomes_schema}
    return makers.get(kind, refusals_schema)()


def table(kind: RecordKind, records: Sequence[Frozen]) -> pa.Table:
    """Records as columns."""
    import pyarrow as pa

    wanted = schema(kind)
    columns = [
        pa.array([getattr(record, field.name) for record in records], field.type)
        for field in wanted
    ]
    return pa.table(columns, schema=wanted)


def folder(home: Home, kind: RecordKind) -> Path:
    """Where a log lies."""
    return home.root / "raw" / LOGS[kind].name


def prepare(home: Home) -> None:
    """Make the files without rows that let every reader start before there is traffic.

    Anew when a column has come since: readers unite the columns of all files by name.
    """
    import pyarrow.parquet as pq

    for kind in LOGS:
        empty = folder(home, kind) / "empty.parquet"
        if not empty.exists() or not pq.read_schema(empty).equals(schema(kind)):
            write_again(empty, _parquet(table(kind, ())))


def write_again(path: Path, content: str | bytes) -> None:
    """``write_atomic`` for a step that a kill may have cut short: what it left goes first.

    To be called by the one process that holds the ingestion's lock.
    """
    for torn in path.parent.glob(f".{path.name}.*"):
        torn.unlink()
    write_atomic(path, content)


def write_parts(home: Home, kind: RecordKind, slug: str, name: str, rows: pa.Table) -> int:
    """Write one part per day; writing the same again changes nothing.

    Returns:
        Number of days.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    days = pc.cast(rows[LOGS[kind].moment], pa.date32())
    distinct: list[date] = days.unique().to_pylist()
    for day in distinct:
        path = folder(home, kind) / slug / f"day={day:%Y-%m-%d}" / f"{name}.parquet"
        write_again(path, _parquet(rows.filter(pc.equal(days, pa.scalar(day)))))
    for made in (folder(home, kind) / slug, folder(home, kind)):
        sync_folder(made)
    return len(distinct)


def parts(home: Home, kind: RecordKind) -> tuple[Path, ...]:
    """The landed files, by product, day and name."""
    return tuple(sorted(folder(home, kind).glob("*/day=*/[!.]*.parquet")))


def count(paths: Sequence[Path]) -> int:
    """Rows in these parts, read from their footers."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in paths)


def version(home: Home, kind: RecordKind) -> str:
    """Data version of a log: 16 hex digits over the names of its parts."""
    root = folder(home, kind)
    names = "\n".join(str(part.relative_to(root)) for part in parts(home, kind))
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def drop_old_days(home: Home, slug: str, keep: int, today: date) -> tuple[str, ...]:
    """Remove whole days more than ``keep`` days older than the newest of their log.

    Days are those of the logging, so a replayed year stays. The clock does not age the log, it only
    bounds what counts as the newest: one line dated by a clock that had jumped ahead must not empty
    it.

    Returns:
        ``<log>/<day>`` of each.
    """
    dropped = []
    for kind, log in LOGS.items():
        days = {_day(path): path for path in (folder(home, kind) / slug).glob("day=*")}
        newest = max((day for day in days if day <= today), default=None)
        for day in sorted(days):
            if newest and day < newest - timedelta(days=keep):
                shutil.rmtree(days[day])
                dropped.append(f"{log.name}/{day}")
    return tuple(dropped)


def merge_small_parts(home: Home, slug: str) -> int:
    """Make one part of a day that has many.

    The list of what is merged is written first, so that a crash anywhere is finished by the next
    call; a reader in between may meet a row twice and never misses one (ids are unique).

    Returns:
        Number of days merged.
    """
    merged = 0
    for kind in LOGS:
        for day in sorted((folder(home, kind) / slug).glob("day=*")):
            plan = day / ".merge.json"
            # a dropped file's part keeps its name: by it the same content is known again
            names = sorted(path.name for path in day.glob("[!.i]*.parquet"))
            if not plan.exists() and len(names) >= MERGE_PARTS:
                target = (
                    f"merged-{hashlib.sha256(''.join(names).encode()).hexdigest()[:16]}.parquet"
                )
                write_again(plan, json.dumps({"into": target, "parts": names}))
            if plan.exists():
                _merge(day, plan, schema(kind))
                merged += 1
    return merged


def _merge(day: Path, plan: Path, columns: pa.Schema) -> None:
    listed = json.loads(plan.read_text(encoding="utf-8"))
    target = day / listed["into"]
    for torn in day.glob(".merged-*"):
        torn.unlink()
    if not target.exists():
        _concatenate([day / name for name in listed["parts"]], target, columns)
    for name in listed["parts"]:
        (day / name).unlink(missing_ok=True)
    plan.unlink()
    sync_folder(day)


def _concatenate(sources: Sequence[Path], target: Path, columns: pa.Schema) -> None:
    """Row group by row group: a day may be larger than the memory."""
    import pyarrow.parquet as pq

    aside = target.with_name(f".{target.name}.{uuid4().hex}")
    with aside.open("xb") as stream:
        with pq.ParquetWriter(stream, columns, compression="zstd") as writer:
            for source in sources:
                with pq.ParquetFile(source) as file:
                    for group in range(file.num_row_groups):
                        writer.write_table(_with_all(file.read_row_group(group), columns))
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(target)
    sync_folder(target.parent)


def _with_all(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """Rows of before a column came, with nulls in it."""
    import pyarrow as pa

    for field in columns:
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(columns.names).cast(columns)


def _day(path: Path) -> date:
    return date.fromisoformat(path.name.partition("=")[2])


def _parquet(rows: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _schema(**types: pa.DataType) -> pa.Schema:
    import pyarrow as pa

    optional = {"event_id", "prediction_id", "tenant"} if "outcome_id" in types else {
        "event_id", "inputs"}  # fmt: skip
    return pa.schema(
        [pa.field(name, kind, nullable=name in optional) for name, kind in types.items()]
    )
