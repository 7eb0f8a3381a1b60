"""The router's process: ``python -m gateway``, or a listening socket that its starter opened.

One process and one loop. ``ASSAY_HOST`` and ``ASSAY_PORT`` say where, ``ASSAY_HOME`` or
``ASSAY_TABLE`` what is served; keys, tokens and limits come from the environment as everywhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from gateway import connections, door, drain, limits, logs, shedding, table, tracing
from gateway.app import ADMIN_URL, GatewaySettings, build
from gateway.errors import StartError
from gateway.meters import METERS
from gateway.upstream import HttpBackend

HOST, PORT = "127.0.0.1", "3100"
#: Clients may keep a connection so long; the edge before us keeps its own shorter.
KEEP_ALIVE_SECONDS = 65
_BACKLOG = 2048


def main() -> None:
    """Serve on a socket of its own until SIGTERM."""
    host, port = os.environ.get("ASSAY_HOST", HOST), os.environ.get("ASSAY_PORT", PORT)
    try:
        with socket.create_server((host, int(port)), backlog=_BACKLOG) as listener:
            serve(listener)
    except (StartError, ValueError, OSError) as error:
        raise SystemExit(f"the gateway does not start: {error}") from None


def serve(listener: socket.socket, ready: Callable[[], object] = lambda: None) -> None:
    """Serve products on a listening socket until SIGTERM, then drain.

    Args:
        listener: Shared with whoever opened it.
        ready: Called when requests are accepted.

    Raises:
        StartError: The environment asks for what cannot be.
    """
    host, port = listener.getsockname()[:2]
    METERS.become("router")
    tracing.become("assay-router")
    tracing.verify()
    shedding.longest_wait()
    logs.install("", "")
    let_in, most = door.for_gateway(), limits.from_environment()
    door.require_closed(let_in, host)
    backend = HttpBackend(_token())
    settings = GatewaySettings(
        "router", f"http://{host}:{port}", table.places(), let_in, most,
        os.environ.get("ASSAY_ADMIN_URL", ADMIN_URL),
    )  # fmt: skip
    app = build(settings, backend, problems=backend.problems)
    drain.install()
    connections.install(most)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", ws="none", lifespan="on", interface="asgi3",
        log_config=None, access_log=False, server_header=False, date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )  # fmt: skip
    _Announcing(config, ready).run(sockets=[listener])


class _Announcing(uvicorn.Server):
    """Says when it serves."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """From uvicorn: it listens when this returns."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def _token() -> str | None:
    named = os.environ.get(door.TOKEN, "")
    return door.read_token(Path(named)) if named else None


if __name__ == "__main__":
    main()
