"""The router's own process before two services: its answers, shares, restarts, and the ladder."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest

from gateway.ports import Reply
from gateway.wire import Wire
from models.contracts.api import GoldenSet
from models.contracts.routing import Placement, RoutingTable, Rule
from models.risk.sync_conflict.product import PRODUCT
from stores import deployer as deployer_module
from stores import gateway_store, router_process, service_process
from stores.deployer import Deployer, ServiceRecord
from stores.home import Home
from stores.router_process import RouterProcess, RouterRecord
from stores.service_process import marked, stop

GOLDEN = GoldenSet(rows=({"value": 0.25}, {"value": 0.5}), expected=(0.25, 0.5))
PATH = f"/v1/{PRODUCT.key}/predict"
SLUGS = (PRODUCT.slug, f"{PRODUCT.slug}--challenger")


class Site(NamedTuple):
    """A router before a champion v1 and a challenger v2."""

    home: Home
    process: RouterProcess
    router: RouterRecord
    champion: ServiceRecord
    challenger: ServiceRecord


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("router")
    home = Home(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service_process, "MASTER", "tests.service.stand_in")
        patch.setattr(deployer_module, "_GRACE_SECONDS", 0.5)
        patch.setattr(router_process, "_GRACE_SECONDS", 12.0)
        deployer = Deployer(root, root / "bentos", root / "key.pem")
        process = RouterProcess(home)
        try:
            router = process.start()
            deployer.roll_out(PRODUCT, "x:v1", GOLDEN)
            beside = deployer.slot("challenger").spawn(PRODUCT, "x:v2", GOLDEN)
            champion = deployer.current(PRODUCT)
            assert champion is not None
            gateway_store.follow_services(home, PRODUCT)
            yield Site(home, process, router, champion, beside)
        finally:
            for folder in marked(home.gateway / "runs"):
                stop(Path(folder), 0.0)
            for slug in SLUGS:
                for folder in marked(root / "services" / slug):
                    stop(Path(folder), 0.0)


def place(site: Site, weight: float | None) -> None:
    placement = weight is not None and Placement(
        rollout_id="r20260101_000000", kind="ab", challenger="v2", weight=weight, mirror=0.0,
        sticky="unit",
    )  # fmt: skip

    def change(table: RoutingTable) -> RoutingTable:
        routes = table.products[PRODUCT.key].model_copy(update={"placement": placement or None})
        return gateway_store.with_product(table, routes)

    table = gateway_store.write_table(site.home, change)
    assert gateway_store.acknowledged(site.home, table.generation, 5.0)


def rows(number: int) -> dict[str, object]:
    return {"rows": [{"value": number % 100 / 100, "tenant": "acme", "event_id": f"e{number}"}]}


def request(number: int) -> bytes:
    body = json.dumps(rows(number)).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def ask_all(port: int, numbers: range, clients: int = 4) -> list[tuple[int, Reply]]:
    """Ask on kept connections; a new one when the router says that the old one ends."""
    waiting, found = iter(numbers), list[tuple[int, Reply]]()

    async def client() -> None:
        wire = await Wire.connect("127.0.0.1", port)
        for number in waiting:
            if wire.closed:
                wire = await Wire.connect("127.0.0.1", port)
            found.append((number, await wire.ask(request(number))))
        wire.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return found


def version(reply: Reply) -> str:
    told: str = json.loads(reply.body)["predictions"][0]["model_version"]
    return told


def test_the_router_answers_as_the_service_does(site: Site):
    for number in range(3):
        through = httpx.post(f"{site.router.url}{PATH}", json=rows(number))
        direct = httpx.post(f"{site.champion.url}/predict", json=rows(number))
        assert (through.status_code, through.content) == (200, direct.content)
        assert through.headers["x-request-id"]
        assert "server" not in through.headers
    assert httpx.get(f"{site.router.url}/readyz").status_code == 200
    assert httpx.get(f"{site.router.url}/v1/{PRODUCT.key}/nothing").status_code == 404


def test_weights_are_honoured_and_counted(site: Site):
    weight, count = 0.25, 1_000
    place(site, weight)
    before = gateway_store.instances(site.home)[0].answered.get(PRODUCT.key, {})
    replies = asyncio.run(ask_all(site.router.port, range(count)))
    served = Counter(version(reply) for _, reply in replies)
    assert sum(served.values()) == count
    assert abs(served["v2"] / count - weight) < 4.5 * math.sqrt(weight * (1 - weight) / count)
    again = asyncio.run(ask_all(site.router.port, range(100)))
    first = {number: version(reply) for number, reply in replies}
    assert all(first[number] == version(reply) for number, reply in again)
    served += Counter(version(reply) for _, reply in again)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        now = gateway_store.instances(site.home)[0].answered[PRODUCT.key]
        counted = {name: now[name] - before.get(name, 0) for name in now}
        if counted == dict(served):
            return
        time.sleep(0.1)
    raise AssertionError(f"the instance file says {counted}, clients got {served}")


async def _restarted_under_load(site: Site) -> list[tuple[int, Reply]]:
    restart = asyncio.create_task(asyncio.to_thread(site.process.start))
    replies: list[tuple[int, Reply]] = []
    while not restart.done():
        start = len(replies)
        replies += await ask_all(site.router.port, range(start, start + 200))
    assert (await restart).pid != site.router.pid
    return replies


def test_a_restart_under_load_fails_nothing_and_keeps_the_url(site: Site):
    place(site, None)
    replies = asyncio.run(_restarted_under_load(site))
    assert len(replies) > 200
    assert {reply.status for _, reply in replies} == {200}
    now = site.process.current()
    assert now is not None
    assert now.url == site.router.url
    assert len(gateway_store.instances(site.home)) >= 1


def test_when_the_champion_is_killed_the_ladder_answers(site: Site):
    rule = Rule(product=PRODUCT.key, probability=0.125, threshold=0.5)

    def change(table: RoutingTable) -> RoutingTable:
        routes = table.products[PRODUCT.key].model_copy(update={"rule": rule, "previous": "v2"})
        return gateway_store.with_product(table, routes)

    table = gateway_store.write_table(site.home, change)
    assert gateway_store.acknowledged(site.home, table.generation, 5.0)
    psutil.Process(site.champion.pid).send_signal(signal.SIGKILL)
    through = httpx.post(f"{site.router.url}{PATH}", json=rows(1))
    assert (through.status_code, through.headers.get("x-assay-fallback")) == (200, "previous")
    assert through.json()["predictions"][0]["model_version"] == "v2"
