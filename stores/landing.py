"""How files enter the raw layer: checked, named by their content, never twice, never half.

``<root>/raw/<source>/<digest>.parquet`` are the parts dbt reads. People drop files into
``<root>/inbox/<source>/``; write under a name that starts with a dot and rename, so that no half
file is taken. What does not fit its schema goes to ``<root>/quarantine/<source>/`` with the reason
beside it: nothing is lost and nothing bad is read. Knows no source and decides no schedule.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from models.contracts.base import Frozen
from stores.files import sha256, sync_folder, write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

#: Metadata of a schema's field that came later: in files from before it is null.
OPTIONAL = {"optional": "yes"}
SUFFIXES, DONE = (".parquet", ".csv"), ".done"
NEXT_STEP = "Mend the file or the source's schema, then drop it into the inbox again"


class LandingError(Exception):
    """A table or file that may not enter the raw layer; the message names the next step."""


class Landed(Frozen):
    """What became of one table or file.

    Attributes:
        status: ``known`` means that the same content was there already.
        path: The part, or the refused file in quarantine.
        digest: First 16 hex digits over the canonical content; empty when refused.
        reason: Why it was refused; empty otherwise.
    """

    source: str
    name: str
    status: Literal["landed", "known", "quarantined"]
    path: Path
    rows: int
    digest: str = ""
    reason: str = ""


class Landing:
    """The raw layer below ``root``. Safe to call again after a crash at any point."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def inbox(self, source: str) -> Path:
        """Folder in which people drop new files; made when missing."""
        folder = self.root / "inbox" / source
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def pending(self, source: str) -> tuple[Path, ...]:
        """Files in the inbox that were not yet taken, by name."""
        files = (p for p in self.inbox(source).iterdir() if p.is_file())
        return tuple(sorted(p for p in files if p.suffix in SUFFIXES and p.name[0] != "."))

    def parts(self, source: str) -> tuple[Path, ...]:
        """The landed files, by name."""
        return tuple(sorted((self.root / "raw" / source).glob("[!.]*.parquet")))

    def version(self, source: str) -> str:
        """Data version: 16 hex digits over the names of the parts, which are their content."""
        names = "\n".join(part.name for part in self.parts(source))
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    def land(self, source: str, name: str, table: pa.Table, schema: pa.Schema) -> Landed:
        """Add a table to the raw layer.

        Args:
            source: Folder below ``raw``.
            name: What a person calls the table; used in messages and in quarantine.
            table: Its columns may be in any order.
            schema: Names, types and non-nullable columns the table must have; those marked
                ``OPTIONAL`` it may lack.

        Returns:
            The part; ``known`` when the same content had landed before.

        Raises:
            LandingError: The table does not fit; a copy and the reason are in quarantine.
        """
        import pyarrow as pa

        try:
            fitting = _fitting(name, table, schema)
        except LandingError as error:
            refused = (
                self._quarantine(source) / f"{Path(name).stem}.{content_digest(table)}.parquet"
            )
            _write_reason(refused, str(error))
            nullable = [field.with_nullable(True) for field in table.schema]
            _write_parquet(refused, table.cast(pa.schema(nullable)))
            raise
        return self._add(source, name, fitting)

    def take(self, source: str, file: Path, schema: pa.Schema) -> Landed:
        """Land one pending file, then move it out of the inbox.

        A crash between the two leaves the file pending; taking it again finds its content known.

        Returns:
            ``landed``, ``known``, or ``quarantined`` with the reason: one bad file must not keep
            the good ones waiting.
        """
        try:
            table = _fitting(file.name, read_table(file, schema), schema)
        except LandingError as error:
            path = free_path(file, self._quarantine(source))
            _write_reason(path, str(error))
            move(file, path)
            return Landed(source=source, name=file.name, status="quarantined", path=path,
                          rows=0, reason=str(error))  # fmt: skip
        landed = self._add(source, file.name, table)
        move(file, free_path(file, self.inbox(source) / DONE))
        return landed

    def _add(self, source: str, name: str, table: pa.Table) -> Landed:
        digest = content_digest(table)
        path = self.root / "raw" / source / f"{digest}.parquet"
        status: Literal["landed", "known"] = "known" if path.exists() else "landed"
        if status == "landed":
            _write_parquet(path, table)
        return Landed(source=source, name=name, status=status, path=path,
                      rows=table.num_rows, digest=digest)  # fmt: skip

    def _quarantine(self, source: str) -> Path:
        return self.root / "quarantine" / source


