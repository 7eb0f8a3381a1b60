"""How a worker leaves: it answers what still arrives on its connections, then lets uvicorn end it.

On SIGTERM uvicorn closes every connection on which no request is being answered, at once. Bytes
that wait unread in the kernel then become a reset: a new connection whose request is on its way, or
a kept one whose client sends just then. Here the worker first stops accepting (the listening socket
is shared with its successor, which takes the rest of the queue), and goes on answering, every
answer with ``Connection: close``, until its connections are gone. Knows no model and no BentoML.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from collections.abc import Awaitable, Callable

import uvicorn

#: Time beyond uvicorn's keep-alive timeout, after which a kept connection closes by itself.
MARGIN_SECONDS = 0.5
#: Where connections are kept longer than this, idle ones are closed after it.
LONGEST_SECONDS = 10.0
_POLL_SECONDS = 0.05
_CLOSE = (b"connection", b"close")

Shutdown = Callable[[uvicorn.Server, list[socket.socket] | None], Awaitable[None]]


#: Set once this process takes no new connections.
_LEAVING = threading.Event()


def leaving() -> bool:
    """Whether this process is about to end: probes are told that it is not ready."""
    return _LEAVING.is_set()


def install() -> None:
    """Make uvicorn of this process drain before it shuts down; twice is once."""
    if not hasattr(uvicorn.Server.shutdown, "__wrapped__"):
        uvicorn.Server.shutdown = _drained(uvicorn.Server.shutdown)  # type: ignore[method-assign, assignment]


async def drain(server: uvicorn.Server) -> None:
    """Stop accepting and answer what arrives until no connection is left.

    An idle kept connection is closed no earlier than without a roll-out: by its own keep-alive
    timer, or by its next answer. So this takes as long as that timeout at most; what is left then
    never sent a request, or is being answered: uvicorn closes the first and waits for the second. A
    router keeps connections for a minute, which is too long to wait: of those that were idle for
    `LONGEST_SECONDS`, one whose client sends just then is reset.
    """
    _LEAVING.set()
    for listening in server.servers:
        listening.close()
    # every answer that starts from now on has the header, and both of uvicorn's protocols close the
    # connection after it; uvicorn makes a new list each second, so a request that came before the
    # last one has another
    headers = server.server_state.default_headers
    headers.append(_CLOSE)
    for connection in server.server_state.connections:
        if (answering := getattr(connection, "cycle", None)) is not None:
            answering.default_headers = headers
    clock = asyncio.get_running_loop().time
    kept = min(server.config.timeout_keep_alive, LONGEST_SECONDS)
    end = clock() + kept + MARGIN_SECONDS
    while True:
        await asyncio.sleep(_POLL_SECONDS)  # first: an accepted connection counts some turns later
        if not server.server_state.connections or clock() > end or server.force_exit:
            return


def _drained(shutdown: Shutdown) -> Shutdown:
    @functools.wraps(shutdown)
    async def drained(server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        await drain(server)
        await shutdown(server, sockets)  # ends with the application's own shutdown hooks

    return drained
