"""What has to be wrong for each kind of alert, set up in a real home and Dagster instance."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from models.contracts.incidents import AlertKind, Incident
from models.contracts.results import Estimate, GateDecision
from models.registry import get
from orchestration.settings import Settings
from orchestration.watch import sweep
from orchestration.watch_ticks import Instigator
from stores import rollout_journal
from stores.ledger import Ledger

PRODUCT = get("risk/sync_conflict")
STEP = timedelta(minutes=5)
SENSOR = Instigator("new_data", "sensor", running=True, interval_s=30)
SCHEDULE = Instigator("often", "schedule", running=True, cron="*/5 * * * *")


@dataclass
class Scene:
    """A home, its instance, and a clock that the test moves."""

    settings: Settings
    instance: dg.DagsterInstance
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    declared: tuple[Instigator, ...] | None = ()
    daemon_lives: bool = False

    def sweep(self, times: int = 1) -> list[Incident]:
        """Sweep so often, five minutes apart; everything that was opened."""
        opened: list[Incident] = []
        for _ in range(times):
            if self.daemon_lives:
                self.beat(self.now)
            found = sweep(self.settings, self.instance, self.declared, self.now, [PRODUCT])
            opened += found
            self.now += STEP
        return opened

    @property
    def ledger(self) -> Ledger:
        """The product's ledger."""
        return Ledger(self.settings.home_paths().ledger(PRODUCT))

    def beat(self, at: datetime) -> None:
        """Every part of the daemon lived at that time."""
        for kind in self.instance.get_required_daemon_types():
            beat = DaemonHeartbeat(at.timestamp(), kind, "daemon", [])
            self.instance.add_daemon_heartbeat(beat)

    def take_up(self, one: Instigator, at: datetime) -> InstigatorState:
        """The daemon knows an instigator since then."""
        target = LoadableTargetOrigin(module_name="orchestration.definitions")
        place = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target), "repository")
        kind = InstigatorType.SENSOR if one.kind == "sensor" else InstigatorType.SCHEDULE
        data = (
            SensorInstigatorData(min_interval=30, last_sensor_start_timestamp=at.timestamp())
            if one.kind == "sensor"
            else ScheduleInstigatorData(one.cron, at.timestamp())
        )
        origin = RemoteInstigatorOrigin(place, one.name)
        state = InstigatorState(origin, kind, InstigatorStatus.DECLARED_IN_CODE, data)
        self.instance.add_instigator_state(state)
        self.declared = (one,)
        return state

    def tick(self, state: InstigatorState, at: datetime, error: str | None = None) -> None:
        """One finished tick."""
        self.instance.create_tick(
            TickData(
                instigator_origin_id=state.instigator_origin_id,
                instigator_name=state.instigator_name,
                instigator_type=state.instigator_type,
                selector_id=state.selector_id,
                status=TickStatus.FAILURE if error else TickStatus.SKIPPED,
                timestamp=at.timestamp(),
                error=SerializableErrorInfo(error, [], None) if error else None,
            )
        )


def run_job(scene: Scene, *, fine: bool = False) -> str:
    """One real run; the step raises unless it is fine."""

    @dg.op(name="risk__sync_conflict__candidates")
    def step() -> None:
        if not fine:
            raise ZeroDivisionError("the fold is empty")

    @dg.job(name="refresh")
    def job() -> None:
        step()

    return job.execute_in_process(instance=scene.instance, raise_on_error=False).run_id


def run_checks(scene: Scene, *, leaks: bool = True) -> bool:
    """One real run of an asset with a blocking check, a passing one and a mere warning."""
    key = dg.AssetKey([*PRODUCT.key.split("/"), "dataset"])
    specs = [dg.AssetCheckSpec(n, asset=key, blocking=n == "leakage")
             for n in ("leakage", "schema", "drift")]  # fmt: skip

    @dg.asset(key=key, check_specs=specs)
    def dataset():
        yield dg.MaterializeResult(
            check_results=[
                dg.AssetCheckResult(
                    passed=not leaks, check_name="leakage", description="AUC 0.99 on holdout"
                ),
                dg.AssetCheckResult(passed=True, check_name="schema"),
                dg.AssetCheckResult(
                    passed=False, check_name="drift", severity=dg.AssetCheckSeverity.WARN
                ),
            ]
        )

    done = dg.materialize([dataset], instance=scene.instance, raise_on_error=False)
    return done.success


def silent(one: Instigator) -> Callable[[Scene], None]:
    """Ticks until now, then no more; the daemon lives on."""

    def set_up(scene: Scene) -> None:
        scene.now = scene.now.replace(minute=2, second=30)
        scene.daemon_lives = True
        state = scene.take_up(one, scene.now - timedelta(days=1))
        scene.tick(state, scene.now - timedelta(minutes=2, seconds=30))

    return set_up


def failing(one: Instigator) -> Callable[[Scene], None]:
    """Its newest tick failed; the next is not due for hours."""

    def set_up(scene: Scene) -> None:
        rare = one._replace(interval_s=86_400, cron=f"0 {(scene.now.hour + 12) % 24} * * *")
        state = scene.take_up(rare, scene.now - timedelta(hours=1))
        scene.tick(state, scene.now, error="KeyError: 'merges'")

    return set_up


