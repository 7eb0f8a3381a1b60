"""The router's connections, against real small servers: kept, reset, slow, dead, in pieces."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from gateway import upstream as module
from gateway.asked import Asked
from gateway.meters import Meters
from gateway.ports import FAULT_HEADER, Call, Unreachable
from gateway.upstream import Health, HttpBackend
from gateway.wire import Wire
from models.contracts.keys import OPEN
from models.contracts.routing import Member, ProductRoutes, RoutingTable
from tests.service.scripted import Heard, Server, answer, says

PRODUCT = "risk/sync_conflict"


@pytest.fixture(autouse=True)
def meters(monkeypatch: pytest.MonkeyPatch) -> Meters:
    made = Meters("router")
    monkeypatch.setattr(module, "METERS", made)
    return made


def table(generation: int = 1, **urls: str) -> RoutingTable:
    members = {
        name: Member(version=name, semver="", url=url, artifact=None) for name, url in urls.items()
    }
    routes = ProductRoutes(product=PRODUCT, champion="v1", previous=None, members=members)
    return RoutingTable(
        generation=generation, written_at="2026-01-01T00:00:00Z", products={PRODUCT: routes}
    )


def call(body: bytes = b'{"rows": []}', seconds: float = math.inf, **changed: Any) -> Call:
    asked = Asked("r1", time.monotonic_ns(), "traffic", deadline=time.monotonic() + seconds)
    fields = {"product": PRODUCT, "version": "v1", "path": "predict", "query": b"", "body": body}
    return Call(**(fields | {"asked": asked} | changed))


def asking(
    server: Server, use: Callable[[HttpBackend, Server], Awaitable[None]], **options: Any
) -> None:
    """Run ``use`` with a backend whose v1 is the server."""

    async def within() -> None:
        async with server:
            backend = HttpBackend("t" * 32, **options)
            backend.follow(table(v1=server.url))
            try:
                await use(backend, server)
            finally:
                await backend.close()

    on_uvloop(within())


def on_uvloop(work: Coroutine[Any, Any, None]) -> None:
    """As the router runs; its transports are not asyncio's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def failures(meters: Meters, kind: str) -> float:
    lines = meters.exposition().decode().splitlines()
    mine = [line for line in lines if line.startswith("assay_upstream") and f'"{kind}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in mine)


def test_a_request_goes_out_whole_with_what_the_gateway_says():
    async def use(backend: HttpBackend, server: Server) -> None:
        caller = OPEN._replace(id="k1", tenants=frozenset({"acme"}))
        asked = call(seconds=5).asked._replace(principal=caller, purpose="golden")
        reply = await backend.ask(call(b"[1]", asked=asked, query=b"explain=true"))
        assert (reply.status, reply.body) == (200, b"[1]")
        assert reply.headers == ((b"content-type", b"application/json"),)
        heard = server.heard[0]
        assert heard.path == "/predict?explain=true"
        assert heard.header(b"x-assay-service-token") == b"t" * 32
        assert heard.header(b"x-assay-tenants") == b'["acme"]'
        assert heard.header(b"x-assay-purpose") == b"golden"
        assert heard.header(b"x-request-id") == b"r1"
        assert 4_000 < int(heard.header(b"x-assay-deadline-ms") or 0) <= 5_000

    asking(Server(), use)


def test_a_connection_is_kept_and_not_for_longer_than_the_service_keeps_it():
    async def use(backend: HttpBackend, server: Server) -> None:
        for _ in range(3):
            await backend.ask(call())
        assert server.connections == 1
        await asyncio.sleep(0.25)
        await backend.ask(call())
        assert [one.connection for one in server.heard] == [0, 0, 0, 1]

    asking(Server(), use, idle_seconds=0.1)


def test_no_delay_is_asked_for():
    async def within() -> None:
        async with Server() as server:
            wire = await Wire.connect("127.0.0.1", int(server.url.rpartition(":")[2]))
            assert wire._transport is not None
            opened = wire._transport.get_extra_info("socket")
            assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            wire.close()

    on_uvloop(within())


async def _resets_the_second(heard: Heard, writer: asyncio.StreamWriter) -> None:
    if heard.nth == 0:
        await says(heard, writer)
    else:
        writer.transport.abort()


def test_a_reset_on_a_kept_connection_is_tried_once_more_on_a_fresh_one(meters: Meters):
    async def use(backend: HttpBackend, server: Server) -> None:
        for number in range(3):
            assert (await backend.ask(call(b"%d" % number))).body == b"%d" % number
        told = [(one.connection, one.nth, one.body) for one in server.heard]
        assert told == [(0, 0, b"0"), (0, 1, b"1"), (1, 0, b"1"), (1, 1, b"2"), (2, 0, b"2")]
        assert failures(meters, "reset") == 0

    asking(Server(_resets_the_second), use)


async def _resets_all(heard: Heard, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _resets_midway(heard: Heard, writer: asyncio.StreamWriter) -> None:
    if heard.nth == 0:
        await says(heard, writer)
        return
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1")
    await writer.drain()
    writer.close()


def test_a_reset_of_a_fresh_connection_or_in_an_answer_is_a_failure(meters: Meters):
    async def fresh(backend: HttpBackend, server: Server) -> None:
        with pytest.raises(Unreachable):
            await backend.ask(call())
        assert len(server.heard) == 1

    async def midway(backend: HttpBackend, server: Server) -> None:
        await backend.ask(call())
        with pytest.raises(Unreachable):
            await backend.ask(call())
        assert len(server.heard) == 2

    asking(Server(_resets_all), fresh)
    asking(Server(_resets_midway), midway)
    assert failures(meters, "reset") == 2


async def _in_pieces(heard: Heard, writer: asyncio.StreamWriter) -> None:
    whole = (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
             b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n")  # fmt: skip
    for place in range(0, len(whole), 7):
        writer.write(whole[place : place + 7])
        await writer.drain()
        await asyncio.sleep(0)


def test_an_answer_may_come_in_chunks_and_pieces():
    async def use(backend: HttpBackend, server: Server) -> None:
        for _ in range(2):
            reply = await backend.ask(call())
            assert (reply.status, reply.headers, reply.body) == (200, (), b"[1,2]")
        assert server.connections == 1

    asking(Server(_in_pieces), use)


async def _garbles(heard: Heard, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")


def test_what_is_no_http_is_a_failure(meters: Meters):
    async def use(backend: HttpBackend, _: Server) -> None:
        with pytest.raises(Unreachable):
            await backend.ask(call())

    asking(Server(_garbles), use)
    assert failures(meters, "garbled") == 1


async def _last(heard: Heard, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, b"{}", b"connection: close"))
    writer.close()


def test_a_service_that_leaves_says_so_and_loses_nothing():
    async def use(backend: HttpBackend, server: Server) -> None:
        for _ in range(3):
            assert (await backend.ask(call())).status == 200
        assert server.connections == 3

    asking(Server(_last), use)


async def _hangs(heard: Heard, writer: asyncio.StreamWriter) -> None:
    if heard.path == "/readyz":
        await says(heard, writer)
    else:
        await asyncio.sleep(60)


def test_who_hangs_is_given_up_at_the_deadline(meters: Meters, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.0)

    async def use(backend: HttpBackend, server: Server) -> None:
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="in time"):
            await backend.ask(call(seconds=0.1))
        assert time.monotonic() - begun < 2
        with pytest.raises(Unreachable, match="in time"):
            await backend.ask(call(seconds=-1))
        assert len(server.heard) == 1

    asking(Server(_hangs), use)
    assert failures(meters, "late") == 2


async def _faults(heard: Heard, writer: asyncio.StreamWriter) -> None:
    fault = FAULT_HEADER + b": model"
    writer.write(answer(500, b"{}", fault) if heard.body == b"0" else answer(503, b"{}"))


def test_a_service_that_says_it_failed_stays_in(meters: Meters):
    async def use(backend: HttpBackend, _: Server) -> None:
        replies = [await backend.ask(call(b"%d" % number)) for number in (0, 0, 0, 0, 1)]
        assert [one.status for one in replies] == [500, 500, 500, 500, 503]
        assert replies[0].headers == ((FAULT_HEADER, b"model"),)

    asking(Server(_faults), use)
    assert failures(meters, "model") == 4


def test_three_failures_take_a_release_out_until_it_is_ready(
    meters: Meters, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.05)

    async def use(backend: HttpBackend, server: Server) -> None:
        for _ in range(3):
            with pytest.raises(Unreachable, match="did not answer"):
                await backend.ask(call())
        assert backend.problems() == [f"v1 of {PRODUCT} does not answer"]
        heard = len(server.heard)
        with pytest.raises(Unreachable, match="is out"):
            await backend.ask(call())
        assert len(server.heard) == heard
        server.script = says
        async with asyncio.timeout(5):
            while backend.problems():
                await asyncio.sleep(0.01)
        assert (await backend.ask(call())).status == 200

    asking(Server(_resets_all), use)
    assert (failures(meters, "reset"), failures(meters, "out")) == (3, 1)


def test_each_relapse_takes_it_out_for_longer():
    health = Health()
    assert [health.bad() for _ in range(4)] == [None, None, 1.0, None]
    pauses = []
    for _ in range(6):
        health.back()
        pauses.append(health.bad())
    assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    health.back()
    health.good()
    assert [health.bad() for _ in range(3)] == [None, None, 1.0]


def test_nobody_there_and_nobody_known():
    async def use(backend: HttpBackend, server: Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        backend.follow(table(v1=f"http://127.0.0.1:{port}"))
        with pytest.raises(Unreachable, match="did not answer"):
            await backend.ask(call())
        with pytest.raises(Unreachable, match="does not run"):
            await backend.ask(call(version="v9"))

    asking(Server(), use)


async def _slowly(heard: Heard, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.02)
    await says(heard, writer)


def test_no_more_connections_than_allowed_and_nobody_is_forgotten():
    async def use(backend: HttpBackend, server: Server) -> None:
        replies = await asyncio.gather(*(backend.ask(call(b"%d" % n)) for n in range(20)))
        assert [one.body for one in replies] == [b"%d" % n for n in range(20)]
        assert server.connections == 4

    asking(Server(_slowly), use, most=4)


def test_a_new_table_keeps_connections_that_stay_and_ends_the_others():
    async def use(backend: HttpBackend, server: Server) -> None:
        await backend.ask(call())
        backend.follow(table(2, v1=server.url, v2=server.url))
        await backend.ask(call())
        assert server.connections == 1
        under_way = asyncio.create_task(backend.ask(call(b"last")))
        await asyncio.sleep(0.005)
        backend.follow(table(3, v2=server.url))
        assert (await under_way).body == b"last"
        with pytest.raises(Unreachable, match="does not run"):
            await backend.ask(call())
        assert (await backend.ask(call(version="v2"))).status == 200

    asking(Server(_slowly), use)


def test_a_crowd_is_sent_away_and_the_release_is_not_at_fault():
    """One connection, 50 ms an answer: who would wait longer than half of his time is told so."""

    async def slowly(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        await says(heard, writer)

    async def use(backend: HttpBackend, server: Server) -> None:
        await backend.ask(call(seconds=5))
        asked = [asyncio.create_task(backend.ask(call(seconds=0.6))) for _ in range(30)]
        replies = await asyncio.gather(*asked)
        statuses = {reply.status for reply in replies}
        assert statuses == {200, 503}
        shed = next(reply for reply in replies if reply.status == 503)
        assert (b"retry-after", b"1") in shed.headers
        assert FAULT_HEADER not in dict(shed.headers), "another release would not be asked"
        assert (await backend.ask(call(seconds=5))).status == 200

    asking(Server(slowly), use, most=1)
