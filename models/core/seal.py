"""Lines that each carry the hash of the one before: what was edited, cut or slipped in shows.

Pure: no file and no clock. A chain does not show that its end was cut off; whoever must know that
keeps the newest digest elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from pydantic import JsonValue

from models.contracts.base import Frozen

GENESIS = "0" * 64

S = TypeVar("S", bound="Sealed")


class Sealed(Frozen):
    """One fact. ``digest`` covers every other field, ``previous`` the entry before."""

    sequence: int
    at: datetime
    kind: str
    body: dict[str, JsonValue]
    previous: str
    digest: str


def digest(
    sequence: int, at: datetime, kind: str, body: dict[str, JsonValue], previous: str
) -> str:
    """The seal of an entry: SHA-256, hexadecimal."""
    text = json.dumps([sequence, at.isoformat(), kind, body, previous], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def following(
    entry: type[S], last: S | None, at: datetime, kind: str, body: dict[str, JsonValue]
) -> S:
    """The entry after ``last``; time never runs backwards: a clock that jumped back is held.

    Args:
        entry: Type of the entries.
        last: None begins a chain.
        at: The clock.
        kind: What sort of fact.
        body: JSON values only.
    """
    sequence, previous = (last.sequence + 1, last.digest) if last else (0, GENESIS)
    held = max(at, last.at) if last else at
    seal = digest(sequence, held, kind, body, previous)
    return entry(sequence=sequence, at=held, kind=kind, body=body, previous=previous, digest=seal)


def broken(entries: Sequence[Sealed]) -> int | None:
    """Position of the first entry that does not match its seal; None when all do."""
    last = GENESIS
    for number, entry in enumerate(entries):
        seal = digest(entry.sequence, entry.at, entry.kind, entry.body, last)
        if (entry.sequence, entry.previous, entry.digest) != (number, last, seal):
            return number
        last = entry.digest
    return None
