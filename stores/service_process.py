"""Starts, watches and stops the processes of one service. Decides nothing about which bento.

A service is a master and its worker. BentoML gives the worker a session of its own, and a killed
master leaves it behind serving, so processes are found by a mark in their environment, which
children inherit, and not by parent or group.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from stores.listener import FD, door_of

#: Environment variable that marks every process of a service with its run folder.
MARK = "ASSAY_SERVICE"
READY = "ASSAY_READY"
MASTER = "stores.listener"
#: In a run folder, what the service writes.
LOG = "service.log"
START_SECONDS = 90.0
_POLL_SECONDS = 0.05
_LOG_LINES = 15


class StartError(Exception):
    """A service that did not become ready; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Running:
    """A started master.

    Attributes:
        folder: Run folder with the log.
        door: Where it hands its listener on.
    """

    folder: Path
    pid: int
    door: Path


def start(
    bento: str, folder: Path, listener: socket.socket, environment: Mapping[str, str]
) -> Running:
    """Start ``bentoml serve`` in a session of its own; it outlives this process.

    Args:
        bento: Tag in the BentoML home that ``environment`` names.
        folder: New run folder; gets ``service.log``.
        listener: Bound socket to serve on; shared, not taken.
        environment: What the service needs beyond this process's environment.

    Returns:
        The process, not ready yet: see `wait_ready`.
    """
    arguments = [MASTER, bento, "--metrics", str(folder / "metrics")]
    (folder / "metrics").mkdir(parents=True)
    return spawn(arguments, folder, listener, environment)


def spawn(
    arguments: Sequence[str], folder: Path, listener: socket.socket, environment: Mapping[str, str]
) -> Running:
    """Start a Python module as the master of a run folder.

    Args:
        arguments: Name of the module, and what it gets beside ``--door``.
        folder: Run folder; gets `LOG`.
        listener: Bound socket to serve on; shared, not taken.
        environment: Beyond this process's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    door = door_of(folder)
    log = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", *arguments, "--door", str(door)],
        {**os.environ, **environment, MARK: str(folder), READY: str(folder / "ready")},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(folder / LOG), log, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, listener.fileno(), FD),
        ],
        setsid=True,
    )
    return Running(folder, pid, door)


def wait_ready(running: Running, seconds: float = START_SECONDS) -> None:
    """Wait until the worker has loaded its model and accepts connections.

    The worker says so in a file: on a shared port an HTTP probe may reach its predecessor.

    Raises:
        StartError: The master ended, or the time is over.
    """
    deadline = time.monotonic() + seconds
    while not (running.folder / "ready").exists():
        if not _exists(running.pid):
            raise StartError(f"it ended while starting: {log_end(running.folder)}")
        if time.monotonic() > deadline:
            raise StartError(f"it was not ready after {seconds:.0f} s: {log_end(running.folder)}")
        time.sleep(_POLL_SECONDS)


def alive(pid: int, folder: Path) -> bool:
    """Whether the master of this run folder runs; a zombie and a reused number do not count.

    By its mark and not by its creation time: that is counted from the boot, and moves when somebody
    sets the clock.
    """
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        return process.environ().get(MARK) == str(folder) and _runs(process)
    return False


def _exists(pid: int) -> bool:
    """Whether a process that was just started still runs; it has no environment at first."""
    with suppress(psutil.NoSuchProcess):
        return _runs(psutil.Process(pid))
    return False


def marked(folder: Path) -> dict[str, list[psutil.Process]]:
    """Processes of services whose run folder lies in ``folder``, by run folder."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            mark = process.environ().get(MARK, "")
            if mark and Path(mark).parent == folder and _runs(process):
                found.setdefault(mark, []).append(process)
    return found


def stop(folder: Path, seconds: float) -> int:
    """End the service of a run folder: its master is asked and ends its worker; the rest is killed.

    Args:
        folder: Run folder.
        seconds: Time for requests in flight.

    Returns:
        The number of processes there were.
    """
    found = marked(folder.parent).get(str(folder), [])
    own = {process.pid for process in found}
    for process in found:
        with suppress(psutil.NoSuchProcess):
            if process.ppid() not in own:  # the master, or a worker that lost its master
                process.terminate()
    _wait_gone(found, seconds)
    left = found
    while left := [p for p in left if _runs(p)] or marked(folder.parent).get(str(folder), []):
        for process in left:  # a dying master may have started one more worker meanwhile
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _wait_gone(left, 1.0)
    door_of(folder).unlink(missing_ok=True)
    return len(found)


def log_end(folder: Path) -> str:
    """The last lines a service wrote, for an error message."""
    try:
        lines = (folder / LOG).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join([f"{folder / LOG} ends with", *lines[-_LOG_LINES:]])


def _wait_gone(processes: Sequence[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(_runs(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    for process in processes:
        with suppress(psutil.Error):
            process.wait(0)  # takes a zombie off the table when it is our child


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
