"""Writes that survive a crash in the middle: a reader sees the old content or the new, never half.

Knows nothing of what is written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNNAMED, _LEFT_SECONDS = ".unnamed-", 86_400.0


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable (fsync of the directory entry)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace ``path`` by ``content`` in one step; parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def unnamed_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder below ``parent`` to fill; what was not settled by the end is removed.

    So is, a day later, what a killed process left.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_UNNAMED}*"):
        if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=_UNNAMED, dir=parent))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def settle(aside: Path, path: Path) -> None:
    """Give a filled folder its name, durably and in one step.

    When ``path`` exists it is kept: folders are named by their content, so both are the same.
    """
    for file in aside.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    if not path.exists():
        aside.chmod(0o755)
        aside.rename(path)
        sync_folder(path.parent)
