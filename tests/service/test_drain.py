"""A worker that leaves answers what arrives on its connections; only then its hooks run."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest
import uvicorn

from gateway import drain
from stores.listener import open_port

KEEP_ALIVE = 1
PLAIN = {"log_config": None, "interface": "asgi3", "timeout_keep_alive": KEEP_ALIVE}


class Worker:
    """Uvicorn on a shared socket, as BentoML's worker runs it, in a thread."""

    def __init__(self, name: str, shared: socket.socket, loop: str, protocol: str) -> None:
        self.name, self.told, self.address = name, list[str](), shared.getsockname()
        self.hold = threading.Event()
        self.successor = partial(Worker, "new", shared, loop, protocol)
        config = uvicorn.Config(self.app, loop=loop, http=protocol, **PLAIN)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([shared.dup()],))
        self.thread.start()
        until(lambda: self.server.started)

    async def app(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                await send({"type": (await receive())["type"] + ".complete"})
            self.told.append("hooks")
            return
        while (await receive()).get("more_body"):
            pass
        if scope["path"] == "/stall":
            self.told.append("begun")
            self.hold.wait(10)  # the whole loop stands still
        if scope["path"] == "/slow":
            self.told.append("begun")
            while not self.hold.is_set():
                await asyncio.sleep(0.01)
        self.told.append(scope["path"])
        headers = [(b"content-length", str(len(self.name)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.name.encode()})

    def leave(self) -> None:
        """What uvicorn does on SIGTERM."""
        self.server.should_exit = True
        listening = self.server.servers[0]
        until(lambda: not listening.is_serving())

    def end(self) -> None:
        self.hold.set()
        self.server.should_exit = True
        self.gone()

    def gone(self) -> float:
        begun = time.monotonic()
        self.thread.join(20)
        assert not self.thread.is_alive()
        return time.monotonic() - begun


def until(true) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(params=[("uvloop", "httptools"), ("asyncio", "h11")], ids="-".join)
def old(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker; its successor starts on the same socket."""
    monkeypatch.setattr(uvicorn.Server, "shutdown", uvicorn.Server.shutdown)  # undone at the end
    monkeypatch.setattr(drain, "_LEAVING", threading.Event())
    drain.install()
    drain.install()
    with open_port("127.0.0.1", 0) as shared:
        made = Worker("old", shared, *request.param)
        yield made
        made.end()


@pytest.fixture
def connect(old: Worker) -> Iterator[Callable[[], http.client.HTTPConnection]]:
    with ExitStack() as stack:

        def connected() -> http.client.HTTPConnection:
            made = http.client.HTTPConnection(*old.address, timeout=20)
            stack.callback(made.close)
            made.connect()
            return made

        yield connected


def ask(opened: http.client.HTTPConnection, path: str = "/") -> tuple[str, str | None]:
    """Body and connection header of an answer."""
    opened.request("POST", path, b"x" * 10)
    return told(opened)


def told(opened: http.client.HTTPConnection) -> tuple[str, str | None]:
    answer = opened.getresponse()
    return answer.read().decode(), answer.getheader("connection")


def test_every_open_connection_is_answered_and_the_queue_is_the_successors(old: Worker, connect):
    kept, fresh, busy = connect(), connect(), connect()
    assert ask(kept) == ("old", None)
    until(lambda: len(old.server.server_state.connections) == 3)
    busy.request("POST", "/slow", b"x")
    until(lambda: "begun" in old.told)
    state = old.server.server_state
    state.default_headers = [*state.default_headers]  # uvicorn does so each second
    old.leave()
    queued = connect()  # nobody accepts yet
    assert ask(kept, "/kept") == ("old", "close")
    assert ask(fresh, "/fresh") == ("old", "close")
    new = old.successor()
    assert ask(queued) == ("new", None)
    new.end()
    old.hold.set()
    assert told(busy) == ("old", "close")
    assert old.gone() < 1
    assert old.told == ["/", "begun", "/kept", "/fresh", "/slow", "hooks"]


def test_what_came_before_the_signal_is_answered_also_when_the_loop_is_late(old: Worker, connect):
    busy = connect()
    busy.request("POST", "/stall", b"x")
    until(lambda: "begun" in old.told)
    early = connect()
    early.request("POST", "/early", b"x")
    old.server.should_exit = True
    time.sleep(0.15)  # uvicorn looks at that every 0.1 s: it will first thing when it wakes
    old.hold.set()
    assert told(early) == ("old", "close")
    assert told(busy)[0] == "old"


def test_idle_connections_end_without_a_reset_and_hold_the_worker_for_seconds(old: Worker, connect):
    kept, fresh = connect(), connect()
    assert ask(kept) == ("old", None)
    answered = time.monotonic()
    old.leave()
    assert kept.sock.recv(1) == b""  # an end, no reset
    assert time.monotonic() - answered > KEEP_ALIVE - 0.1  # and no earlier than without a drain
    assert fresh.sock.recv(1) == b""
    assert old.gone() < 1
    assert time.monotonic() - answered < KEEP_ALIVE + drain.MARGIN_SECONDS + 1
    assert old.told == ["/", "hooks"]


def test_a_worker_without_connections_leaves_at_once(old: Worker, connect):
    one = connect()
    assert ask(one) == ("old", None)
    one.close()
    until(lambda: not old.server.server_state.connections)
    old.server.should_exit = True
    assert old.gone() < 1
    assert old.told == ["/", "hooks"]
