"""A request's way to a model and back, without a framework: parse, ask, log, write.

Belongs here: the three routes of a product, and what each outcome of asking is as HTTP. Does not
belong here: the model (``Answers``), who may ask (``guard``), which release answers.
Nothing is answered that is not logged before; a log that takes no more is a 503.

The same request takes 0.5 ms of the processor more by way of a web framework: router, middlewares,
a dictionary between JSON and the typed request, a log line that nobody reads.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from gateway import scope, tracing
from gateway.asked import ASKED, CHAMPION, DEADLINE_HEADER, Asked
from gateway.meters import METERS
from gateway.ports import (
    BASELINE,
    FAULT_HEADER,
    Answered,
    Answers,
    Call,
    Headers,
    Late,
    Path,
    Reply,
    Shed,
    Wrong,
)
from gateway.spool import SpoolError
from models.contracts.api import OutcomeReport, OutcomeRequest, OutcomeResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

JSON: Headers = ((b"content-type", b"application/json"),)
#: Whether the rows were said before: ``hit``, ``part`` or ``miss``.
CACHE_HEADER = b"x-assay-cache"
#: When a request that the log did not take may come again.
RETRY_SECONDS = 5
NO_SUCH_PATH = "no such path; GET /docs.json lists what there is"
OTHER_METHOD = "this path takes another method; see GET /docs.json"
_UNEXPECTED = "an unexpected error has occurred, please see the log of the service"
_LOG = logging.getLogger("assay.lane")


class Lane:
    """The routes of products whose models are in this process.

    Args:
        answers: The models.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def ask(self, call: Call) -> Reply:
        """Answer one request; never raises but when it is cancelled."""
        try:
            return await self._asked(call)
        except ValidationError as error:
            return invalid(error)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is one answer
            return _instead(call.product, error)

    async def _asked(self, call: Call) -> Reply:
        release = call.product, _asked_for(call)
        if call.path == "health":
            return _json(200, await self._answers.health(*release))
        if call.path == "outcome":
            report = OutcomeRequest.model_validate_json(call.body or b"{}")
            taken = self.outcome(*release, report.outcomes, call.asked)
            return taken if isinstance(taken, Reply) else Reply(202, JSON, _bytes(taken))
        kind, began = self._answers.request_type(*release), time.monotonic_ns()
        request = _with_query(kind.model_validate_json(call.body or b"{}"), call.query)
        tracing.note("parse", call.asked.trace, began)
        done = await self.predict(*release, request, call.asked)
        if isinstance(done, Reply):
            return done
        cached = ((CACHE_HEADER, done.cache.encode()),) if done.cache else ()
        return Reply(200, (*JSON, *cached), _bytes(done.response))

    async def predict(
        self, product: str, version: str, request: BaseModel, asked: Asked
    ) -> Answered | Reply:
        """Ask a model and log what it said; or the refusal."""
        try:
            scope.check_rows(asked.principal, request.rows)  # type: ignore[attr-defined]  # of every contract's request
            async with asyncio.timeout(_left(asked)):
                done = await self._answers.answer(product, version, request, asked)
            if asked.rung != CHAMPION:
                marked = done.response.model_copy(update={"fallback": asked.rung})
                done = done._replace(response=marked)
            log, began = self._answers.log(product, done.version), time.monotonic_ns()
            log.answered(asked, done.rows, done.inputs, done.predictions, done.digests)
            tracing.note("log", asked.trace, began, product=product, version=done.version)
        except Exception as error:  # noqa: BLE001 - whatever a model raises is one answer
            return _instead(product, error)
        return done

    def outcome(
        self, product: str, version: str, reports: Sequence[OutcomeReport], asked: Asked
    ) -> OutcomeResponse | Reply:
        """Take what came of predictions. Whether they exist is judged later."""
        try:
            claimed = scope.claimed(asked.principal, reports)
            ids = self._answers.log(product, version).outcomes(claimed)
        except scope.OutOfScope as refusal:
            return _outside(refusal)
        except SpoolError as error:
            return not_logged(error)
        return OutcomeResponse(outcome_ids=ids)


class Route(NamedTuple):
    """A path of a service."""

    methods: tuple[str, ...]
    path: Path


_READ = ("GET", "HEAD")
#: What a service of one product answers.
ROUTES: Mapping[str, Route] = MappingProxyType(
    {
        "/predict": Route(("POST",), "predict"),
        "/outcome": Route(("POST",), "outcome"),
        "/health": Route(_READ, "health"),
    }
)
#: Where the OpenAPI document is.
DOCUMENT = "/docs.json"


