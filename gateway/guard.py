"""Everything that is decided about a request before the service sees it: caller, size, type, id.

Raw ASGI, so it costs microseconds and also covers chunked bodies. It knows no model and no schema;
who may come in is `Door`'s to say. Every answer passes here, its own and the service's, so it is
here that requests are counted and that the log hears of refusals. Left to itself BentoML answers an
endless, stalled or oddly typed body with 500 or 504, and a wrong path in plain text; here each of
these ends as a 4xx with a JSON body, and what goes wrong inside as a 500 that tells nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from typing import Any

from gateway import door as doors
from gateway import headers as ours
from gateway import tracing
from gateway.asked import ASKED, Asked
from gateway.door import Door, Wanted
from gateway.errors import Header, Refused
from gateway.headers import Admitted
from gateway.limits import Limits, from_environment

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Ended = Callable[[Asked, str, str, int], None]

#: On every answer: nothing may be guessed, kept, framed or run. What stands there is data.
SECURITY: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)

#: A refusal that is longer than this carries input back, e.g. an unknown field with a huge name.
MAX_REFUSAL_BYTES = 16_384

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_PLAIN = {
    404: "no such path; GET /docs.json lists what there is",
    405: "this path takes another method; see GET /docs.json",
    500: "this failed here, not at your end; quote the answer's x-request-id to who runs it",
}
#: Of an answer that is replaced, what its reader still needs.
_KEPT = frozenset({b"allow", b"retry-after", b"x-assay-fault"})
_OWN = frozenset({b"server", b"x-request-id", *(name for name, _ in SECURITY)})
_CLOSE: Header = (b"connection", b"close")
_LOG = logging.getLogger("assay.guard")
_TOO_WRONG = "the body is not as GET /docs.json describes it, in more places than can be listed"


class Guard:
    """ASGI middleware; installed by ``Service.add_asgi_middleware(Guard)``.

    Args:
        app: The application behind it.
        limits: What one request may take; as the environment says if left out.
        door: Lets callers in; that of a service if left out.
        wanted: From method and path to what a request is for.
        ended: Told of every answer before it goes out: the request, method, path and status.
    """

    def __init__(
        self,
        app: App,
        limits: Limits | None = None,
        door: Door | None = None,
        wanted: Callable[[str, str], Wanted] = doors.wanted_by_path,
        ended: Ended | None = None,
    ) -> None:
        self.app = app
        self.limits = limits or from_environment()
        self.door = door or doors.for_service()
        self.wanted = wanted
        self.ended = ended

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; of what is not HTTP, only the life of the process passes."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        asked = _asked(headers)
        ASKED.set(asked)
        reply = _Reply(send, asked, partial(self._tell, scope, asked))
        try:
            admitted = await self._admit(scope, headers)
            if scope["method"] == "POST":
                _check_type(headers)
                receive = _replay(await self._body(headers, receive), receive)
        except Refused as refusal:
            await reply.error(refusal.status, str(refusal), refusal.headers)
        except _HungUpError:
            return
        else:
            purpose = ours.purpose_of(headers, admitted)
            if (tracer := tracing.tracer()) is not None:
                reply.trace = tracer.request(
                    scope["headers"], asked.started_ns, request_id=asked.request_id, purpose=purpose
                )
            ASKED.set(
                asked._replace(
                    purpose=purpose, principal=admitted.principal, trace=reply.trace,
                    rung=ours.rung_of(headers, admitted),
                )
            )  # fmt: skip
            inner = {**scope, "headers": ours.within(scope["headers"], admitted)}
            await self._pass_on(inner, receive, reply)

    async def _admit(self, scope: Message, headers: dict[bytes, bytes]) -> Admitted:
        """Before the body: a stranger must not make us read two megabytes."""
        size = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
        size += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if size > self.limits.header_bytes:
            most = self.limits.header_bytes
            raise Refused(431, f"path and headers may have {most} bytes; send fewer", [_CLOSE])
        return await self.door.admit(headers, self.wanted(scope["method"], scope["path"]))

    async def _pass_on(self, scope: Message, receive: Receive, reply: _Reply) -> None:
        """The application's turn; what it lets through is told here and answered plainly."""
        try:
            await self.app(scope, receive, reply)
        except asyncio.CancelledError:
            reply.ended(504)
            raise
        except Exception:
            if reply.started:
                raise
            _LOG.exception("a request failed")
            await reply.error(500, _PLAIN[500])

    def _tell(self, scope: Message, asked: Asked, status: int) -> None:
        if self.ended is None:
            return
        try:
            self.ended(asked, scope["method"], scope["path"], status)
        except Exception:  # noqa: BLE001 - the answer matters more than the note of it
            _LOG.exception("the end of a request was not noted")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self.limits.body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                return await self._collect(receive)
        except TimeoutError:
            late = f"the body did not arrive within {self.limits.body_seconds} s"
            # what still comes would keep the connection, byte by byte
            raise Refused(408, late, [_CLOSE]) from None

    async def _collect(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _HungUpError
            body += message.get("body", b"")
            if len(body) > self.limits.body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Refused:
        return Refused(
            413, f"a body may have {self.limits.body_bytes} bytes; send fewer rows at once"
        )


class _HungUpError(Exception):
    """The client left before its body was complete; there is nobody to answer."""


class _Reply:
    """Sends on, with our headers on every answer and short JSON in place of other refusals."""

    def __init__(self, send: Send, asked: Asked, tell: Callable[[int], None]) -> None:
        self._send = send
        self._request_id = asked.request_id.encode()
        self._tell = tell
        self.trace: Any = None
        self.started = self._replaced = False

    async def __call__(self, message: Message) -> None:
        """Pass one message of the application on."""
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            if text := _replacement(message):
                self._replaced = True
                kept = [pair for pair in message["headers"] if pair[0] in _KEPT]
                await self.error(message["status"], text, kept)
                return
            self.ended(message["status"])
            message["headers"] = self._headers(message["headers"])
        await self._send(message)

    async def error(self, status: int, text: str, extra: Iterable[Header] = ()) -> None:
        """Answer by ourselves."""
        self.ended(status)
        body = json.dumps({"error": text}).encode()
        headers = self._headers(
            [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                *extra,
            ]
        )
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def ended(self, status: int) -> None:
        """Note how the request ended, once."""
        if not self.started:
            self.started = True
            self._tell(status)
            tracing.end(self.trace, status)

    def _headers(self, given: Iterable[Header]) -> list[Header]:
        own = [pair for pair in given if pair[0].lower() not in _OWN]
        return [*own, *SECURITY, (b"x-request-id", self._request_id)]


def _replacement(start: Message) -> str | None:
    """What to say instead of the application's own refusal, None to let it through."""
    if start["status"] < 400:
        return None
    headers = dict(start["headers"])
    if int(headers.get(b"content-length", b"0")) > MAX_REFUSAL_BYTES:
        return _TOO_WRONG
    if start["status"] < 500 and headers.get(b"content-type") == b"application/json":
        return None  # ours, and it says more
    return _PLAIN.get(start["status"])


def _check_type(headers: dict[bytes, bytes]) -> None:
    # BentoML would also take multipart, pickle and arrow, and answer 500 to a malformed one
    kind = headers.get(b"content-type", b"application/json").split(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Refused(415, "the body must be JSON; send content-type: application/json")


def request_id(given: bytes) -> str:
    """The client's when it is a plain token, else a fresh one."""
    return given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _asked(headers: dict[bytes, bytes]) -> Asked:
    name = request_id(headers.get(b"x-request-id", b""))
    return Asked(name, time.monotonic_ns(), "traffic", ours.NOBODY)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the collected body once and then what the server says (disconnects)."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed
