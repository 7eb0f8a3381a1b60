"""Which releases are out, how many connections there are, and new tables, against small servers."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway import upstream as module
from gateway.meters import Meters
from gateway.ports import FAULT_HEADER, Unreachable
from gateway.upstream import Health, HttpBackend
from tests.service.scripted import Heard, Server, answer, says
from tests.unit.upstreams import PRODUCT, asking, call, failures, table


@pytest.fixture(autouse=True)
def meters(monkeypatch: pytest.MonkeyPatch) -> Meters:
    made = Meters("router")
    monkeypatch.setattr(module, "METERS", made)
    return made


async def _resets_all(heard: Heard, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


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
