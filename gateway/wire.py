"""One kept HTTP/1.1 connection to a service: bytes out, a reply in. Knows no release, no retry."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Literal

import httptools

from gateway.ports import Reply

#: Of one hop, or written anew by whoever answers the client.
_HOP = frozenset(
    {b"connection", b"content-length", b"transfer-encoding", b"keep-alive", b"date", b"server"}
)

Loss = Literal["refused", "reset", "garbled"]


class Lost(Exception):  # noqa: N818 - a state of the other side
    """There is no answer.

    Attributes:
        kind: ``refused`` there was no connection, ``reset`` it ended, ``garbled`` it was no HTTP.
        heard: Whether any byte of the answer came.
    """

    def __init__(self, kind: Loss, *, heard: bool) -> None:
        super().__init__(kind)
        self.kind: Loss = kind
        self.heard = heard


class Wire(asyncio.Protocol):
    """One request at a time; see `connect`."""

    def __init__(self) -> None:
        self.closed = False
        #: Moment of the last answer, by the loop's clock.
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._begin()

    @classmethod
    async def connect(cls, host: str, port: int) -> Wire:
        """A fresh connection.

        Raises:
            Lost: Nobody listens there.
        """
        loop = asyncio.get_running_loop()
        try:
            _, wire = await loop.create_connection(cls, host, port)
        except OSError:
            raise Lost("refused", heard=False) from None
        return wire

    async def ask(self, request: bytes) -> Reply:
        """Send a whole request in one write and wait for the whole answer.

        Raises:
            Lost: There is none; the connection is closed.
        """
        loop = asyncio.get_running_loop()
        if self._transport is None or self.closed:
            raise Lost("reset", heard=False)
        self._begin()
        self._waiting = loop.create_future()
        self._transport.write(request)
        try:
            reply = await self._waiting
        except BaseException:
            self.close()
            raise
        self.idle_since = loop.time()
        return reply

    def close(self) -> None:
        """End it, whatever is under way."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """From the loop: a request is one packet, and must not wait for an acknowledgement."""
        self._transport = transport
        opened = transport.get_extra_info("socket")
        with suppress(OSError):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """From the loop: what the service sent, in any pieces."""
        if self._waiting is None or self._waiting.done():
            self.close()  # nobody asked for it
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._lose("garbled")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - which, is the same
        """From the loop: whoever waits gets no answer."""
        self.closed = True
        self._lose("reset")

    def on_header(self, name: bytes, value: bytes) -> None:
        """From the parser: one header."""
        self._headers.append((name.lower(), value))

    def on_body(self, part: bytes) -> None:
        """From the parser: a piece of the body."""
        self._body.append(part)

    def on_message_complete(self) -> None:
        """From the parser: the answer is whole."""
        if self._waiting is None or self._waiting.done():
            self.close()  # a second answer to one request
            return
        headers = tuple([pair for pair in self._headers if pair[0] not in _HOP])
        status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():  # known here only
            self.close()
        self._waiting.set_result(Reply(status, headers, b"".join(self._body)))

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._heard = False

    def _lose(self, kind: Loss) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Lost(kind, heard=self._heard))
