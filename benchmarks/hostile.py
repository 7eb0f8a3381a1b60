"""Clients that no service wants: silent, slow, endless. Each says what status it was answered.

Raw sockets, because no HTTP client does this. ``LEFT`` counts what got neither an answer nor a
closed connection in time, ``CLOSED`` a connection that ended without one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple
from urllib.parse import urlsplit

LEFT, CLOSED = 0, -1
_PATIENCE = 40.0
_PART = 65_536

Sends = Callable[[], AsyncIterator[bytes]]


class Post(NamedTuple):
    """A request with a key, but for its body."""

    url: str
    path: str
    key: str

    def head(self, length: str) -> bytes:
        """Up to the body, with the header that says how long that is."""
        return (
            f"POST {self.path} HTTP/1.1\r\nhost: flood\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {self.key}\r\n{length}\r\n\r\n"
        ).encode()


def silent(url: str, count: int) -> Counter[int]:
    """Connections that say nothing."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(_PATIENCE)
        yield b""

    return asyncio.run(_all(url, count, nothing))


def large(post: Post, count: int, size: int, *, chunked: bool) -> Counter[int]:
    """Bodies of so many bytes, announced or in chunks."""
    length = "transfer-encoding: chunked" if chunked else f"content-length: {size}"

    async def body() -> AsyncIterator[bytes]:
        yield post.head(length)
        for _ in range(size // _PART):
            yield b"%x\r\n%s\r\n" % (_PART, b"x" * _PART) if chunked else b"x" * _PART

    return asyncio.run(_all(post.url, count, body))


def slow_body(post: Post, count: int) -> Counter[int]:
    """Bodies of one byte a second."""

    async def body() -> AsyncIterator[bytes]:
        yield post.head("content-length: 1000")
        while True:
            await asyncio.sleep(1)
            yield b"x"

    return asyncio.run(_all(post.url, count, body))


def slow_head(url: str, count: int) -> Counter[int]:
    """Headers of one byte a second."""

    async def head() -> AsyncIterator[bytes]:
        for letter in b"POST / HTTP/1.1\r\nx-a: " + b"a" * 100:
            yield bytes([letter])
            await asyncio.sleep(1)

    return asyncio.run(_all(url, count, head))


async def _all(url: str, count: int, sends: Sends) -> Counter[int]:
    return Counter(await asyncio.gather(*(_one(url, sends) for _ in range(count))))


async def _one(url: str, sends: Sends) -> int:
    """The status that one client was answered."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            sending = asyncio.create_task(_send(writer, sends))
            try:
                line = await reader.readline()
            finally:
                sending.cancel()
                writer.transport.abort()
    except TimeoutError:
        return LEFT
    except OSError:
        return CLOSED
    return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else CLOSED


async def _send(writer: asyncio.StreamWriter, sends: Sends) -> None:
    try:
        async for part in sends():
            writer.write(part)
            await writer.drain()
    except OSError:
        return
