"""The audit log: who asked an administration for what, and what came of it. Append-only, sealed.

One line per call, by the rules of the release ledger (``models.core.seal``). Unlike the ledger it
grows with every call, so a new line is checked against the last one only; `entries` checks all.
Bodies are kept as digests: they may hold names.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from models.contracts.base import Frozen
from models.core.seal import Sealed, broken, following

KIND = "admin_call"
_TAIL = 65_536


class AuditError(Exception):
    """The log cannot be trusted or written; the message says what to do."""


class AdminCall(Frozen):
    """One call.

    Attributes:
        caller: Id of the key; ``token`` for the admin token.
        route: Method and path.
        product: Key; None when the call was about none.
        body_digest: SHA-256 of body or query.
        status: HTTP status of the answer.
    """

    caller: str
    route: str
    product: str | None
    body_digest: str
    status: int
    request_id: str


class AuditLog:
    """A file that only grows; several processes may append.

    Args:
        path: ``<home>/audit/admin.jsonl``.
        clock: Of the entries.
    """

    def __init__(
        self, path: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.path, self._clock = path, clock

    def prove(self) -> None:
        """Find out whether the next call could be written, before it does anything.

        Raises:
            AuditError: It could not.
        """
        with self._locked() as stream:
            self._last(stream)

    def append(self, call: AdminCall) -> Sealed:
        """Add one call durably.

        Raises:
            AuditError: The last line was altered, or the disk takes no more.
        """
        with self._locked() as stream:
            entry = following(
                Sealed, self._last(stream), self._clock(), KIND, call.model_dump(mode="json")
            )
            stream.seek(0, os.SEEK_END)
            stream.write(entry.model_dump_json().encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        return entry

    def entries(self) -> tuple[Sealed, ...]:
        """All calls, oldest first, with the chain checked.

        Raises:
            AuditError: A line was altered, removed or inserted.
        """
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        found = tuple(self._entry(line) for line in lines)
        if (number := broken(found)) is not None:
            raise self._altered(f"line {number + 1}")
        return found

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "r+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                yield stream
        except OSError as error:
            raise AuditError(
                f"{self.path} cannot be written ({error.strerror}); administration goes on when it"
                " can"
            ) from error

    def _last(self, stream: BinaryIO) -> Sealed | None:
        """The newest entry; a torn line (a crash while appending) was never acknowledged."""
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _TAIL))
        tail = stream.read()
        whole = tail[: tail.rfind(b"\n") + 1]
        if len(whole) < len(tail):
            stream.truncate(size - len(tail) + len(whole))
        if not whole:
            if size > len(tail):
                raise self._altered("its last line")
            return None
        return self._entry(whole.splitlines()[-1])

    def _entry(self, line: bytes) -> Sealed:
        try:
            return Sealed.model_validate_json(line)
        except ValueError:
            raise self._altered("a line") from None

    def _altered(self, what: str) -> AuditError:
        return AuditError(
            f"{self.path}: {what} does not match its seal; somebody edited it. Move the file away"
            " and keep it; a new one begins with the next call."
        )
