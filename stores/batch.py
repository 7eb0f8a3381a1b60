"""Files of rows to answer, and what was answered of them: in pieces, each exactly once.

    <home>/batch/<slug>/in/<name>.{parquet,csv}    put there by anybody, moved in whole
    <home>/batch/<slug>/out/<name>-<digest>/       answers.jsonl, bad.jsonl, report.json

A piece is written in one step, so a run that is killed goes on behind the last one. The digest is
of the file's content: the same file is answered once, a changed one anew. Files of the inbox are
never changed. Knows no model and no Dagster: what is said of a row is the caller's affair.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from models.contracts.base import Frozen
from models.contracts.product import ModelProduct
from stores.files import settle, sha256, unnamed_folder, write_atomic
from stores.home import Home

#: Rows that are answered between two notes of how far it is.
PIECE = 1_000
SUFFIXES = (".parquet", ".csv")
ANSWERS, BAD, REPORT = "answers.jsonl", "bad.jsonl", "report.json"
_DIGITS = 12

Row = dict[str, Any]


class BatchError(Exception):
    """A file that was not answered; the message says why and what to do."""


class Said(NamedTuple):
    """What became of one row.

    Attributes:
        answer: As the service would give it; None where there is none.
        error: Why there is none.
    """

    answer: Row | None = None
    error: str | None = None


class Report(Frozen):
    """A finished file.

    Attributes:
        file: Its name in the inbox.
        sha256: Of its content.
        version: Release that answered all of it.
        bad: Rows without an answer.
    """

    file: str
    sha256: str
    version: str
    rows: int
    bad: int
    finished_at: datetime


#: What is said of rows, in their order.
Answer = Callable[[Sequence[Row]], Sequence[Said]]


def folder(home: Home, product: ModelProduct) -> Path:
    """Where the files of a product lie."""
    return home.root / "batch" / product.slug


def waiting(place: Path) -> list[Path]:
    """Files of an inbox that are not answered yet, by name; those that begin with a dot are not in.

    Args:
        place: See `folder`.
    """
    files = [f for f in sorted((place / "in").glob("[!.]*")) if f.suffix in SUFFIXES]
    return [file for file in files if not finished(file).is_dir()]


def finished(file: Path) -> Path:
    """Folder of the answers to a file of the inbox; there is none before all of it is answered."""
    return file.parent.parent / "out" / f"{file.stem}-{sha256(file)[:_DIGITS]}"


def take_in(place: Path, file: Path) -> Path:
    """Copy a file into the inbox, whole or not at all.

    Raises:
        BatchError: It is of no kind that can be read.
    """
    if file.suffix not in SUFFIXES or file.name.startswith("."):
        raise BatchError(f"{file.name}: give a file whose name ends with {' or '.join(SUFFIXES)}")
    inside = place / "in" / file.name
    inside.parent.mkdir(parents=True, exist_ok=True)
    unseen = inside.with_name(f".{file.name}")
    shutil.copyfile(file, unseen)
    return unseen.replace(inside)


def process(
    file: Path, version: str, strings: frozenset[str], answer: Answer, say: Callable[[str], object]
) -> Report:
    """Answer every row of a file; goes on where a killed run of the same release stopped.

    Args:
        file: In an inbox.
        version: Release that answers.
        strings: Columns that are text, also where a CSV file has digits only.
        answer: Asks the model.
        say: Told how far it is.

    Raises:
        BatchError: The file cannot be read, or another run is at it.
    """
    target = finished(file)
    with _alone(target):
        work = target.with_name(f".{target.name}-{version}-{PIECE}")
        rows = bad = 0
        for number, piece in enumerate(_pieces(file, strings)):
            part = work / f"{number:06d}.jsonl"
            if not part.exists():
                told = zip(range(rows, rows + len(piece)), piece, answer(piece), strict=True)
                write_atomic(part, "".join(_line(*one) for one in told))
            bad += sum("error" in one for one in _lines(part))
            rows += len(piece)
            say(f"{file.name}: {rows} rows, {bad} without an answer")
        report = Report(
            file=file.name, sha256=sha256(file), version=version, rows=rows, bad=bad,
            finished_at=datetime.now(UTC),
        )  # fmt: skip
        _settle(target, sorted(work.glob("*.jsonl")), report)
        for left in target.parent.glob(f".{target.name}-*"):  # of other releases too
            shutil.rmtree(left, ignore_errors=True)
    return report


def read(file: Path, strings: frozenset[str]) -> Iterator[Row]:
    """Rows of a file as JSON values.

    Raises:
        BatchError: It cannot be read.
    """
    try:
        yield from _csv(file, strings) if file.suffix == ".csv" else _parquet(file)
    except (OSError, ValueError, csv.Error) as error:  # those of Arrow and of Unicode are such
        raise BatchError(f"{file.name} cannot be read ({error}); put a whole one there") from error


def _pieces(file: Path, strings: frozenset[str]) -> Iterator[list[Row]]:
    rows = read(file, strings)
    while piece := list(islice(rows, PIECE)):
        yield piece


def _parquet(file: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        for batch in opened.iter_batches(PIECE):
            yield from batch.to_pylist()


def _csv(file: Path, strings: frozenset[str]) -> Iterator[Row]:
    """Empty cells are null; what is no text is read as JSON."""
    with file.open(newline="", encoding="utf-8-sig") as stream:
        for row in csv.DictReader(stream):
            yield {
                name: _cell(value, name in strings)
                for name, value in row.items()
                if name is not None
            }


def _cell(value: str | None, text: bool) -> Any:
    if not value:
        return None
    if not text:
        with suppress(ValueError):
            return json.loads(value)
    return value


def _line(number: int, row: Row, said: Said) -> str:
    answered, refused = {"answer": said.answer}, {"error": said.error, "asked": row}
    found: Row = answered if said.error is None else refused
    return json.dumps({"row": number, **found}, default=as_json) + "\n"


def as_json(value: object) -> object:
    """A moment of Parquet as text; everything else JSON has."""
    return value.isoformat() if isinstance(value, date) else str(value)


def _lines(part: Path) -> Iterator[Row]:
    with part.open(encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def _settle(target: Path, parts: Sequence[Path], report: Report) -> None:
    """All answers in one file, all bad rows in another, and the folder gets its name at last."""
    with unnamed_folder(target.parent) as aside:
        with (aside / ANSWERS).open("w") as good, (aside / BAD).open("w") as bad:
            for one in (line for part in parts for line in _lines(part)):
                if "error" in one:
                    bad.write(json.dumps(one) + "\n")
                else:
                    good.write(json.dumps({"row": one["row"], **one["answer"]}) + "\n")
        (aside / REPORT).write_text(report.model_dump_json(indent=1))
        settle(aside, target)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(target.parent / ".lock", timeout=0):
            yield
    except Timeout:
        raise BatchError(f"{target.name} waits: another run answers files; let it end") from None