def daemon_down(scene: Scene) -> None:
    """The daemon's last sign, and with it that of its sensors, is an hour old."""
    scene.beat(scene.now - timedelta(hours=1))
    scene.take_up(SENSOR, scene.now - timedelta(hours=2))


def product_stale(scene: Scene) -> None:
    """Evaluated now, looked at nine days later; the product is a weekly one."""
    key = dg.AssetKey([*PRODUCT.key.split("/"), "evaluation"])
    scene.instance.report_runless_asset_event(dg.AssetMaterialization(key))
    scene.now += timedelta(days=9)


def write(entry: str, /, **body: object) -> Callable[[Scene], None]:
    """One ledger entry."""
    return lambda scene: scene.ledger.append(entry, body) and None


def asked(hours: float) -> Callable[[Scene], None]:
    """The gate asked for a named person that many hours ago."""

    def set_up(scene: Scene) -> None:
        value = Estimate(value=0.9, low=0.8, high=0.95)
        decision = GateDecision(
            product=PRODUCT.key, challenger="c1", champion=None, outcome="awaiting_approval",
            reason="better, and waits", metric="roc_auc", challenger_value=value,
            champion_value=None, effect=None, tests=(), guardrails=(), rows=100,
            required_rows=None, policy={},
        )  # fmt: skip
        body = {"evaluation_id": "e1", "decision": decision.model_dump(mode="json")}
        scene.ledger.append("decision", body)
        scene.settings.home_paths().set_latest(PRODUCT, "evaluation", "e1")
        scene.now += timedelta(hours=hours)

    return set_up


def fill_spool(scene: Scene) -> None:
    """0.9 of the one megabyte that the settings allow."""
    folder = scene.settings.home_paths().spool(PRODUCT)
    folder.mkdir(parents=True)
    (folder / "w-000001.log").write_bytes(b"x" * int(0.9 * 2**20))


def damage_spool(scene: Scene) -> None:
    """The ingestion set a segment aside."""
    folder = scene.settings.home_paths().root / "quarantine" / "spool" / PRODUCT.slug
    folder.mkdir(parents=True)
    (folder / "w-000001.log").write_bytes(b"torn")


def break_ledger(scene: Scene) -> None:
    """Somebody edited it."""
    scene.ledger.append("rollback", {"from_version": "v2", "to_version": "v1", "by": "Ada"})
    text = scene.ledger.path.read_text()
    scene.ledger.path.write_text(text.replace("Ada", "Eve"))


def break_watch(scene: Scene) -> None:
    """A part of the watch meets a file that it cannot read."""
    scene.ledger.append("rollout", {"version": "v1"})
    pointer = scene.settings.home_paths().root / "services" / f"{PRODUCT.slug}.json"
    pointer.mkdir(parents=True)  # a folder: reading it is an error


def rollout_step(phase: str, reason: str) -> Callable[[Scene], object]:
    """A rollout that ended badly."""
    return write(
        "rollout_step", rollout_id="r1", number=3, phase=phase, kind="canary", champion="v1",
        challenger="v2", stage=0, weight=0.0, share=None, units=9, reason=reason, by="controller",
    )  # fmt: skip


def stuck_rollout(scene: Scene) -> None:
    """A rollout whose controller was last there half an hour ago."""
    rollout_step("running", "")(scene)
    home = scene.settings.home_paths()
    rollout_journal.look(home, PRODUCT, "r1")
    then = time.time() - 1_800
    os.utime(rollout_journal.folder(home, PRODUCT, "r1") / "looked", (then, then))


WINDOW = f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%dT00:00:00Z}"
SCENES: dict[AlertKind, Callable[[Scene], object]] = {
    "run_failed": run_job,
    "check_failed": run_checks,
    "sensor_failed": failing(SENSOR),
    "sensor_silent": silent(SENSOR),
    "schedule_failed": failing(SCHEDULE),
    "schedule_silent": silent(SCHEDULE),
    "daemon_down": daemon_down,
    "product_stale": product_stale,
    "performance_regression": write("regression", version="v2", window=WINDOW, reason="0.61"),
    "retraining_started": write("retrain", window=WINDOW, champion="v2", reason="2 of 5"),
    "rolled_back": write("rollback", from_version="v2", to_version="v1", by="Ada", reason="slow"),
    "approval_pending": asked(hours=1),
    "approval_expired": asked(hours=73),
    "rollout_aborted": rollout_step("aborted", "errors: worse by 0.2"),
    "rollout_unenforced": rollout_step("aborted", "not enforced: 3 keys"),
    "rollout_stuck": stuck_rollout,
    "service_down": write("rollout", version="v1"),
    "spool_filling": fill_spool,
    "spool_damaged": damage_spool,
    "ledger_broken": break_ledger,
    "watch_failed": break_watch,
}


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Poll with a deadline."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
