"""Kept answers between two lives of a process, so that a restart does not begin with misses.

One file: ``MAGIC``, the BLAKE2b of the rest, then every answer with its key and when it ends, the
one unused for longest first. It holds no text and nobody's name: keys are hashes, values what a
model said. A key names product and release, so another release finds nothing of its own here. A
file that cannot be read costs misses, and never a start.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from bentos.lru import Memory

MAGIC = b"assay kept answers 1\n"
_SUM_BYTES = 32
#: Key, end in seconds since 1970, bytes of the value.
_HEAD = struct.Struct("<16sdI")
_LOG = logging.getLogger("assay.cache")


def save(path: Path, memory: Memory) -> None:
    """Write what is kept, in one step; a disk that takes nothing is told to the log."""
    now = time.time()
    content = b"".join(
        _HEAD.pack(key, now + seconds, len(value)) + value for key, value, seconds in memory.items()
    )
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(MAGIC + _sum(content) + content)
        aside.chmod(0o600)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        _LOG.warning("kept answers were not written to %s: %s", path, error.strerror)


def take(path: Path, memory: Memory) -> int:
    """Keep what the file has and still holds, and remove it; how many answers."""
    try:
        content = path.read_bytes()
        path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        _LOG.warning("kept answers were not taken from %s: %s", path, error.strerror)
        return 0
    start = len(MAGIC) + _SUM_BYTES
    if content[:start] != MAGIC + _sum(content[start:]):
        _LOG.warning("%s was damaged or of another version: its answers are computed anew", path)
        return 0
    now, before = time.time(), len(memory)
    for key, value, ends in _entries(content, start):
        memory.put(key, value, ends - now)
    return len(memory) - before


def _entries(content: bytes, at: int) -> Iterator[tuple[bytes, bytes, float]]:
    while at < len(content):
        key, ends, size = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        yield key, content[at : at + size], ends
        at += size


def _sum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SUM_BYTES).digest()
