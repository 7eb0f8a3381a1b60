"""Reads what a service's spool holds, as the ingestion would, without taking anything away."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from models.core.journal import CLOSED, OPEN, Line, decode


def segments(folder: Path) -> list[Path]:
    """Every segment, each writer's in the order of writing."""
    return sorted(file for file in folder.glob("*") if file.suffix in (OPEN, CLOSED))


def held(segment: Path) -> bool:
    """Whether a live writer has it."""
    with segment.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def writer(segment: Path) -> str:
    return segment.stem.rpartition("-")[0]


def lines(folder: Path, of: str | None = None) -> list[Line]:
    """Whole lines, of one writer or of all; the torn end of a killed writer is left out."""
    found: list[Line] = []
    for segment in segments(folder):
        if of in (None, writer(segment)):
            *whole, _ = segment.read_bytes().split(b"\n")
            decoded = [decode(line) for line in whole]
            assert None not in decoded, f"a broken line inside {segment.name}"
            found += [line for line in decoded if line]
    return found


def bodies(folder: Path, kind: str, **wanted: Any) -> list[dict[str, Any]]:
    """Bodies of one kind whose fields are as wanted."""
    return [
        line.body for line in lines(folder)
        if line.kind == kind and wanted.items() <= line.body.items()
    ]  # fmt: skip


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for what no event tells of."""
    for _ in _ticks(seconds):
        if true():
            return
    raise AssertionError(f"not within {seconds} s")


def _ticks(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.01)
