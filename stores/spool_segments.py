"""Segments of a service's log: which are finished, what their lines say, which numbers are missing.

Reads and counts; lands and removes nothing (``stores.spool`` does). The format of a line is
``models.core.journal``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, takewhile
from pathlib import Path
from typing import NamedTuple

from models.core.journal import CLOSED, OPEN, Line, decode

#: ``<writer>-<six digits>``; a hidden file is not one yet.
_NAME = re.compile(r"[^.]+-\d{6}(?:\.open|\.log)")


class Segment(NamedTuple):
    """A finished segment. ``stem`` stays the same when its writer renames it."""

    folder: Path
    stem: str

    @property
    def writer(self) -> str:
        """Whose lines it holds."""
        return self.stem.rpartition("-")[0]

    @property
    def closed(self) -> Path:
        """Its name when the writer finished it."""
        return self.folder / f"{self.stem}{CLOSED}"

    @property
    def open(self) -> Path:
        """Its name when the writer died over it."""
        return self.folder / f"{self.stem}{OPEN}"

    @property
    def path(self) -> Path | None:
        """Where it is; None when somebody removed it."""
        return next((path for path in (self.closed, self.open) if path.exists()), None)


class Content(NamedTuple):
    """A segment's lines; None stands for one that is torn or altered.

    Attributes:
        torn_tail: The last line of a writer that died: it was never acknowledged, so it is no loss.
    """

    lines: tuple[Line | None, ...]
    torn_tail: bool


class Numbering(NamedTuple):
    """What a writer's numbers prove.

    Attributes:
        last: Highest number so far.
        answered: Lines that the numbers say were written since the former ``last``.
        missing: First and last number of each gap.
    """

    last: int
    answered: int
    missing: tuple[tuple[int, int], ...]


def finished(folder: Path) -> tuple[Segment, ...]:
    """Segments nobody writes to any more, each writer's in its order of writing."""
    if not folder.is_dir():
        return ()
    # Twice: one pass over a folder may miss a file that is renamed meanwhile.
    names = {path.name for _ in range(2) for path in folder.iterdir()}
    stems = sorted({Path(name).stem for name in names if _NAME.fullmatch(name)})
    by_writer = groupby((Segment(folder, stem) for stem in stems), key=lambda s: s.writer)
    # Up to the first one that is in use: later ones may seem free while their writer dies.
    return tuple(s for _, mine in by_writer for s in takewhile(_finished, mine))


def read(path: Path) -> Content:
    """All lines of a segment."""
    pieces = path.read_bytes().split(b"\n")
    tail = pieces.pop()
    lines = [decode(piece) for piece in pieces]
    torn_tail = bool(tail) and path.suffix == OPEN
    if tail and not torn_tail:
        lines.append(None)
    return Content(tuple(lines), torn_tail)


def follow(last: int, lines: Sequence[Line | None]) -> Numbering:
    """Check that a writer's numbers go on from ``last`` without a gap.

    A torn line in the middle shows as a gap before the next whole one; torn lines at the end are
    taken for the next numbers, so that the writer's following segment does not miss them again.
    """
    start, torn = last, 0
    missing = []
    for line in lines:
        torn = 0 if line else torn + 1
        if line and line.number > last:
            if line.number > last + 1:
                missing.append((last + 1, line.number - 1))
            last = line.number
    if torn:
        missing.append((last + 1, last + torn))
    return Numbering(last + torn, last + torn - start, tuple(missing))


def _finished(segment: Segment) -> bool:
    """Closed by its writer, or open and its writer is dead: a live one holds its lock."""
    import fcntl

    if segment.closed.exists():
        return True
    try:
        with segment.open.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)  # two readers do not meet
    except (FileNotFoundError, BlockingIOError):
        return False
    return True
