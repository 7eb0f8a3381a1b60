"""Everything that is decided about a request before the service sees it: size, type, request id.

Raw ASGI, so it costs microseconds and also covers chunked bodies. It knows no model and no schema.
Every refusal passes here, its own and the service's, so it is here that the log hears of them.
Left to itself BentoML answers an endless, stalled or oddly typed body with 500 or 504, and a wrong
path in plain text; here each of these ends as a 4xx with a JSON body.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from gateway.asked import ASKED, Asked
from models.contracts.traffic import PURPOSE_HEADER, Purpose

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Refusal = Callable[[Asked, str, int], None]

#: Refusals of these are logged; other paths are probes and typing errors.
LOGGED_PATHS = frozenset({"/predict", "/outcome"})

MAX_BODY_BYTES = 2_000_000
BODY_SECONDS = 5.0

#: A refusal that is longer than this carries input back, e.g. an unknown field with a huge name.
MAX_REFUSAL_BYTES = 16_384

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_PLAIN = {
    404: "no such path; GET /docs.json lists what there is",
    405: "this path takes another method; see GET /docs.json",
}
_LOG = logging.getLogger("assay.guard")
_PURPOSE = PURPOSE_HEADER.encode()
_TOO_WRONG = "the body is not as GET /docs.json describes it, in more places than can be listed"


class Refused(Exception):  # noqa: N818 - a decision about a request, not a fault of ours
    """A request that goes no further.

    Attributes:
        status: HTTP status, 4xx.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """ASGI middleware; installed by ``Service.add_asgi_middleware(Guard)``.

    Args:
        app: The application behind it.
        max_body_bytes: Larger bodies are answered 413, whether announced or chunked.
        body_seconds: A body that takes longer to arrive is answered 408.
        refused: Told of every POST to one of ``LOGGED_PATHS`` that is answered 400 or more: the
            request, its path and the status, before the answer goes out.
    """

    def __init__(
        self,
        app: App,
        max_body_bytes: int = MAX_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
        refused: Refusal | None = None,
    ) -> None:
        self.app = app
        self.refused = refused
        self.max_body_bytes = max_body_bytes
        self.body_seconds = body_seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes untouched."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        asked = _asked(headers)
        ASKED.set(asked)
        reply = _Reply(send, asked, partial(self._tell, scope, asked))
        try:
            if scope["method"] == "POST":
                _check_type(headers)
                receive = _replay(await self._body(headers, receive), receive)
        except Refused as refusal:
            await reply.error(refusal.status, str(refusal))
        except _HungUpError:
            return
        else:
            await self._pass_on(scope, receive, reply)

    async def _pass_on(self, scope: Message, receive: Receive, reply: _Reply) -> None:
        """The application's turn; what it lets through is answered further out, as BentoML does."""
        try:
            await self.app(scope, receive, reply)
        except asyncio.CancelledError:
            reply.ended(504)
            raise
        except Exception:
            reply.ended(500)
            raise

    def _tell(self, scope: Message, asked: Asked, status: int) -> None:
        logged = scope["method"] == "POST" and scope["path"] in LOGGED_PATHS
        if self.refused is None or status < 400 or not logged:
            return
        try:
            self.refused(asked, scope["path"], status)
        except Exception:  # noqa: BLE001 - the answer matters more than the note of it
            _LOG.exception("a refusal was not logged")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self.max_body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.body_seconds):
                return await self._collect(receive)
        except TimeoutError:
            raise Refused(408, f"the body did not arrive within {self.body_seconds} s") from None

    async def _collect(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _HungUpError
            body += message.get("body", b"")
            if len(body) > self.max_body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Refused:
        return Refused(413, f"a body may have {self.max_body_bytes} bytes; send fewer rows at once")


class _HungUpError(Exception):
    """The client left before its body was complete; there is nobody to answer."""


class _Reply:
    """Sends on, with the request id on every answer and short JSON in place of other refusals."""

    def __init__(self, send: Send, asked: Asked, tell: Callable[[int], None]) -> None:
        self._send = send
        self._request_id = asked.request_id.encode()
        self._tell = tell
        self._started = self._replaced = False

    async def __call__(self, message: Message) -> None:
        """Pass one message of the application on."""
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            if text := _replacement(message):
                self._replaced = True
                allow = [pair for pair in message["headers"] if pair[0] == b"allow"]
                await self.error(message["status"], text, allow)
                return
            self.ended(message["status"])
            message["headers"] = [*message["headers"], (b"x-request-id", self._request_id)]
        await self._send(message)

    async def error(
        self, status: int, text: str, extra: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Answer by ourselves."""
        self.ended(status)
        body = json.dumps({"error": text}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", self._request_id),
            *(extra or []),
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def ended(self, status: int) -> None:
        """Note how the request ended, once."""
        if not self._started:
            self._started = True
            self._tell(status)


def _replacement(start: Message) -> str | None:
    """What to say instead of the application's own refusal, None to let it through."""
    if start["status"] < 400:
        return None
    length = int(dict(start["headers"]).get(b"content-length", b"0"))
    return _TOO_WRONG if length > MAX_REFUSAL_BYTES else _PLAIN.get(start["status"])


def _check_type(headers: dict[bytes, bytes]) -> None:
    # BentoML would also take multipart, pickle and arrow, and answer 500 to a malformed one
    kind = headers.get(b"content-type", b"application/json").split(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Refused(415, "the body must be JSON; send content-type: application/json")


def _asked(headers: dict[bytes, bytes]) -> Asked:
    """The client's request id when it is a plain token, else a fresh one."""
    given = headers.get(b"x-request-id", b"")
    request_id = given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    purpose: Purpose = "golden" if headers.get(_PURPOSE) == b"golden" else "traffic"
    return Asked(request_id, time.monotonic_ns(), purpose)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the collected body once and then what the server says (disconnects)."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed
