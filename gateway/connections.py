"""What uvicorn leaves open: idle sockets, headers without end, connections without number.

Our guard sees a request when its headers are complete. Before that a client holds a descriptor and
memory, and uvicorn 0.54 has no bound on either: no time for headers, no size (httptools), no number
of connections; after a reset it also forgets to cancel its keep-alive timer, which then keeps the
last request's objects. Here each has a bound. Knows no request and no key.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from contextlib import suppress
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.guard import SECURITY
from gateway.limits import Limits

#: A client that does not read its answer is let go after so long (kernel, also at window zero).
UNREAD_SECONDS = 30
#: Before it is closed for good, a refused connection may read why.
LINGER_SECONDS = 0.5
#: Descriptors of a process that are not connections: log, model, event loop.
_OTHER_FILES = 256
_TEXTS = {
    400: "this is no HTTP request",
    408: "the headers did not arrive in time",
    431: "path and headers are too long",
    503: "too many connections; come again in 1 s",
}


def install(limits: Limits) -> None:
    """Bound every connection that uvicorn accepts from now on in this process; twice is once."""
    Bounded.limits = limits
    # uvicorn has chosen its class by now, so that class makes ours; all else is inherited
    HttpToolsProtocol.__new__ = _make  # type: ignore[method-assign, assignment]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Bounded(HttpToolsProtocol):
    """One connection, with a timer for everything but the time its answer takes.

    The timer runs while headers are awaited, and while the rest of a refused body still comes: each
    byte would cancel uvicorn's own. Bodies that are read are timed by the guard.
    """

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.ws_protocol_class = None  # nothing here speaks websocket
        self._head, self._head_bytes, self._refused = False, 0, False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, or say that there are too many."""
        super().connection_made(transport)
        if (opened := transport.get_extra_info("socket")) is not None:
            with suppress(OSError):  # a unix socket has no such thing
                opened.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000
                )
        if len(self.connections) > self.limits.connections:
            self._refuse(503, b"retry-after: 1\r\n")
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timers, however it ended."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._disarm()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and see to it that headers end."""
        if self._refused:
            return
        super().data_received(data)
        if self._refused:
            return
        if self._head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.header_bytes:
                self._refuse(431)
                return
        if self._waiting() and not self.transport.is_closing():
            self._arm()

    def on_message_begin(self) -> None:
        """Headers begin."""
        super().on_message_begin()
        self._head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """From here on guard and application have the request."""
        self._head = False
        self._disarm()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's, which quotes nothing
        """Refuse what is no HTTP, in the form of every other refusal."""
        self._refuse(400)

    def _unsupported_upgrade_warning(self) -> None:
        """No line per client that asks for another protocol; it is answered over HTTP."""

    def _waiting(self) -> bool:
        """Whether nothing is being answered, so that a byte could hold the connection for ever."""
        return self._head or self.cycle is None or self.cycle.response_complete

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.limits.header_seconds, self._over)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._arm()  # the next request began while this one is answered
        elif self._head:
            self._refuse(408)
        else:
            self.transport.close()

    def _refuse(self, status: int, extra: bytes = b"") -> None:
        """Answer without the application and let go; what still comes is not looked at."""
        self._refused = True
        self._disarm()
        self.connections.discard(self)
        if self.cycle is not None:
            self.cycle.disconnected = True  # what is being answered has no way out any more
            self.cycle.message_event.set()
        if self.transport.is_closing():
            return
        body = json.dumps({"error": _TEXTS[status]}).encode()
        secured = b"".join(b"%b: %b\r\n" % pair for pair in SECURITY)
        self.transport.write(
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n"
            b"%b%b\r\n%b" % (STATUS_LINE[status], len(body), secured, extra, body)
        )
        # closed at once, what is unread would become a reset that overtakes the answer
        with suppress(OSError, RuntimeError):
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


def _make(kind: type[HttpToolsProtocol], *_: Any, **__: Any) -> HttpToolsProtocol:
    chosen = Bounded if kind is HttpToolsProtocol else kind
    return object.__new__(chosen)
