"""The load generator counts what came, and leaves nothing out."""

import asyncio
import itertools
import json
import math
import random

import httptools

from benchmarks import connection, load

BODY = b'{"rows": []}'


class Server(asyncio.Protocol):
    """Answers as its script says, request by request over all connections."""

    script, got, delay, open = (), [], 0.0, 0

    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)
        Server.open += 1

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_url(self, url):
        self.url, self.body, self.headers = url, b"", {}

    def on_header(self, name, value):
        self.headers[name] = value

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        Server.got.append((self.url, self.headers, self.body))
        asyncio.get_running_loop().call_later(self.delay, self.answer, next(Server.script))

    def answer(self, said):
        status, *versions = said
        if status == "gone":
            self.transport.abort()
            return
        rows = [{"model_version": version} for version in versions]
        body = json.dumps({"predictions": rows}).encode()
        head = f"HTTP/1.1 {status} X\r\nX-Cache: hit\r\ncontent-length: {len(body)}\r\n"
        if status == "close":
            head = head.replace("close", "200") + "connection: close\r\n"
        if status != "never":
            self.transport.write(head.encode() + b"\r\n" + body)


def asked(script, count, delay=0.0, headers=None, **options):
    """``count`` requests to a server with this script, asked with these options."""

    async def run():
        Server.script, Server.got, Server.delay, Server.open = iter(script), [], delay, 0
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/predict?explain=true"
        bodies = itertools.islice(itertools.repeat(BODY), count)
        async with server:
            return await load.drive(url, load.requests(url, bodies, headers), **options)

    return asyncio.run(run())


def test_every_answer_is_counted_and_looked_at():
    script = [(200, "v1"), (200, "v1", "v2"), (200,), (503,), ("gone",), (200, "v1"),
              ("close", "v1"), (200, "v1")]  # fmt: skip
    seen = []
    found = asked(script, 8, connections=1, version="v1", seen=seen.append,
                  headers={"x-api-key": "k"})  # fmt: skip
    assert found.statuses == {200: 6, 503: 1, connection.LOST: 1}
    assert found.versions == {"v1": 5, "v2": 1}
    assert (found.wrong, found.failed, len(found.latencies)) == (2, 4, 6)
    assert [one.number for one in seen] == [*range(8)]
    assert [one.status for one in seen] == [200, 200, 200, 503, 0, 200, 200, 200]
    assert seen[0].headers[b"x-cache"] == b"hit"
    assert json.loads(seen[5].body) == {"predictions": [{"model_version": "v1"}]}
    assert Server.open == 3, "kept, but for one that was lost and one that was closed"
    url, headers, body = Server.got[0]
    assert (url, body, headers[b"x-api-key"]) == (b"/predict?explain=true", BODY, b"k")
    assert "failed 4" in str(found)


def test_an_answer_that_never_comes_is_late():
    found = asked([("never",), (200, "v1")], 2, connections=1, patience=0.1)
    assert found.statuses == {connection.LATE: 1, 200: 1}
    assert found.failed == 1


def test_connections_ask_at_once_and_each_waits_for_its_answer():
    found = asked(itertools.repeat((200, "v1")), 40, delay=0.02, connections=4)
    assert Server.open == 4
    assert found.failed == 0
    assert min(found.latencies) >= 0.019
    assert found.seconds >= 10 * 0.019, "4 at once"


def test_a_time_ends_the_load():
    found = asked(itertools.repeat((200, "v1")), 10**9, delay=0.01, seconds=0.2)
    assert found.statuses.total() == len(Server.got)
    assert 0.2 <= found.seconds < 5


def test_in_an_open_loop_a_wait_for_a_connection_is_part_of_the_latency():
    """20 requests are due within 0.1 s or so, one connection takes 0.02 s for each."""
    found = asked(itertools.repeat((200, "v1")), 20, delay=0.02, connections=1, rate=200.0)
    draws = random.Random(0)
    due = sum(draws.expovariate(200.0) for _ in range(20))
    assert max(found.latencies) >= 20 * 0.019 - due
    paced = asked(itertools.repeat((200, "v1")), 10, connections=4, rate=50.0, seed=1)
    draws = random.Random(1)
    assert paced.seconds >= sum(draws.expovariate(50.0) for _ in range(10))


def test_quantiles_are_answers_that_came():
    found = load.Load()
    found.latencies.extend([4.0, 1.0, 3.0, 2.0])
    assert [found.quantile(q) for q in (0.0, 0.25, 0.5, 0.51, 1.0)] == [1, 1, 2, 3, 4]
    assert load.Load().rate == 0.0


def test_a_service_that_is_not_there_is_an_error_not_a_wait(monkeypatch):
    monkeypatch.setattr(connection, "_REFUSED", 0.1)
    url = "http://127.0.0.1:9/"  # discard: nobody listens
    found = load.run(url, load.requests(url, [BODY] * 2), connections=1)
    assert found.statuses == {connection.LOST: 2}
    assert math.isnan(found.quantile(0.5))
