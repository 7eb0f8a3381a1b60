"""The keys this process knows: a file, read again when it changes. Decides nothing about requests.

Only digests are in memory. A secret has 256 random bits, so one SHA-256 protects it: slow hashes
are for secrets that can be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from gateway.errors import StartError
from models.contracts.keys import PRESENTED, ApiKey, KeyFile, Principal, principal

#: How long a new or revoked key may go unnoticed.
EVERY_SECONDS = 2.0

Reason = Literal["missing", "unknown", "expired", "revoked"]
_FORM = re.compile(PRESENTED)
_DUMMY = hashlib.sha256(b"no such key").hexdigest()
_LOG = logging.getLogger("assay.keys")


class Unknown(Exception):  # noqa: N818 - says of a caller, not of a fault of ours
    """What was presented opens nothing.

    Attributes:
        reason: For the figures; an expired key's holder may know, too.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class Known(NamedTuple):
    """A key and the caller it makes."""

    key: ApiKey
    caller: Principal


class KeyRing:
    """The keys of a file.

    Args:
        path: ``api-keys.json``. It may be made later: until it first is there, nobody is asked for
            a key. Once keys were read, a file that vanished or cannot be read changes nothing.
        now: Clock that keys expire by.
        clock: Monotonic clock that says when to look at the file again.

    Raises:
        StartError: The file is there and is no list of keys.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._now, self._clock = path, now, clock
        self._known: dict[str, Known] | None = None
        self._seen: tuple[int, int, int] | None = None
        self._next_look = clock() + EVERY_SECONDS
        self._failing = False
        try:
            self._read()
        except (OSError, ValueError) as error:
            raise StartError(f"{path} {_why(error)}; mend it or restore a copy") from None

    @property
    def asked_for(self) -> bool:
        """Whether callers must present a key."""
        self._look()
        return self._known is not None

    def find(self, presented: str) -> Known:
        """The key that was presented.

        Raises:
            Unknown: It opens nothing, or not any more.
        """
        self._look()
        form = _FORM.fullmatch(presented)
        identity, secret = form.groups() if form else ("", "")
        known = (self._known or {}).get(identity)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        # an unknown id takes as long as a wrong secret
        if not hmac.compare_digest(digest, known.key.digest if known else _DUMMY) or known is None:
            raise Unknown("unknown")
        if (state := known.key.state(self._now())) != "active":
            raise Unknown(state)
        return known

    def principal(self, presented: str) -> Principal | None:
        """The caller that presents this, None when it opens nothing."""
        try:
            return self.find(presented).caller
        except Unknown:
            return None

    def by_id(self, identity: str) -> ApiKey | None:
        """A key by its id."""
        known = (self._known or {}).get(identity)
        return known.key if known else None

    def _look(self) -> None:
        """Read the file again when it changed; a broken one is told once and changes nothing."""
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + EVERY_SECONDS
        try:
            self._read()
        except (OSError, ValueError) as error:
            if not self._failing:
                _LOG.error("the keys of before still count: %s %s", self._path, _why(error))
            self._failing = True
        else:
            self._failing = False

    def _read(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            if self._known is None:
                return
            raise
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen != self._seen:
            keys = KeyFile.model_validate_json(self._path.read_bytes()).keys
            self._known = {key.id: Known(key, principal(key)) for key in keys}
            self._seen = seen


def _why(error: Exception) -> str:
    """Never the content: a validation error would quote it."""
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    return "is no list of keys"
