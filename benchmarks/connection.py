"""One kept HTTP/1.1 connection of the load generator."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import httptools

#: Status of a request whose connection ended, or that got no answer in time.
LOST, LATE = 0, -1
#: A refused connection is tried again after this time, for as long.
_AGAIN, _REFUSED = 0.05, 5.0


class Connection(asyncio.Protocol):
    """One request at a time; connects anew when the last one was lost."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._begin()

    async def ask(self, request: bytes, patience: float) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and body of the answer."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(patience):
                transport = self._transport or await self._connect(loop)
                self._begin()
                self._waiting = loop.create_future()
                transport.write(request)
                await self._waiting
        except ConnectionError:
            self.close()
            return LOST, {}, b""
        except TimeoutError:
            self.close()
            return LATE, {}, b""
        if not self._kept:
            self.close()
        return self._parser.get_status_code(), self._headers, b"".join(self._body)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()
        self._transport = None

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> asyncio.Transport:
        until = time.perf_counter() + _REFUSED
        while True:
            try:
                made, _ = await loop.create_connection(lambda: self, *self._address)
            except ConnectionRefusedError:
                if time.perf_counter() > until:
                    raise
                await asyncio.sleep(_AGAIN)
            else:
                self._transport = made
                return made

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._kept = False
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """What the service sent, in any pieces."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(ConnectionError("no HTTP"))

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever waits for an answer gets none."""
        self._transport = None
        self._end(ConnectionError(error))

    def on_header(self, name: bytes, value: bytes) -> None:
        """From the parser: one header."""
        self._headers[name.lower()] = value

    def on_body(self, part: bytes) -> None:
        """From the parser: a piece of the body."""
        self._body.append(part)

    def on_message_complete(self) -> None:
        """From the parser: the answer is whole."""
        self._kept = self._parser.should_keep_alive()  # known here only
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._waiting is None or self._waiting.done():
            return
        if error is None:
            self._waiting.set_result(None)
        else:
            self._waiting.set_exception(error)
