"""A Redis of one's own, for tests; Debian's ``redis-server`` must be installed."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def running(port: int) -> Iterator[subprocess.Popen]:
    """A server on a port, keeping nothing on disk; skips where none is installed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("NOT TESTED: redis-server is not installed (Debian: apt install redis-server)")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
               "no", "--maxmemory", "32mb"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            wait(port, server)
            yield server
        finally:
            server.kill()


def wait(port: int, server: subprocess.Popen) -> None:
    """Until it answers."""
    end = time.monotonic() + 20
    while time.monotonic() < end and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as asked:
                asked.sendall(b"PING\r\n")
                if asked.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("redis-server did not start")
