"""One line of a service's log: how it is written and how it is proven whole.

``<crc32> <number> <kind> <json>``: the checksum covers everything behind it, the number counts the
lines of one writer from 1, so that a reader sees a torn line and a missing one. Pure: no file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from models.contracts.traffic import RecordKind

#: A segment a live writer appends to (it holds an exclusive ``flock`` on it), and a finished one.
#: ``<writer>-<six digits>`` comes before; the names of one writer sort in the order of writing.
OPEN, CLOSED = ".open", ".log"

#: Made once: ``json.dumps`` with these options would make one per line.
_TO_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

_KINDS = frozenset(get_args(RecordKind))


class Line(NamedTuple):
    """A whole line."""

    number: int
    kind: RecordKind
    body: dict[str, Any]


def encode(number: int, kind: RecordKind, body: Mapping[str, Any]) -> bytes:
    """A line with its checksum and its newline; ``body`` holds JSON values only."""
    rest = f"{number} {kind} {_TO_JSON(body)}".encode()
    return b"%08x %b\n" % (zlib.crc32(rest), rest)


def decode(line: bytes) -> Line | None:
    """The content of a line without its newline; None when it is torn or altered."""
    checksum, _, rest = line.partition(b" ")
    if len(checksum) != 8 or checksum != b"%08x" % zlib.crc32(rest):
        return None
    number, kind, body = rest.split(b" ", 2)
    if kind.decode() not in _KINDS:
        return None
    return Line(int(number), kind.decode(), json.loads(body))  # type: ignore[arg-type]  # checked