def mismatches(found: pa.Schema, expected: pa.Schema) -> list[str]:
    """What keeps a table from having the expected columns, in words; empty when nothing does."""
    missing = [name for name in expected.names if name not in found.names]
    unexpected = [name for name in found.names if name not in expected.names]
    repeated = sorted({name for name in found.names if found.names.count(name) > 1})
    types = [
        f"{field.name} is {found.field(field.name).type}, expected {field.type}"
        for field in expected
        if field.name not in (*missing, *repeated)
        and not found.field(field.name).type.equals(field.type)
    ]
    named = {"missing columns": missing, "unexpected columns": unexpected,
             "repeated columns": repeated, "wrong types": types}  # fmt: skip
    return [f"{what}: {', '.join(names)}" for what, names in named.items() if names]


def nulls(table: pa.Table, schema: pa.Schema) -> list[str]:
    """Which required columns hold nulls, in words; call it when the columns match."""
    counts = {f.name: table[f.name].null_count for f in schema if not f.nullable}
    found = [f"{name} ({count} of {table.num_rows})" for name, count in counts.items() if count]
    return [f"nulls in required columns: {', '.join(found)}"] if found else []


def read_table(file: Path, schema: pa.Schema) -> pa.Table:
    """A Parquet or CSV file; a CSV's text is read as the types of ``schema``, lists as ``[1, 2]``.

    Raises:
        LandingError: The file cannot be read as what its name says.
    """
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            with pq.ParquetFile(file) as opened:
                return opened.read()
        return _read_csv(file, schema)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        message = f"{file.name} cannot be read: {str(error).strip()}. {NEXT_STEP}"
        raise LandingError(message) from error


def content_digest(table: pa.Table) -> str:
    """16 hex digits over names, types and values in row order.

    Format, compression, chunks and writer do not count: the same rows always get the same name.
    """
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name};".encode())
        _digest_values(column.combine_chunks(), digest)
    return digest.hexdigest()[:16]


def _fitting(name: str, table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    for field in schema:
        if b"optional" in (field.metadata or {}) and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    if problems := mismatches(table.schema, schema) or nulls(table, schema):
        raise LandingError(f"{name}: {'; '.join(problems)}. {NEXT_STEP}")
    if not table.num_rows:
        raise LandingError(f"{name}: no rows; ask its sender for them, an empty file says nothing")
    return table.select(schema.names).cast(schema)


def _read_csv(file: Path, schema: pa.Schema) -> pa.Table:
    """DuckDB reads lists in CSV, pyarrow does not."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        text = connection.read_csv(str(file), all_varchar=True, header=True)
        wanted = connection.from_arrow(schema.empty_table())
        types = dict(zip(wanted.columns, wanted.types, strict=True))
        quoted = {name: '"' + name.replace('"', '""') + '"' for name in text.columns}
        columns = [f"{_cast(q, str(types[name]))} as {q}" if name in types else q
                   for name, q in quoted.items()]  # fmt: skip
        table: pa.Table = text.project(", ".join(columns)).to_arrow_table()
    return table


def _cast(column: str, kind: str) -> str:
    """Text as a type; a time with an offset as the UTC it means (a bare cast drops the offset)."""
    if kind == "TIMESTAMP":
        return f"cast({column} as timestamptz) at time zone 'UTC'"
    return f"cast({column} as {kind})"


def _digest_values(array: pa.Array, digest: Any) -> None:
    """Feed validity, then the values that are not null, in a form that has no padding."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    digest.update(b"list" if pa.types.is_list(kind) else str(kind).encode())
    digest.update(array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
    values = array.drop_null()
    if pa.types.is_list(kind):
        _digest_values(pc.list_value_length(values), digest)
        _digest_values(pc.list_flatten(values), digest)
    elif pa.types.is_string(kind):
        _digest_values(pc.binary_length(values), digest)
        digest.update("".join(values.to_pylist()).encode())
    elif pa.types.is_timestamp(kind):
        _digest_values(values.cast(pa.int64()), digest)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        digest.update(values.to_numpy(zero_copy_only=False).tobytes())
    else:
        digest.update(repr(values.to_pylist()).encode())


def _write_parquet(path: Path, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with aside.open("xb") as stream:
            pq.write_table(table, stream, compression="zstd")
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def _write_reason(path: Path, reason: str) -> None:
    write_atomic(path.with_name(f"{path.name}.reason.json"), json.dumps({"reason": reason}))


def free_path(file: Path, folder: Path) -> Path:
    """Where ``file`` may go in ``folder`` without replacing another one of its name."""
    other = f"{file.stem}.{sha256(file)[:16]}{file.suffix}"
    return folder / (other if (folder / file.name).exists() else file.name)


def move(file: Path, path: Path) -> None:
    """Move a file durably; the folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file.replace(path)
    sync_folder(path.parent)