class OneProduct:
    """ASGI application of one release: its own routes on the lane, named others passed on.

    Args:
        lane: Answers.
        release: Key of the product, and version.
        seconds: Longest time for one answer.
        others: Gets ``passed`` and everything that is not HTTP, e.g. the start.
        passed: Its paths. Any other ends here: what counts requests by their path must not see one
            that anybody may make up.
        document: OpenAPI of all this.
    """

    def __init__(
        self, lane: Lane, release: tuple[str, str], *, seconds: float, others: App,
        passed: Collection[str], document: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self._lane, self._release = lane, release
        self._seconds, self._others, self._passed = seconds, others, frozenset(passed)
        self._document = json.dumps(document).encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in self._passed:
            await self._others(scope, receive, send)
            return
        route = ROUTES.get(scope["path"])
        methods = route.methods if route else _READ if scope["path"] == DOCUMENT else ()
        if not methods:
            reply = _json(404, {"error": NO_SUCH_PATH})
        elif scope["method"] not in methods:
            allow = (b"allow", ", ".join(methods).encode())
            reply = _json(
                405, {"error": "this path takes another method; see GET /docs.json"}, allow
            )
        elif route is None:
            reply = Reply(200, JSON, self._document)
        else:
            METERS.inc("assay_in_flight")
            try:
                reply = await self._reply(route.path, scope, receive)
            finally:
                METERS.inc("assay_in_flight", -1)
        await write(send, reply)

    async def _reply(self, path: Path, scope: Message, receive: Receive) -> Reply:
        told = next((value for name, value in scope["headers"] if name == DEADLINE_HEADER), b"")
        asked = ASKED.get().within(self._seconds, told)
        body = await body_of(receive) if path != "health" else b""
        query = scope["query_string"]
        return await self._lane.ask(Call(*self._release, path, query, body, asked))


async def write(send: Send, reply: Reply) -> None:
    """Send an answer."""
    length = (b"content-length", str(len(reply.body)).encode())
    headers = [*reply.headers, length]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def invalid(error: ValidationError) -> Reply:
    """A 400 that names the fields, and nothing that was sent."""
    detail = error.errors(include_url=False, include_context=False, include_input=False)
    message = f"{error.error_count()} validation error for {error.title}"
    return _json(400, {"error": message, "detail": detail})


def not_logged(error: SpoolError) -> Reply:
    """The answer to what the log did not take."""
    return _later(f"not answered, because it could not be logged: {error}", RETRY_SECONDS)


def _instead(product: str, error: Exception) -> Reply:
    """The answer when there is none of the model, or it could not be logged."""
    match error:
        case scope.OutOfScope():
            return _outside(error)
        case Wrong():
            return _json(error.status, error.body)
        case SpoolError():
            return not_logged(error)
        case Shed():
            return shed(product, error)
        case Late() | TimeoutError():
            return _fault(504, "not answered in time; send fewer rows at once", b"late")
        case _:
            _LOG.error("%s did not answer", product, exc_info=error)
            return _fault(500, _UNEXPECTED, b"model")


def shed(product: str, error: Shed) -> Reply:
    """The answer when there is too little room; counted."""
    METERS.inc("assay_shed_total", product=product, reason=error.reason)
    return _later(f"too much waits here; send it again in {error.seconds} s", error.seconds)


def _outside(refusal: scope.OutOfScope) -> Reply:
    return _json(refusal.status, {"error": str(refusal), "detail": refusal.detail})


def _later(message: str, seconds: int) -> Reply:
    return _json(503, {"error": message}, (b"retry-after", str(seconds).encode()))


def _fault(status: int, message: str, fault: bytes) -> Reply:
    return _json(status, {"error": message}, (FAULT_HEADER, fault))


def _json(status: int, body: Mapping[str, Any], *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, (*JSON, *headers), json.dumps(body).encode())


def _bytes(model: BaseModel) -> bytes:
    return model.__pydantic_serializer__.to_json(model)


def _left(asked: Asked) -> float | None:
    return None if math.isinf(asked.deadline) else asked.deadline - time.monotonic()


async def body_of(receive: Receive) -> bytes:
    """The whole body of a request that the guard let in."""
    message = await receive()
    if not message.get("more_body", False):
        return cast(bytes, message.get("body", b""))
    body = bytearray(message.get("body", b""))
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return bytes(body)


def _asked_for(call: Call) -> str:
    """The release that is asked: of the rung below, the baseline that lies beside the champion."""
    return f"{call.version}{BASELINE}" if call.asked.rung == "baseline" else call.version


def _with_query(request: BaseModel, query: bytes) -> BaseModel:
    """The request with ``?explain=``, unless its body says so itself.

    Raises:
        ValidationError: It says neither true nor false, or the product explains nothing.
    """
    if not query or "explain" in request.model_fields_set:
        return request
    told = dict(parse_qsl(query.decode("latin-1"))).get("explain")
    if told is None:
        return request
    given = {name: getattr(request, name) for name in request.model_fields_set}
    wanted = {"true": True, "false": False}.get(told, told)
    return type(request).model_validate({**given, "explain": wanted})
