"""What of the machine a process may use: cores, memory, its GPU. Knows no model and no service.

A container is told its share by a control group, not by the number of cores or bytes it sees: who
counts those starts as many threads as the machine has cores and is stopped for most of every tenth
of a second. Files and fields: Linux ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
_ROOT = Path("/")
#: Version 1 writes no limit as the largest number of whole pages.
_NO_LIMIT = 2**60


def cores(root: Path = _ROOT) -> int:
    """Cores this process may compute on: of its affinity and of every control group above it.

    A share of a core is rounded down, but not to none: a thread more than there are cores is
    stopped in the middle of an answer.

    Args:
        root: Where ``proc`` and ``sys`` are mounted.
    """
    shares = [float(len(os.sched_getaffinity(0))), *_cpu_shares(root)]
    return max(1, int(min(shares)))


def memory_bytes(root: Path = _ROOT) -> int | None:
    """The least memory limit of this process's control groups; None without one.

    Args:
        root: See `cores`.
    """
    found = [
        int(text)
        for folder in _groups(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _read(folder / name)).isdecimal() and int(text) < _NO_LIMIT
    ]
    return min(found, default=None)


def own_gpu(index: int) -> None:
    """Leave this process one of the GPUs it sees, before anything opens CUDA.

    BentoML shows all workers of a service the same GPUs, and every framework takes the first.

    Args:
        index: Of the worker, from 0; more workers than GPUs share them in turn.
    """
    seen = [one for one in os.environ.get(VISIBLE, "").split(",") if one]
    if len(seen) > 1:
        os.environ[VISIBLE] = seen[index % len(seen)]


def _cpu_shares(root: Path) -> Iterator[float]:
    for folder in _groups(root, "cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not period:
            quota, period = (_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota.isdecimal() and period.isdecimal() and int(period):  # "max" and -1: no limit
            yield int(quota) / int(period)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The control groups of this process, its own and those above, in version 2 and in version 1.

    A path that is not there is one of outside the container, of which only the top is mounted here.
    """
    mounts = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = mounts / controller if controllers else mounts
        own = top / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def _read(file: Path) -> str:
    with suppress(OSError):
        return file.read_text().strip()
    return ""
