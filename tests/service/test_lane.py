"""The lane alone, in process: what each outcome of asking a model is as HTTP."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from gateway.asked import ASKED, Asked
from gateway.lane import Lane, OneProduct
from gateway.meters import METERS
from gateway.ports import Answered, Call, Late, Reply, Shed, Wrong
from gateway.spool import SpoolError
from gateway.traffic_log import from_environment
from models.contracts.api import PredictResponse, request_model, to_rows
from models.contracts.keys import Principal
from models.risk.sync_conflict.product import PRODUCT
from tests.service.site import draw

KEY, VERSION = PRODUCT.key, "v1"
(ROW,) = to_rows(PRODUCT, draw(PRODUCT, 1, 1), ["acme"])
BODY = json.dumps({"rows": [ROW]}).encode()
Do = Callable[[Any, Asked], Awaitable[None]]


class Models:
    """Answers nothing after doing what it is told to."""

    def __init__(self, do: Do | None = None) -> None:
        self.do = do
        self.requests: list[Any] = []
        self.journal: Any = from_environment(PRODUCT, VERSION)

    def request_type(self, product: str, version: str) -> type[BaseModel]:
        assert (product, version) == (KEY, VERSION)
        return request_model(PRODUCT)

    async def answer(self, product: str, version: str, request: Any, asked: Asked) -> Answered:
        self.requests.append((request, asked))
        if self.do:
            await self.do(request, asked)
        return Answered(PredictResponse(predictions=[]), [], np.empty((0, 31)), version)

    async def health(self, product: str, version: str) -> dict[str, str]:
        return {"status": "ok"}

    def log(self, product: str, version: str) -> Any:
        return self.journal


@pytest.fixture(autouse=True)
def no_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_SPOOL", raising=False)


def asked(deadline: float = math.inf, **more: Any) -> Asked:
    return Asked("r1", time.monotonic_ns(), "traffic", deadline=deadline, **more)


def ask(models: Models, body: bytes = BODY, query: bytes = b"", path: Any = "predict",
        by: Asked | None = None) -> Reply:  # fmt: skip
    call = Call(KEY, VERSION, path, query, body, by or asked())
    return asyncio.run(Lane(models).ask(call))


def raises(error: BaseException) -> Do:
    async def do(*_: Any) -> None:
        raise error

    return do


@pytest.mark.parametrize(
    ("error", "status", "header", "words"),
    [
        (Wrong(400, {"error": "no such member"}), 400, None, "no such member"),
        (Shed(3), 503, (b"retry-after", b"3"), "send it again in 3 s"),
        (Late(), 504, (b"x-assay-fault", b"late"), "not answered in time"),
        (ValueError("acme's secret"), 500, (b"x-assay-fault", b"model"), "unexpected error"),
    ],
)
def test_what_a_model_raises_is_one_answer_that_tells_no_more(
    error: Exception, status: int, header: Any, words: str, caplog: pytest.LogCaptureFixture
):
    reply = ask(Models(raises(error)))
    assert reply.status == status
    assert words in json.loads(reply.body)["error"]
    assert b"secret" not in reply.body
    assert (header in reply.headers) or header is None
    assert ("secret" in caplog.text) == (status == 500)


def test_an_answer_that_takes_too_long_is_504_and_given_up():
    given_up = []

    async def slow(*_: Any) -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            given_up.append(True)
            raise

    begun = time.monotonic()
    reply = ask(Models(slow), by=asked(begun + 0.05))
    assert reply.status == 504
    assert time.monotonic() - begun < 2
    assert given_up == [True]


def test_what_the_log_does_not_take_is_503_and_not_answered():
    models = Models()
    models.journal = SimpleNamespace(answered=_full, outcomes=_full)
    outcome = b'{"outcomes": [{"event_id": "a", "label": 1}]}'
    for reply in (ask(models), ask(models, outcome, path="outcome")):
        assert reply.status == 503
        assert (b"retry-after", b"5") in reply.headers
        assert "could not be logged: full" in json.loads(reply.body)["error"]
        assert not [name for name, _ in reply.headers if name == b"x-assay-fault"]


def _full(*_: Any) -> None:
    raise SpoolError("full")


def test_rows_of_tenants_the_caller_does_not_speak_for_never_reach_the_model():
    models = Models()
    other = Principal("k", frozenset({"globex"}), None, frozenset({"predict"}))
    reply = ask(models, by=asked(principal=other))
    assert reply.status == 403
    assert json.loads(reply.body)["detail"][0]["loc"] == ["rows", 0, "tenant"]
    assert b"acme" not in reply.body
    assert models.requests == []


@pytest.mark.parametrize(
    ("query", "body", "explain"),
    [
        (b"", {}, False),
        (b"explain=true", {}, True),
        (b"x=1&explain=false", {}, False),
        (b"explain=true", {"explain": False}, False),
        (b"explain=false", {"explain": True}, True),
    ],
)
def test_the_query_may_ask_for_reasons_and_the_body_wins(
    query: bytes, body: dict[str, Any], explain: bool
):
    models = Models()
    assert ask(models, json.dumps({"rows": [ROW], **body}).encode(), query).status == 200
    ((request, _),) = models.requests
    assert request.explain is explain


def test_a_query_is_bound_as_a_body_is():
    assert ask(Models(), query=b"explain=maybe").status == 400
    many = json.dumps({"rows": [ROW] * 5}).encode()
    reply = ask(Models(), many, b"explain=true")
    assert reply.status == 400
    assert b"at most 4 rows, not 5" in reply.body


def serve(
    models: Models,
    method: str,
    path: str,
    *headers: tuple[bytes, bytes],
    parts: tuple[bytes, ...] = (BODY,),
    by: Asked | None = None,
) -> tuple[Any, list[str]]:
    """The answer of the whole application, and the paths that went further in."""
    passed, sent, waiting = [], [], list(parts)

    async def others(scope: Any, *_: Any) -> None:
        passed.append(scope["path"])

    async def receive() -> dict[str, Any]:
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        ASKED.set(by or asked())
        scope = {"type": "http", "method": method, "path": path, "query_string": b"",
                 "headers": list(headers)}  # fmt: skip
        app = OneProduct(Lane(models), (KEY, VERSION), seconds=9, others=others, passed={"/livez"},
                         document={"openapi": "3.1.0"})  # fmt: skip
        await app(scope, receive, send)

    asyncio.run(run())
    return (sent[0], sent[1]["body"]) if sent else None, passed


def test_known_paths_are_answered_named_ones_pass_and_any_other_ends_here():
    assert serve(Models(), "GET", "/livez") == (None, ["/livez"])
    for path in ("/nowhere", "/livez/", "/predict/", "//predict", "/metrics"):
        answer, passed = serve(Models(), "GET", path)
        assert (answer[0]["status"], passed) == (404, [])
    answer, _ = serve(Models(), "GET", "/predict")
    assert answer[0]["status"] == 405
    assert (b"allow", b"POST") in answer[0]["headers"]
    answer, _ = serve(Models(), "GET", "/docs.json")
    assert (answer[0]["status"], json.loads(answer[1])) == (200, {"openapi": "3.1.0"})
    assert serve(Models(), "POST", "/docs.json")[0][0]["status"] == 405


def test_a_body_in_parts_is_one_body_and_its_length_is_said():
    answer, _ = serve(Models(), "POST", "/predict", parts=(BODY[:10], b"", BODY[10:]))
    assert answer[0]["status"] == 200
    assert json.loads(answer[1]) == {"predictions": [], "fallback": None}
    assert (b"content-length", str(len(answer[1])).encode()) in answer[0]["headers"]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [(None, 9), (b"500", 0.5), (b"99000", 9), (b"soon", 9), (b"-1", 9), (b"9" * 40, 9)],
)
def test_whoever_asks_may_shorten_the_deadline(told: bytes | None, seconds: float):
    models, by = Models(), asked()
    headers = [(b"x-assay-deadline-ms", told)] if told else []
    serve(models, "POST", "/predict", *headers, by=by)
    ((_, seen),) = models.requests
    assert seen.deadline - by.started_ns / 1e9 == pytest.approx(seconds)


def test_requests_under_way_are_counted_while_they_are():
    seen: list[float] = []

    async def look(*_: Any) -> None:
        seen.append(METERS.bound("assay_in_flight")._value.get())

    for models in (Models(look), Models(raises(ValueError()))):
        serve(models, "POST", "/predict")
    assert seen == [1]
    assert METERS.bound("assay_in_flight")._value.get() == 0


def test_a_log_that_is_off_still_answers(tmp_path: Path):
    assert Models().journal.state == "off"
    assert ask(Models(), b"", path="health") == Reply(
        200, ((b"content-type", b"application/json"),), b'{"status": "ok"}'
    )


def test_a_release_that_cannot_be_loaded_is_a_fault_on_every_path():
    async def broken(*_: Any) -> dict[str, str]:
        raise OSError("no such artifact")

    models = Models()
    models.health = broken  # type: ignore[method-assign, assignment]
    reply = ask(models, path="health")
    assert (reply.status, b"artifact" in reply.body) == (500, False)


@pytest.mark.parametrize("state", ["hit", "part", "miss", None])
def test_an_answer_says_whether_it_was_said_before(state: str | None):
    class Cached(Models):
        async def answer(self, *given: Any) -> Answered:
            return (await super().answer(*given))._replace(cache=state)

    told = dict(ask(Cached()).headers).get(b"x-assay-cache")
    assert told == (state.encode() if state else None)
