"""The journal of a rollout: what gateways wrote of its requests, and how far it is counted.

``<home>/rollouts/<slug>/<rollout id>/``: ``journal/`` holds the spool's segments, ``tally.json``
what they came to, ``looked`` when the controller last was there, ``over`` that all is done. Read,
count (``models.core.rollouts.fold``), save, drop: a crash between any two costs nothing: the
tally knows the last line of every writer. It counts and decides nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from models.contracts.product import ModelProduct
from models.contracts.rollout import Tally
from models.core.journal import Line
from stores import spool_segments
from stores.files import sync_folder, write_atomic
from stores.home import Home
from stores.spool_segments import Segment

#: Segments of one reading together; bounds its memory, the next reading goes on.
READ_BYTES = 32 * 2**20
#: Moment of a line by its kind; lines of several gateways are read in the order of these.
_MOMENTS = {"exposure": "at", "outcome": "received_at"}
_LOOKED, _OVER = "looked", "over"


class JournalError(Exception):
    """A rollout's tally cannot be read; the message says what to do."""


class Reading(NamedTuple):
    """What was read.

    Attributes:
        lines: Writer and line: each writer's in its order, all about in the order of time.
        segments: Where they stand; to be dropped when the tally is saved.
        damaged: Lines that are torn or altered, and no unit therefore.
    """

    lines: tuple[tuple[str, Line], ...]
    segments: tuple[Segment, ...]
    damaged: int


def folder(home: Home, product: ModelProduct, rollout_id: str) -> Path:
    """Everything of one rollout."""
    return home.root / "rollouts" / product.slug / rollout_id


def journal(home: Home, product: ModelProduct, rollout_id: str) -> Path:
    """Folder that gateways write to while the rollout runs."""
    return folder(home, product, rollout_id) / "journal"


def read(home: Home, product: ModelProduct, rollout_id: str) -> Reading:
    """Lines of finished segments; of those that are still written to, nothing."""
    chosen: list[Segment] = []
    by_writer: dict[str, list[tuple[str, Line]]] = {}
    size = damaged = 0
    for segment in spool_segments.finished(journal(home, product, rollout_id)):
        if size >= READ_BYTES:
            break
        if (path := segment.path) is None:
            continue
        size += path.stat().st_size
        content = spool_segments.read(path)
        damaged += content.lines.count(None)
        by_writer.setdefault(segment.writer, []).extend(
            (segment.writer, line) for line in content.lines if line is not None
        )
        chosen.append(segment)
    ordered = merge(*map(_timed, by_writer.values()), key=lambda timed: timed[0])
    return Reading(tuple(line for _, line in ordered), tuple(chosen), damaged)


def drop(reading: Reading) -> None:
    """Remove what is counted: call it when the tally is saved, not before."""
    for segment in reading.segments:
        segment.closed.unlink(missing_ok=True)
        segment.open.unlink(missing_ok=True)
    for place in {segment.folder for segment in reading.segments if segment.folder.is_dir()}:
        sync_folder(place)


def load_tally(home: Home, product: ModelProduct, rollout_id: str) -> Tally:
    """What is counted so far; nothing before the first saving.

    Raises:
        JournalError: The file is damaged: what it counted is dropped, so it cannot be made again.
    """
    path = _tally(home, product, rollout_id)
    if not path.exists():
        return Tally(rollout_id=rollout_id)
    try:
        return Tally.model_validate_json(path.read_bytes())
    except ValidationError as error:
        found = error.errors(include_input=False)[0]["msg"]
        raise JournalError(
            f"{path} is damaged ({found}); restore it from a backup, or end the rollout: "
            f"`assay rollout abort {product.key}`"
        ) from error


def save_tally(home: Home, product: ModelProduct, tally: Tally) -> None:
    """Commit: from here on the lines it counted are not counted again."""
    write_atomic(_tally(home, product, tally.rollout_id), tally.model_dump_json())


def look(home: Home, product: ModelProduct, rollout_id: str) -> None:
    """Note that the controller looks at a rollout now."""
    place = folder(home, product, rollout_id)
    place.mkdir(parents=True, exist_ok=True)
    (place / _LOOKED).touch()


def looked_at(home: Home, product: ModelProduct, rollout_id: str) -> datetime | None:
    """When the controller last did; None when it never did."""
    file = folder(home, product, rollout_id) / _LOOKED
    return datetime.fromtimestamp(file.stat().st_mtime, UTC) if file.exists() else None


def end(home: Home, product: ModelProduct, rollout_id: str) -> None:
    """Note that everything the last step asked for is done."""
    write_atomic(folder(home, product, rollout_id) / _OVER, "")


def is_over(home: Home, product: ModelProduct, rollout_id: str) -> bool:
    """Whether it was."""
    return (folder(home, product, rollout_id) / _OVER).exists()


def reopen(home: Home, product: ModelProduct, rollout_id: str) -> None:
    """Note that there is something to do again."""
    (folder(home, product, rollout_id) / _OVER).unlink(missing_ok=True)


def clear(home: Home, product: ModelProduct) -> None:
    """Remove the journals of rollouts that are over: tally and report stay."""
    for place in (home.root / "rollouts" / product.slug).glob("r*"):
        if (place / _OVER).exists():
            shutil.rmtree(place / "journal", ignore_errors=True)


def _tally(home: Home, product: ModelProduct, rollout_id: str) -> Path:
    return folder(home, product, rollout_id) / "tally.json"


def _timed(lines: list[tuple[str, Line]]) -> Iterator[tuple[str, tuple[str, Line]]]:
    """Each line with a moment that never goes back, so that a writer's lines keep their order."""
    latest = ""
    for writer, line in lines:
        latest = max(latest, str(line.body.get(_MOMENTS.get(line.kind, ""), "")))
        yield latest, (writer, line)
