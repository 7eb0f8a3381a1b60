"""A home with two releases, a gateway that follows, and a deployer that only remembers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from models.contracts.product import ModelProduct
from models.contracts.results import Release
from models.contracts.rollout import Exposure, RolloutPlan
from models.contracts.routing import Instance
from models.core.journal import encode
from models.risk.sync_conflict.product import PRODUCT
from orchestration import rollout_place
from orchestration.settings import Settings
from stores import gateway_store, rollout_journal
from stores.deployer import RolloutError
from stores.files import write_atomic
from stores.ledger import Ledger

OLD, NEW = "v20260101_000000", "v20260102_000000"
#: Two stages that need few units, so that a test is short.
PLAN = RolloutPlan(weights=(0.2, 0.5), warm_units=0, min_units=40, min_seconds=0.0)


class Service:
    """What a deployer says of a running service."""

    def __init__(self, version: str, url: str) -> None:
        self.version, self.url = version, url


class Deployer:
    """Remembers what it was asked to do; a version in ``broken`` does not start."""

    def __init__(self, port: int = 3001, done: list[str] | None = None) -> None:
        self.done: list[str] = [] if done is None else done
        self.running: Service | None = None
        self.broken: set[str] = set()
        self._port, self._slots = port, {}

    def slot(self, name: str) -> Deployer:
        return self._slots.setdefault(name, Deployer(self._port + 1, self.done))

    def current(self, product: ModelProduct) -> Service | None:
        return self.running

    def spawn(self, product: ModelProduct, tag: str, golden: object) -> Service:
        return self._begin("spawn", tag)

    def roll_out(self, product: ModelProduct, tag: str, golden: object) -> Any:
        found = self._begin("roll out", tag)
        return SimpleNamespace(
            bento=tag, url=found.url, version=found.version,
            model_dump=lambda mode: {"bento": tag},
        )  # fmt: skip

    def stop(self, product: ModelProduct) -> bool:
        self.done.append("stop")
        self.running = None
        return True

    def _begin(self, what: str, tag: str) -> Service:
        version = tag.partition(":")[2]
        self.done.append(f"{what} {version}")
        if version in self.broken:
            raise RolloutError("golden request 3 of 40: planted")
        self.running = Service(version, f"http://127.0.0.1:{self._port}")
        return self.running


class RolloutHome:
    """Everything a controller needs, with a clock that the test moves."""

    def __init__(self, root: Path, monkeypatch: Any, product: ModelProduct = PRODUCT) -> None:
        monkeypatch.setenv("ASSAY_HOME", str(root))
        self.product, self.settings, self.deployer = product, Settings(), Deployer()
        self.home, self.now = self.settings.home_paths(), datetime(2026, 2, 1, tzinfo=UTC)
        self.aliases: list[str | None] = []
        self._line = 0
        for version, staged in ((OLD, False), (NEW, True)):
            self.ledger.append("release", release(version, staged=staged))
        self.deployer.running = Service(OLD, "http://127.0.0.1:3001")
        monkeypatch.setattr(rollout_place, "pack", _pack)
        monkeypatch.setattr(rollout_place, "golden_of", lambda *_: object())
        monkeypatch.setattr(rollout_place, "roll_out", self._roll_out)
        monkeypatch.setattr(Settings, "tracking", lambda _: self)
        monkeypatch.setattr(rollout_place, "FOLLOW_SECONDS", 0.1)
        self._write, self._told = gateway_store.write_table, {}
        monkeypatch.setattr(gateway_store, "write_table", self._write_table)

    @property
    def how(self) -> dict[str, Any]:
        """Of `Place`."""
        return {"deployer": self.deployer, "clock": self.clock}

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.home.ledger(self.product), self.clock)

    @property
    def routes(self) -> Any:
        return gateway_store.read_table(self.home).products.get(self.product.key)

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def point_aliases(self, product: ModelProduct, current: Any, previous: Any) -> None:
        self.aliases = [one.version if one else None for one in (current, previous)]

    def gateway(self, **told: Any) -> None:
        """A gateway that follows every table, or says what it is given."""
        self._told = {"generation": None, "answered": {}} | self._told | told
        generation = self._told["generation"]
        if generation is None:
            generation = gateway_store.read_table(self.home).generation
        one = Instance(
            id="router-1", pid=1, kind="router", url="http://x", generation=generation,
            at=datetime.now(UTC) + timedelta(minutes=5), answered=self._told["answered"],
        )  # fmt: skip
        write_atomic(self.home.gateway / "instances" / "router-1.json", one.model_dump_json())

    def _write_table(self, home: Any, change: Any) -> Any:
        table = self._write(home, change)
        if self._told:
            self.gateway()
        return table

    def phases(self) -> list[str]:
        return [str(e.body["phase"]) for e in self.ledger.entries() if e.kind == "rollout_step"]

    def served(self, *exposures: Exposure) -> None:
        """A finished segment of a gateway's journal, read from ``expose``'s samples."""
        step = self.ledger.rollout_step()
        assert step is not None
        folder = rollout_journal.journal(self.home, self.product, step.rollout_id)
        folder.mkdir(parents=True, exist_ok=True)
        data = b""
        for one in exposures:
            self._line += 1
            changed = {"rollout_id": step.rollout_id, "weight": step.weight}
            body = one.model_copy(update=changed).model_dump(mode="json")
            data += encode(self._line, "exposure", body)
        (folder / f"20260101T000000000000-1-abcdef-{self._line:06}.log").write_bytes(data)

    def _roll_out(self, product: ModelProduct, home: Any, deployer: Deployer, say: Any) -> Any:
        current = self.ledger.current()
        assert current is not None
        deployer.roll_out(product, f"{product.slug}:{current.version}", None)
        self.ledger.append("rollout", {"version": current.version})


def release(version: str, *, staged: bool = False) -> Release:
    return Release(
        product=PRODUCT.key, version=version, candidate_id=f"c{version}", snapshot_id="s",
        evaluation_id=f"e{version}", trial="t", mlflow_version="1", artifact="x", staged=staged,
    )  # fmt: skip


def _pack(product: ModelProduct, found: Release, home: Any) -> Any:
    return SimpleNamespace(tag=f"{product.slug}:{found.version}")
