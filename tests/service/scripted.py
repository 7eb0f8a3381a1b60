"""A server that does with each request what its script says: answer, in pieces, late, or not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple


class Heard(NamedTuple):
    """One request as it came.

    Attributes:
        connection: Number of the connection, from 0.
        nth: Of this connection, from 0.
    """

    connection: int
    nth: int
    head: bytes
    body: bytes

    @property
    def path(self) -> str:
        return self.head.split(b" ")[1].decode()

    def header(self, name: bytes) -> bytes | None:
        for line in self.head.split(b"\r\n")[1:]:
            if line.lower().startswith(name + b":"):
                return line.partition(b":")[2].strip()
        return None


Script = Callable[[Heard, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int = 200, body: bytes = b"{}", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


async def says(heard: Heard, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, heard.body, b"content-type: application/json"))


class Server:
    """Listens on a free port of this machine while it is entered."""

    def __init__(self, script: Script = says) -> None:
        self.script = script
        self.heard: list[Heard] = []
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Server:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = await asyncio.start_server(self._serve, sock=self._listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, nth = self.connections, 0
        self.connections += 1
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = Heard(0, 0, head, b"").header(b"content-length")
                body = await reader.readexactly(int(length or 0))
                heard = Heard(number, nth, head, body)
                self.heard.append(heard)
                nth += 1
                await self.script(heard, writer)
        writer.close()
