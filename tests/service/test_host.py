"""Which models are in memory: loaded at need, replaced without a gap, dropped when room is short.

Engines are stand-ins that take as many bytes as their files; what real ones answer is tested over
HTTP.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from bentos import loading
from bentos.engine import Engine
from bentos.host import EngineHost
from bentos.loading import Found
from bentos.runtime import Runtime
from gateway.asked import Asked
from gateway.errors import StartError
from gateway.metrics import Metrics
from gateway.ports import Answered, Late, Shed
from gateway.traffic_log import TrafficLog
from models.contracts.api import PredictResponse
from models.contracts.routing import Override, Placement, ProductRoutes, RoutingTable
from models.recommendation.films.product import PRODUCT as FILMS
from models.risk.sync_conflict.product import PRODUCT as RISK

RISK_KEY, FILMS_KEY = RISK.key, FILMS.key
SIZE = 1000
ASKED = Asked("r", time.monotonic_ns(), "traffic")


class StandIn(Engine):
    """Answers nothing, and notes what becomes of it."""

    made: ClassVar[list[StandIn]] = []
    gate = threading.Event()

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.closed = False
        StandIn.made.append(self)

    async def answer(self, request: Any, asked: Asked) -> Answered:
        if self.closed:
            raise Late
        if request:
            await request()
        empty = PredictResponse(predictions=[])
        return self.answered(empty, [], np.empty((0, 0)))

    def warm_up(self) -> None:
        StandIn.gate.wait(5)
        if self.runtime.version == "broken":
            raise StartError("it does not answer")

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    StandIn.made, StandIn.gate = [], threading.Event()
    StandIn.gate.set()
    where = f"{__name__}:StandIn"
    monkeypatch.setattr(loading, "ENGINES", dict.fromkeys(loading.ENGINES, where))
    monkeypatch.setattr(loading, "resident_bytes", lambda: 0)

    def load(product: Any, folder: Path, version: str) -> Runtime:
        candidate: Any = SimpleNamespace(candidate_id=f"c-{version}", trial="t", tenants=("acme",))
        return Runtime(product, candidate, None, version)

    monkeypatch.setattr(loading.runtime, "load", load)


@pytest.fixture
def find(tmp_path: Path) -> Callable[[str, str], Found]:
    def found(key: str, version: str) -> Found:
        product = RISK if key == RISK_KEY else FILMS
        folder = tmp_path / f"{product.slug}-{version}"
        folder.mkdir(exist_ok=True)
        (folder / "model").write_bytes(b"x" * SIZE)
        return Found(
            product, folder, lambda: TrafficLog(product, version, Metrics(product, version), None)
        )

    return found


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


def table(champion: str, key: str = RISK_KEY, **more: Any) -> RoutingTable:
    routes = ProductRoutes(product=key, champion=champion, previous=None, members={}, **more)
    return RoutingTable(generation=1, written_at=datetime.now(UTC), products={key: routes})


async def version(host: EngineHost, wanted: str, key: str = RISK_KEY, request: Any = None) -> str:
    return (await host.answer(key, wanted, request, ASKED)).version


def test_a_start_waits_for_what_loads_and_no_longer_than_it_may(find: Callable[[str, str], Found]):
    async def work() -> None:
        host = EngineHost(find)
        await host.settled(0.0)  # nothing to wait for
        StandIn.gate.clear()
        for key in (RISK_KEY, FILMS_KEY):
            host.follow(table("broken" if key == FILMS_KEY else "v1", key))
        await host.settled(0.05)
        assert not host.problems
        StandIn.gate.set()
        await host.settled(10)
        assert [one.split(":")[0] for one in host.problems] == [f"{FILMS_KEY} broken"]
        assert await version(host, "v1") == "v1"
        assert len(StandIn.made) == 2, "loaded before it was asked for"
        await host.close()

    run(work())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.001)


def loaded() -> list[str]:
    return [one.runtime.version for one in StandIn.made if not one.closed]


def test_a_model_is_loaded_at_its_first_request_and_once(find: Any):
    async def work() -> None:
        host = EngineHost(find)
        assert loaded() == []
        told = await asyncio.gather(*[version(host, "v1") for _ in range(5)])
        assert told == ["v1"] * 5
        assert loaded() == ["v1"]
        health = await host.health(RISK_KEY, "v1")
        assert (health["model_version"], health["prediction_log"]) == ("v1", "off")
        await host.close()
        assert loaded() == []

    run(work())


def test_who_gives_up_waiting_does_not_stop_the_load_for_others(find: Any):
    async def work() -> None:
        host = EngineHost(find)
        StandIn.gate.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(version(host, "v1"), 0.02)
        patient = asyncio.create_task(version(host, "v1"))
        StandIn.gate.set()
        assert await patient == "v1"
        assert len(StandIn.made) == 1
        await host.close()

    run(work())


def test_the_old_model_answers_until_the_new_one_is_warm_and_ends_after_its_last_answer(find: Any):
    async def work() -> None:
        host = EngineHost(find)
        host.follow(table("v1"))
        assert await version(host, "v1") == "v1"
        StandIn.gate.clear()
        host.follow(table("v2"))
        assert await version(host, "v2") == "v1"
        held, freed = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            held.set()
            await freed.wait()

        slow = asyncio.create_task(version(host, "v2", request=hold))
        await held.wait()
        StandIn.gate.set()
        await until(lambda: len(StandIn.made) == 2 and not host._loading)
        assert await version(host, "v2") == "v2"
        assert loaded() == ["v1", "v2"]  # the old one still has a request
        freed.set()
        assert await slow == "v1"
        await until(lambda: loaded() == ["v2"])
        await host.close()

    run(work())


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_and_is_told(find: Any):
    async def work() -> None:
        host = EngineHost(find)
        host.follow(table("v1"))
        await version(host, "v1")
        host.follow(table("broken"))
        await until(lambda: bool(host.problems))
        assert host.problems == (f"{RISK_KEY} broken: it does not answer",)
        assert await version(host, "broken") == "v1"
        with pytest.raises(StartError):
            await version(host, "broken", FILMS_KEY)
        tried = len(StandIn.made)
        with pytest.raises(StartError):  # not loaded again for every request
            await version(host, "broken", FILMS_KEY)
        assert len(StandIn.made) == tried
        host.follow(table("v1"))
        assert host.problems == ()
        assert await version(host, "v1") == "v1"
        await host.close()

    run(work())


def test_a_challenger_and_a_tenant_s_own_release_answer_beside_the_champion(find: Any):
    rival = Placement(
        rollout_id="r", kind="canary", challenger="v2", weight=0.1, mirror=1, sticky="unit"
    )

    async def work() -> None:
        host = EngineHost(find)
        override = Override(tenant="acme", version="v0")
        host.follow(table("v1", placement=rival, overrides=(override,)))
        told = [await version(host, one) for one in ("v1", "v2", "v0", "v1")]
        assert told == ["v1", "v2", "v0", "v1"]
        host.follow(table("v1"))
        await until(lambda: loaded() == ["v1"])
        await host.close()

    run(work())


def test_the_model_longest_unused_makes_room_but_no_busy_and_no_pinned_one(find: Any):
    async def work() -> None:
        host = EngineHost(find, budget_bytes=2 * SIZE)
        for one in ("v1", "v2", "v1", "v3"):
            await version(host, one)
        assert loaded() == ["v1", "v3"]
        held, freed = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            held.set()
            await freed.wait()

        slow = asyncio.create_task(version(host, "v1", request=hold))
        await held.wait()
        await version(host, "v4")
        assert loaded() == ["v1", "v4"]
        host._pinned = frozenset({(RISK_KEY, "v4")})
        with pytest.raises(Shed) as told:
            await version(host, "v5")
        assert (told.value.seconds, told.value.reason) == (5, "memory")
        freed.set()
        assert await slow == "v1"
        assert await version(host, "v5") == "v5"
        assert loaded() == ["v4", "v5"]
        await host.close()

    run(work())


def test_no_room_for_a_new_champion_leaves_the_old_one_and_is_told(find: Any):
    async def work() -> None:
        host = EngineHost(find, budget_bytes=SIZE)
        host.follow(table("v1"))
        await version(host, "v1")
        host.follow(table("v2"))
        await until(lambda: bool(host.problems))
        assert "try again in 5 s" in host.problems[0]
        assert await version(host, "v2") == "v1"
        host._budget = 2 * SIZE
        assert await version(host, "v2") == "v1"  # and tries again
        await until(lambda: loaded() == ["v2"])
        assert host.problems == ()
        await host.close()

    run(work())


def test_two_products_live_side_by_side_with_their_own_requests(find: Any):
    async def work() -> None:
        host = EngineHost(find)
        assert await version(host, "v1") == await version(host, "v1", FILMS_KEY) == "v1"
        rows, films = (host.request_type(key, "v1") for key in (RISK_KEY, FILMS_KEY))
        assert rows.model_fields["method"].default == "shap"
        assert films.model_fields["method"].default == "history"
        assert host.log(RISK_KEY, "v1") is host.log(RISK_KEY, "v1")
        assert host.log(RISK_KEY, "v1") is not host.log(FILMS_KEY, "v1")
        await host.close()

    run(work())
