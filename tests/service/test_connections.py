"""Connections of a really running uvicorn, held the way an attacker holds them."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway import connections
from gateway.guard import Guard
from gateway.limits import Limits

LIMITS = Limits(header_bytes=2_000, connections=6, body_bytes=1_000)
HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


class Server:
    """Uvicorn with the guard, in a thread."""

    def __init__(self, loop: str) -> None:
        self.hold = threading.Event()
        config = uvicorn.Config(
            Guard(self.app, LIMITS), port=0, loop=loop, http="httptools", log_config=None,
            server_header=False, timeout_keep_alive=1, interface="asgi3",
        )  # fmt: skip
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        until(lambda: self.server.started)
        self.address = self.server.servers[0].sockets[0].getsockname()

    async def app(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                await send({"type": (await receive())["type"] + ".complete"})
            return
        await receive()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    def open(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=5)

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)


def until(holds, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def rest(sock: socket.socket) -> bytes:
    """All bytes until the other side closes."""
    found = b""
    while chunk := sock.recv(65_536):
        found += chunk
    return found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    limits = connections.Bounded.limits
    connections.install(Limits(connections=1))
    connections.install(LIMITS)
    found = Server(request.param)
    try:
        yield found
    finally:
        found.end()
        # not deleted: a class that once had a __new__ hands object's the arguments (bpo-5322)
        HttpToolsProtocol.__new__ = lambda kind, *_, **__: object.__new__(kind)
        connections.Bounded.limits = limits


@pytest.fixture(autouse=True)
def _alone(server: Server) -> Iterator[None]:
    until(lambda: server.connections == 0)
    yield
    until(lambda: server.connections == 0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where a test waits for the end: a busy machine must not end the others' connections."""
    monkeypatch.setattr(connections.Bounded, "limits", LIMITS._replace(header_seconds=0.4))


def test_a_request_is_answered_as_ever_and_its_connection_kept(server: Server):
    with closing(server.open()) as sock:
        for _ in range(3):
            sock.sendall(HEAD + b"content-length: 2\r\n\r\n{}")
            answer = sock.recv(65_536)
            while not answer.endswith(b"ok"):
                answer += sock.recv(65_536)
            assert status(answer) == 200
            assert b"server:" not in answer.lower()


@pytest.mark.usefixtures("impatient")
def test_who_sends_nothing_is_let_go(server: Server):
    with closing(server.open()) as sock:
        begun = time.monotonic()
        assert rest(sock) == b""
        assert time.monotonic() - begun < 5


@pytest.mark.usefixtures("impatient")
def test_headers_that_trickle_in_are_408(server: Server):
    with closing(server.open()) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
        for _ in range(3):
            time.sleep(0.05)
            sock.sendall(b"a: b\r\n")
        answer = rest(sock)
    assert status(answer) == 408
    assert b"x-content-type-options: nosniff" in answer


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\n", b"GET /"])
def test_headers_without_end_are_431_before_they_fill_the_memory(server: Server, begin: bytes):
    with closing(server.open()) as sock:
        sock.sendall(begin or b"GET /" + b"x" * 1_000)
        answer = b""
        try:
            for _ in range(100):
                sock.sendall(b"x" * 500)
                time.sleep(0.001)
            answer = rest(sock)
        except ConnectionError:
            pass
        assert status(answer) in (0, 400, 431)
    until(lambda: server.connections == 0)


def test_long_headers_sent_slowly_are_431(server: Server):
    with closing(server.open()) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"x" * 1_900)
        time.sleep(0.05)
        sock.sendall(b"y" * 200)
        assert status(rest(sock)) == 431


def test_one_connection_too_many_is_503_and_the_others_are_served(server: Server):
    with ExitStack() as stack:
        held = [stack.enter_context(closing(server.open())) for _ in range(LIMITS.connections)]
        until(lambda: server.connections == LIMITS.connections)
        with closing(server.open()) as extra:
            extra.sendall(HEAD + b"content-length: 2\r\n\r\n{}")
            answer = rest(extra)
        assert status(answer) == 503
        assert b"retry-after: 1" in answer
        held[0].sendall(HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\n{}")
        assert status(rest(held[0])) == 200


@pytest.mark.usefixtures("impatient")
def test_the_rest_of_a_refused_body_does_not_keep_the_connection(server: Server):
    with closing(server.open()) as sock:
        sock.sendall(HEAD + b"content-length: 100000\r\n\r\n")
        answer = sock.recv(65_536)
        assert status(answer) == 413
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < 5:
                sock.sendall(b"x")
                time.sleep(0.02)
        except ConnectionError:
            pass
        assert time.monotonic() - begun < 5


def test_what_is_no_http_is_400_in_json(server: Server):
    with closing(server.open()) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00secret\r\n\r\n")
        answer = rest(sock)
    assert status(answer) == 400
    assert b'{"error"' in answer
    assert b"secret" not in answer


def test_a_websocket_gets_an_http_answer(server: Server):
    with closing(server.open()) as sock:
        sock.sendall(
            b"GET /predict HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert status(sock.recv(65_536)) == 200


def test_a_reset_leaves_no_timer(server: Server):
    with closing(server.open()) as sock:
        sock.sendall(HEAD + b"content-length: 2\r\n\r\n{}")
        assert status(sock.recv(65_536)) == 200
        (protocol,) = server.server.server_state.connections
        until(lambda: protocol.timeout_keep_alive_task is not None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: protocol.timeout_keep_alive_task is None)
    assert protocol._timer is None
