"""Where a service's records go: files that survive the process, of bounded size, for the ingestion.

Knows lines and files, not what a record means and not HTTP. The ingestion takes finished segments
and those whose writer died; ``models.core.journal`` says what a line looks like. Why this way:
``docs/decisions/0008-prediction-log.md``.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.contracts.traffic import RecordKind
from models.core.journal import CLOSED, OPEN, encode

Entry = tuple[RecordKind, Mapping[str, Any]]

ROTATE_BYTES = 8_000_000
ROTATE_SECONDS = 5.0
SYNC_SECONDS = 1.0
#: Segments of one writer: a name has room for six digits, and a try that fails takes a number too.
WRITER_SEGMENTS = 900_000
_COUNT_PAUSE = 50

_LOG = logging.getLogger("assay.spool")


class SpoolError(Exception):
    """Nothing of what was given is in the log; the message says why and what to do."""


class Spool:
    """Appends records; one per process, made in the process that writes.

    A thread brings the file to the disk about every second and finishes segments by size and age.

    Args:
        folder: Made when missing; several writers may share it.
        max_bytes: Bound on everything in the folder, whoever wrote it.
        rotate_bytes: Size from which on a segment is finished.
        rotate_seconds: Age from which on a segment is finished.
        sync_seconds: Pause of the thread.
        counted: Told how many bytes the folder holds, whenever the thread counted them.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        rotate_bytes: int = ROTATE_BYTES,
        rotate_seconds: float = ROTATE_SECONDS,
        sync_seconds: float = SYNC_SECONDS,
        counted: Callable[[int], None] | None = None,
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._rotate_bytes, self._rotate_seconds = rotate_bytes, rotate_seconds
        self._sync_seconds, self._counted = sync_seconds, counted
        self._lock = threading.Lock()
        self._wake, self._closed = threading.Event(), False
        self._segment: _Segment | None = None
        self._used, self._next_count = 0, 0.0
        self._count()
        self._begin()
        self._keeper = threading.Thread(target=self._keep, name="spool", daemon=True)
        self._keeper.start()

    def append(self, entries: Sequence[Entry], bound: int | None = None) -> None:
        """Write all entries in one piece, or none of them.

        Args:
            entries: Kind and body of each record.
            bound: Bytes up to which these entries may fill the folder, if not ``max_bytes``.

        Raises:
            SpoolError: The folder is full, the disk is, or the spool was closed.
        """
        with self._lock:
            if self._closed:
                raise SpoolError("the service is shutting down; send the request again")
            if self._segment is None and self._segments >= WRITER_SEGMENTS:
                self._begin()
            lines = [encode(number, *entry) for number, entry in enumerate(entries, self._next)]
            data = b"".join(lines)
            self._check_room(len(data), self.max_bytes if bound is None else bound)
            self._write(data)
            self._next += len(lines)
            self._used += len(data)
            if self._segment and self._segment.size >= self._rotate_bytes:
                self._wake.set()

    def close(self) -> None:
        """Finish the segment, so that the ingestion need not find out that the writer left."""
        with self._lock:
            self._closed = True
        self._wake.set()
        self._keeper.join()

    def _begin(self) -> None:
        """Be a new writer: a name, and numbers from 1."""
        self._writer = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._next, self._segments = 1, 0

    def _check_room(self, wanted: int, bound: int) -> None:
        if self._used + wanted > bound:
            raise SpoolError(
                f"the prediction log is full ({self._used} of {bound} bytes); materialise"
                " raw/predictions, which empties it, or raise ASSAY_SPOOL_MB"
            )

    def _write(self, data: bytes) -> None:
        try:
            self._open_segment().write(data)
        except OSError as error:
            self._undo()
            raise SpoolError(
                f"the prediction log cannot be written ({error.strerror}); its disk needs free"
                " space and its folder must be writable"
            ) from error

    def _open_segment(self) -> _Segment:
        if self._segment and self._segment.removed():
            self._segment.abandon()
            self._segment = None
        if self._segment is None:
            self._segments += 1
            self._segment = _Segment(self.folder / f"{self._writer}-{self._segments:06}{OPEN}")
        return self._segment

    def _undo(self) -> None:
        """Cut off what a failed write left; when even that fails, be a new writer.

        The numbers in the torn rest must not come again, and for the ingestion it is the end of
        a writer that died.
        """
        if self._segment is None:
            return
        try:
            self._segment.cut()
        except OSError:
            self._segment.abandon()
            self._segment = None
            self._begin()

    def _keep(self) -> None:
        while not self._closed:
            self._wake.wait(self._sync_seconds)
            self._wake.clear()
            self._round()
        self._round()

    def _round(self) -> None:
        try:
            self._tend()
            self._count()
        except OSError:
            _LOG.exception("a segment was not brought to the disk; is the disk full or broken?")

    def _count(self) -> None:
        begun = time.monotonic()
        if begun >= self._next_count:
            self._used = used_bytes(self.folder)
            # many files when nothing ingests: counting must not become what the process does
            self._next_count = begun + _COUNT_PAUSE * (time.monotonic() - begun)
            if self._counted:
                self._counted(self._used)

    def _tend(self) -> None:
        """Finish the segment when it is due, else bring it to the disk; appends go on meanwhile."""
        with self._lock:
            segment = self._segment
            due = segment is not None and (
                self._closed
                or segment.size >= self._rotate_bytes
                or (segment.size > 0 and segment.age() >= self._rotate_seconds)
            )
            if due:
                self._segment = None
        if segment is not None:
            segment.finish() if due else segment.sync()


class _Segment:
    """One file that one writer appends to. It gets its name when its lock is held, not before."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.size = path, 0
        self._synced, self._begun = 0, time.monotonic()
        unseen = path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(unseen, flags, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            unseen.rename(path)
        except OSError:
            self.abandon()
            unseen.unlink(missing_ok=True)
            raise

    def write(self, data: bytes) -> None:
        """Append in one call.

        Raises:
            OSError: Some of it may be in the file; see `cut`.
        """
        if (written := os.write(self._descriptor, data)) != len(data):
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were taken")
        self.size += len(data)

    def cut(self) -> None:
        """Cut off what a failed write left."""
        os.ftruncate(self._descriptor, self.size)

    def age(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._begun

    def removed(self) -> bool:
        """Whether somebody deleted the file: what is written to it now would be lost."""
        return os.fstat(self._descriptor).st_nlink == 0

    def sync(self) -> None:
        """Bring it to the disk, if there is anything new."""
        if self._synced < (size := self.size):
            os.fsync(self._descriptor)
            self._synced = size

    def finish(self) -> None:
        """Give it to the ingestion; an empty one is removed."""
        with ExitStack() as last:
            last.callback(self.abandon)  # after the rename: a free lock means a dead writer
            last.callback(self._settle)
            self.sync()

    def _settle(self) -> None:
        with suppress(FileNotFoundError):
            if self.size:
                self.path.rename(self.path.with_suffix(CLOSED))
            else:
                self.path.unlink()
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def abandon(self) -> None:
        """Let go of it as it is."""
        os.close(self._descriptor)


def prove(folder: Path) -> None:
    """Make, list and write to a folder as a spool does; it is left as it was, but there.

    Raises:
        OSError: One of these does not work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    used_bytes(folder)
    with tempfile.TemporaryFile(dir=folder) as probe:
        fcntl.flock(probe, fcntl.LOCK_EX)
        probe.write(b"x")
        probe.flush()


def used_bytes(folder: Path) -> int:
    """Bytes in a folder; 0 when there is none."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # renamed or taken meanwhile
                total += entry.stat().st_size
    return total
