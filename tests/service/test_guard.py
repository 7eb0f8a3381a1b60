"""The guard alone, in process: what the HTTP tests cannot time or cut off exactly."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from gateway.asked import ASKED, Asked
from gateway.guard import MAX_REFUSAL_BYTES, SECURITY, Guard
from gateway.limits import Limits
from gateway.logs import JsonLines

JSON = [(b"content-type", b"application/json")]
EIGHT = Limits(body_bytes=8)


class App:
    """Answers with what it is told to; remembers the body it got."""

    def __init__(self, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.status, self.headers = status, list(headers)
        self.body: bytes | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        self.body = message["body"]
        assert message["more_body"] is False
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"as the app said"})


def ask(app: Any, messages: list[dict[str, Any] | float], headers: Any = JSON, method: str = "POST",
        **options: Any) -> list[dict[str, Any]]:  # fmt: skip
    """Send messages (a number is a pause in seconds) through the guard; what it sent."""
    waiting, sent = list(messages), []

    async def receive() -> dict[str, Any]:
        one = waiting.pop(0) if waiting else {"type": "http.disconnect"}
        if isinstance(one, float):
            await asyncio.sleep(one)
            return await receive()
        return one

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path = options.pop("path", "/predict")
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    asyncio.run(Guard(app, **options)(scope, receive, send))
    return sent


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def header(sent: list[dict[str, Any]], name: bytes) -> bytes | None:
    return dict(sent[0]["headers"]).get(name)


def test_a_chunked_body_reaches_the_app_whole():
    app = App()
    sent = ask(app, [part(b"ab", True), part(b"", True), part(b"c", True), part(b"d")])
    assert app.body == b"abcd"
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]


def test_the_limit_is_exact_for_announced_and_chunked_bodies():
    for headers in (JSON, [*JSON, (b"content-length", b"8")]):
        assert ask(App(), [part(b"x" * 8)], headers, limits=EIGHT)[0]["status"] == 200
    app = App()
    chunked = ask(app, [part(b"x" * 5, True), part(b"x" * 4)], limits=EIGHT)
    announced = ask(app, [part(b"")], [*JSON, (b"content-length", b"9")], limits=EIGHT)
    assert [chunked[0]["status"], announced[0]["status"]] == [413, 413]
    assert app.body is None
    assert "8 bytes" in json.loads(chunked[1]["body"])["error"]


def test_a_body_that_stalls_is_408_and_never_reaches_the_app():
    app = App()
    sent = ask(app, [part(b"a", True), 1.0, part(b"b")], limits=Limits(body_seconds=0.05))
    assert sent[0]["status"] == 408
    # what still trickles in would keep the connection
    assert header(sent, b"connection") == b"close"
    assert app.body is None


def test_a_client_that_leaves_gets_no_answer():
    app = App()
    assert ask(app, [part(b"a", True), {"type": "http.disconnect"}]) == []
    assert app.body is None


def test_only_json_is_taken():
    for kind in (b"multipart/form-data", b"application/vnd.bentoml+pickle", b"text/plain", b""):
        app = App()
        assert ask(app, [part(b"{}")], [(b"content-type", kind)])[0]["status"] == 415
        assert app.body is None
    for headers in ([], [(b"content-type", b"Application/JSON; charset=utf-8")]):
        assert ask(App(), [part(b"{}")], headers)[0]["status"] == 200


def test_the_request_id_is_echoed_when_it_is_a_token_and_made_when_not():
    assert header(ask(App(), [part(b"")], [*JSON, (b"x-request-id", b"a-1.b:c")]),
                  b"x-request-id") == b"a-1.b:c"  # fmt: skip
    made = set()
    for bad in (b"", b"a b", b"a\r\nset-cookie: x", b"x" * 129, "ü".encode()):
        given = header(ask(App(), [part(b"")], [*JSON, (b"x-request-id", bad)]), b"x-request-id")
        assert given is not None
        assert len(given) == 32
        made.add(given)
    assert len(made) == 5


def test_plain_refusals_become_json_and_keep_what_is_allowed():
    for status in (404, 405):
        sent = ask(App(status, [(b"allow", b"GET")]), [part(b"")], method="GET")
        assert sent[0]["status"] == status
        assert header(sent, b"allow") == b"GET"
        assert "error" in json.loads(sent[1]["body"])
        assert len(sent) == 2


def test_a_refusal_that_carries_input_back_is_cut():
    size = str(MAX_REFUSAL_BYTES + 1).encode()
    sent = ask(App(400, [(b"content-length", size)]), [part(b"")])
    assert sent[0]["status"] == 400
    assert len(sent[1]["body"]) < 200
    fits = ask(App(400, [(b"content-length", b"15")]), [part(b"")])
    assert fits[1]["body"] == b"as the app said"
    big_answer = ask(App(200, [(b"content-length", size)]), [part(b"")])
    assert big_answer[1]["body"] == b"as the app said"


def test_what_is_not_http_passes_untouched():
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    scope = {"type": "lifespan"}
    asyncio.run(Guard(app)(scope, "receive", "send"))  # type: ignore[arg-type]
    assert seen == [(scope, "receive", "send")]


class Told:
    """What is told of answers."""

    def __init__(self) -> None:
        self.of: list[tuple[str, str, int]] = []

    def __call__(self, asked: Asked, method: str, path: str, status: int) -> None:
        self.of.append((asked.request_id, path, status))


ID = (b"x-request-id", b"r7")


@pytest.mark.parametrize("status", [200, 202, 400, 404, 500, 503])
def test_every_answer_is_told_once(status: int):
    for method, path in (("POST", "/predict"), ("GET", "/health")):
        told = Told()
        ask(App(status), [part(b"")], [*JSON, ID], method, path=path, ended=told)
        assert told.of == [("r7", path, status)]


def test_the_guard_s_own_refusals_are_told():
    told = Told()
    ask(App(), [part(b"x" * 9)], [*JSON, ID], limits=EIGHT, ended=told)
    ask(App(), [part(b"")], [(b"content-type", b"text/plain"), ID], ended=told)
    ask(App(), [part(b"", True), 1.0], [*JSON, ID], limits=Limits(body_seconds=0.01), ended=told)
    assert told.of == [("r7", "/predict", status) for status in (413, 415, 408)]


def test_what_takes_too_long_is_heard_of_too():
    async def app(*_: Any) -> None:
        raise asyncio.CancelledError

    told = Told()
    with pytest.raises(asyncio.CancelledError):
        ask(app, [part(b"")], [*JSON, ID], ended=told)
    assert told.of == [("r7", "/predict", 504)]


def test_a_failure_inside_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture):
    async def app(*_: Any) -> None:
        raise ArithmeticError("a row of acme")

    told = Told()
    sent = ask(app, [part(b"")], [*JSON, ID], ended=told)
    assert (sent[0]["status"], told.of) == (500, [("r7", "/predict", 500)])
    assert b"acme" not in sent[1]["body"]
    assert "ArithmeticError" in caplog.text
    said = ask(App(500, [(b"x-assay-fault", b"model")]), [part(b"")])
    assert b"as the app said" not in said[1]["body"]
    assert header(said, b"x-assay-fault") == b"model"


def test_a_failure_after_the_answer_began_is_not_answered_twice():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        ask(app, [part(b"")])


def test_every_answer_has_the_security_headers_once_and_names_no_server():
    loud = [(b"server", b"x/1"), (b"Cache-Control", b"public"), (b"x-request-id", b"other")]
    for sent in (
        ask(App(200, loud), [part(b"")], [*JSON, ID]),
        ask(App(404), [part(b"")]),
        ask(App(), [part(b"x" * 9)], limits=EIGHT),
        ask(App(), [], [(b"x", b"y" * 20_000)], "GET"),
    ):
        names = [name.lower() for name, _ in sent[0]["headers"]]
        assert len(names) == len(set(names))
        assert set(SECURITY) <= set(sent[0]["headers"])
        assert b"server" not in names
    assert header(ask(App(200, loud), [part(b"")], [*JSON, ID]), b"x-request-id") == b"r7"


def test_long_headers_are_431_and_the_body_is_not_read():
    app = App()
    for long in ([(b"a", b"x" * 16_384)], [(b"%d" % n, b"") for n in range(4_000)]):
        sent = ask(app, [part(b"")], [*JSON, *long])
        assert sent[0]["status"] == 431
    assert app.body is None
    assert ask(app, [part(b"")], [*JSON, (b"a", b"x" * 16_000)])[0]["status"] == 200


def test_a_websocket_is_closed():
    sent = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    asyncio.run(Guard(App())({"type": "websocket"}, None, send))  # type: ignore[arg-type]
    assert sent == ["websocket.close"]


def test_a_log_that_fails_does_not_fail_the_answer(caplog: pytest.LogCaptureFixture):
    def broken(*_: Any) -> None:
        raise RuntimeError("planted")

    sent = ask(App(400), [part(b"")], ended=broken)
    assert [sent[0]["status"], sent[1]["body"]] == [400, b"as the app said"]
    assert "the end of a request was not noted" in caplog.text


def test_the_app_sees_what_was_asked_and_for_what():
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(ASKED.get())
        await App()(scope, receive, send)

    for purpose in (b"golden", b"traffic", b"GOLDEN", b""):
        ask(app, [part(b"")], [*JSON, ID, (b"x-assay-purpose", purpose)])
    assert [asked.purpose for asked in seen] == ["golden", "traffic", "traffic", "traffic"]
    assert {asked.request_id for asked in seen} == {"r7"}
    assert [asked.started_ns for asked in seen] == sorted(asked.started_ns for asked in seen)


def test_a_log_line_of_a_request_carries_its_id_and_a_failure_its_traceback():
    lines = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise ValueError("planted")
        except ValueError:
            record = logging.LogRecord("assay.x", 40, "", 0, "no %s", ("luck",), sys.exc_info())
        lines.append(json.loads(JsonLines("risk/a", "v1").format(record)))
        await App()(scope, receive, send)

    ask(app, [part(b"")], [*JSON, ID])
    (line,) = lines
    assert (line["message"], line["level"], line["request_id"]) == ("no luck", "ERROR", "r7")
    assert (line["product"], line["version"]) == ("risk/a", "v1")
    assert "ValueError: planted" in line["traceback"]
