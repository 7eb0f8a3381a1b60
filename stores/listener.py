"""Runs ``bentoml serve`` on a listening socket that it is given and hands on to its successor.

``bentoml serve`` opens its own socket, so replacing a service on its port would refuse connections
for the seconds that loading a model takes. Here the socket is opened once, by the deployer, and
passed from one service to the next; two that share it share its queue, so no connection is refused
when the older one leaves. Why this way: ``docs/decisions/0005-rollout.md``.

Run as ``python -m stores.listener`` this module is the service's master process. It must import
neither ``models`` nor ``bentos``: those are to come from inside the bento.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

#: Descriptor at which the master finds its listening socket, the first free one as in systemd.
FD = 3
_BACKLOG = 2048
_DOOR_SECONDS = 5.0
_PORT_SECONDS = 3.0


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket; 0 lets the machine choose the port.

    It listens at once: two sockets that are only bound could share a port. Early connections wait
    for the worker. A taken port is tried for three seconds: the last thread of a service that was
    just ended may hold it a little longer than its process seems to live.

    Raises:
        OSError: The port is taken.
    """
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return listener


def door_of(folder: Path) -> Path:
    """The socket through which the service of a run folder hands its listener on.

    In the machine's temporary folder, because such a name may have about 100 characters.
    """
    mark = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"assay-{mark}.sock"


def take_over(door: Path) -> socket.socket:
    """The listening socket of a running service, shared with it from now on.

    Raises:
        OSError: Nobody answers at the door.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(_DOOR_SECONDS)
        caller.connect(str(door))
        _, descriptors, _, _ = socket.recv_fds(caller, 1, 1)
    if not descriptors:
        raise OSError(f"{door} answered without a socket")
    taken = socket.socket(fileno=descriptors[0])
    taken.set_inheritable(False)  # a passed descriptor comes without close-on-exec
    return taken


def main() -> None:
    """Serve a bento on descriptor ``FD`` until SIGTERM."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("bento")
    parser.add_argument("--door", type=Path, required=True)
    parser.add_argument("--metrics", required=True)
    given = parser.parse_args()
    os.chdir(Path(given.metrics).parent)  # `serve` and Python both look into the current folder
    listener = socket.socket(fileno=FD)
    listener.set_inheritable(False)  # the worker gets the duplicate made below, and only that
    host, port = listener.getsockname()
    _prepare_bentoml(listener, given.metrics)
    hand_on(listener, given.door)
    sys.argv = ["bentoml", "serve", given.bento, "--host", host, "--port", str(port)]
    from bentoml_cli.cli import cli

    try:
        cli()
    finally:
        given.door.unlink(missing_ok=True)


def _prepare_bentoml(listener: socket.socket, metrics: str) -> None:
    from bentoml._internal.configuration.containers import BentoMLContainer
    from circus.sockets import CircusSocket  # type: ignore[import-untyped]  # has no types

    def use_given(own: CircusSocket) -> None:
        os.dup2(listener.fileno(), own.fileno(), inheritable=True)
        own.setblocking(False)
        own.host, own.port = listener.getsockname()

    CircusSocket.bind_and_listen = use_given
    # the default folder belongs to the BentoML home, and every start would empty it for all
    BentoMLContainer.prometheus_multiproc_dir.set(metrics)


def hand_on(listener: socket.socket, door: Path) -> None:
    """Give the listener to whoever of this user asks."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        opened.bind(str(door))
    finally:
        os.umask(before)
    opened.listen()

    def answer() -> None:
        while True:
            caller, _ = opened.accept()
            with caller, suppress(OSError):
                socket.send_fds(caller, [b"s"], [listener.fileno()])

    threading.Thread(target=answer, name="hand-on", daemon=True).start()


if __name__ == "__main__":
    main()
