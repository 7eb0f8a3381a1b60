"""The router's connections, against real small servers: kept, reset, slow, dead, in pieces."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from gateway import upstream as module
from gateway.meters import Meters
from gateway.ports import Unreachable
from gateway.upstream import HttpBackend
from gateway.wire import Wire
from models.contracts.keys import OPEN
from tests.service.scripted import Heard, Server, answer, says
from tests.unit.upstreams import asking, call, failures, on_uvloop


@pytest.fixture(autouse=True)
def meters(monkeypatch: pytest.MonkeyPatch) -> Meters:
    made = Meters("router")
    monkeypatch.setattr(module, "METERS", made)
    return made


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
