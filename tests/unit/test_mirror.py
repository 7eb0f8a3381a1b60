"""Copies of requests: sent as shadows, never waited for, never many."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from gateway import mirror as module
from gateway.asked import Asked
from gateway.meters import Meters
from gateway.mirror import Mirror
from gateway.ports import Call, Reply, Unreachable
from models.contracts.routing import RoutingTable

PRODUCT = "risk/sync_conflict"


class Held:
    """A backend that answers when it is let."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.go = asyncio.Event()
        self.gone = False

    async def ask(self, call: Call) -> Reply:
        self.calls.append(call)
        await self.go.wait()
        if self.gone:
            raise Unreachable
        return Reply(200, (), call.body)

    def follow(self, table: RoutingTable) -> None:
        return

    async def close(self) -> None:
        return


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> Meters:
    made = Meters("router")
    monkeypatch.setattr(module, "METERS", made)
    return made


def call(product: str = PRODUCT) -> Call:
    asked = Asked("r1", time.monotonic_ns(), "traffic", deadline=math.inf)
    return Call(product, "v1", "predict", b"", b"{}", asked)


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def counted(meters: Meters, name: str) -> float:
    lines = [one for one in meters.exposition().decode().splitlines() if one.startswith(name + "{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_a_copy_is_a_shadow_with_a_deadline_of_its_own(meters: Meters):
    async def within() -> None:
        held, got = Held(), list[Reply | None]()
        assert Mirror(held).copy(call(), "v2", lambda reply, _: got.append(reply))
        assert got == held.calls == []
        await _settled()
        (sent,) = held.calls
        assert (sent.version, sent.asked.purpose, sent.asked.request_id) == ("v2", "shadow", "r1")
        assert 4 < sent.asked.deadline - time.monotonic() <= 5
        held.go.set()
        await _settled()
        assert got == [Reply(200, (), b"{}")]

    asyncio.run(within())


def test_what_is_too_much_is_dropped_and_counted_by_product(meters: Meters):
    async def within() -> None:
        held = Held()
        mirror = Mirror(held, most=2)
        sent = [mirror.copy(call(), "v2", lambda *_: None) for _ in range(3)]
        assert sent == [True, True, False]
        assert mirror.copy(call("another/product"), "v2", lambda *_: None)
        held.go.set()
        await _settled()
        assert mirror.copy(call(), "v2", lambda *_: None)
        await _settled()

    asyncio.run(within())
    assert counted(meters, "assay_mirror_total") == 4
    assert counted(meters, "assay_mirror_dropped_total") == 1


def test_who_is_not_there_gives_nothing(meters: Meters):
    async def within() -> None:
        held, got = Held(), list[tuple[Reply | None, float]]()
        held.gone = True
        Mirror(held).copy(call(), "v2", lambda *told: got.append(told))
        held.go.set()
        await _settled()
        assert got[0][0] is None
        assert got[0][1] >= 0

    asyncio.run(within())
