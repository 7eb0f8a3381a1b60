"""Whole rollouts: the real router, controller and ledger before services that stand in.

An equal challenger is promoted, one that decides otherwise is aborted, and no request fails.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from assets.stages import service as service_stage
from gateway.wire import Wire
from models.contracts.api import GoldenSet
from models.contracts.results import Release
from models.contracts.rollout import Limit, RolloutPlan, RolloutStep
from models.risk.sync_conflict.product import PRODUCT
from orchestration import rollout_place, rollouts
from orchestration.settings import Settings
from stores import deployer as deployer_module
from stores import gateway_store, router_process, service_process
from stores.deployer import Deployer
from stores.ledger import Ledger
from stores.router_process import RouterProcess
from stores.service_process import marked, stop

GOLDEN = GoldenSet(rows=({"value": 0.25}, {"value": 0.5}), expected=(0.25, 0.5))
PLAN = RolloutPlan(
    weights=(0.3, 0.5), warm_units=0, min_units=50, min_seconds=0.0,
    limits=(Limit(rule="errors", tolerance=0.0, margin=0.03),
            Limit(rule="latency", tolerance=0.3, margin=0.6),
            Limit(rule="disagreement", tolerance=0.1)),
)  # fmt: skip


class Flow:
    """A router before v1, and clients that ask it without a pause."""

    def __init__(self, root: Path) -> None:
        self.settings = Settings()
        self.home = self.settings.home_paths()
        self.ledger = Ledger(self.home.ledger(PRODUCT))
        self.deployer = Deployer(root, root / "bentos", root / "key.pem")
        self.router = RouterProcess(self.home)
        self.statuses: Counter[int] = Counter()
        self.versions: Counter[str] = Counter()
        self._ended = threading.Event()

    def release(self, version: str, *, staged: bool) -> None:
        self.ledger.append("release", Release(
            product=PRODUCT.key, version=version, candidate_id=version, snapshot_id="s",
            evaluation_id=version, trial="t", mlflow_version="1", artifact="x", staged=staged,
        ))  # fmt: skip

    def rollout(self, version: str) -> RolloutStep:
        """Start it and look until it is over."""
        self.release(version, staged=True)
        how = {"deployer": self.deployer}
        step = rollouts.start(PRODUCT, self.settings, plan=PLAN, by="Ada", **how)
        assert step.phase == "running", step.reason
        deadline = time.monotonic() + 40
        while step.phase not in rollouts.ENDS and time.monotonic() < deadline:
            time.sleep(0.3)
            step = rollouts.tick(PRODUCT, self.settings, **how) or step
        return step

    def ask(self, port: int) -> None:
        asyncio.run(self._ask(port))

    def end(self) -> None:
        self._ended.set()

    async def _ask(self, port: int) -> None:
        await asyncio.gather(*(self._client(port, number) for number in range(3)))

    async def _client(self, port: int, number: int) -> None:
        wire = await Wire.connect("127.0.0.1", port)
        while not self._ended.is_set():
            number += 3
            body = json.dumps({"rows": [{"value": number % 997 / 997, "tenant": "t"}]}).encode()
            head = (f"POST /v1/{PRODUCT.key}/predict HTTP/1.1\r\nhost: x\r\n"
                    f"x-assay-key: k{number}\r\ncontent-length: {len(body)}\r\n\r\n")  # fmt: skip
            if wire.closed:
                wire = await Wire.connect("127.0.0.1", port)
            reply = await wire.ask(head.encode() + body)
            self.statuses[reply.status] += 1
            answer = json.loads(reply.body)
            self.versions[answer["predictions"][0]["model_version"]] += 1
        wire.close()


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flow]:
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    monkeypatch.setattr(service_process, "MASTER", "tests.service.stand_in")
    monkeypatch.setattr(deployer_module, "_GRACE_SECONDS", 0.5)
    monkeypatch.setattr(router_process, "_GRACE_SECONDS", 5.0)
    monkeypatch.setattr(Settings, "tracking", lambda _: SimpleNamespace(point_aliases=_aliases))
    for module in (rollout_place, service_stage):
        monkeypatch.setattr(module, "pack", _pack)
        monkeypatch.setattr(module, "golden_of", lambda *_: GOLDEN)
    made = Flow(tmp_path)
    made.release("v1", staged=False)
    service_stage.roll_out(PRODUCT, made.home, made.deployer, print)
    record = made.router.start()
    gateway_store.follow_services(made.home, PRODUCT)
    clients = threading.Thread(target=made.ask, args=(record.port,))
    clients.start()
    try:
        yield made
    finally:
        made.end()
        clients.join()
        slots = [f"services/{PRODUCT.slug}", f"services/{PRODUCT.slug}--challenger", "gateway/runs"]
        for place in slots:
            for folder in marked(tmp_path / place):
                stop(Path(folder), 0.0)


def test_an_equal_one_is_promoted_a_different_one_aborted_and_nothing_fails(flow: Flow) -> None:
    promoted = flow.rollout("v2")
    assert promoted.phase == "promoted", promoted.reason
    assert promoted.share == pytest.approx(0.5, abs=0.1)
    assert flow.ledger.current() == flow.ledger.release("v2")
    aborted = flow.rollout("other")
    assert aborted.phase == "aborted"
    assert aborted.reason.startswith("disagreement: worse by"), aborted.reason
    assert flow.ledger.current() == flow.ledger.release("v2")
    before = flow.versions["other"]
    time.sleep(0.5)
    assert flow.versions["other"] == before  # its traffic is gone
    assert flow.versions["other"] < 0.5 * sum(flow.versions.values())
    assert set(flow.statuses) == {200}, flow.statuses
    kinds = [entry.kind for entry in flow.ledger.entries()]
    assert (kinds.count("promotion"), kinds.count("rollout")) == (1, 2)


def _pack(product: object, release: Release, home: object) -> SimpleNamespace:
    return SimpleNamespace(tag=f"x:{release.version}")


def _aliases(*_: object) -> None:
    """MLflow is no part of this."""
