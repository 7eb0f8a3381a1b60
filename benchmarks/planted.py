"""Records of a home in which much goes wrong, and the admin service's pages over it.

    ASSAY_HOME=FOLDER python -m uvicorn --factory benchmarks.planted:app --port PORT

For `metrics_live`: figures of months (windows, runs, a rollout close to its end) cannot be waited
for, so records of them are written as the stages write them, and read by the code that is served.
The pages only: nothing here drives a rollout or opens an incident.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
from starlette.applications import Starlette

from models.contracts.monitoring import (
    DataQuality,
    DriftEffect,
    Histogram,
    Latency,
    MonitoringResult,
    Recalibration,
    ReferenceProfile,
    RetrainDecision,
    VersionWindow,
    WindowReport,
    WindowVerdict,
)
from models.contracts.results import Estimate, Release
from models.contracts.rollout import RolloutPlan, RolloutStep, Stage, Tally
from models.risk.sync_conflict.product import PRODUCT
from orchestration.pages import page_routes
from orchestration.running import instance
from orchestration.settings import Settings
from stores.files import write_atomic
from stores.home import Home
from stores.ledger import Ledger
from stores.rollout_journal import save_tally

VERSION, CHALLENGER, EVALUATION = "v20260101_000000", "v20260108_000000", "e" * 16
METRIC = PRODUCT.gate.metric


def app() -> Starlette:
    """The admin service's pages."""
    return Starlette(routes=page_routes(Settings()))


def plant(home: Home) -> None:
    """A release that keeps no promise, inputs that moved, failed runs, a challenger that errs."""
    release = Release(
        product=PRODUCT.key, version=VERSION, candidate_id="c", snapshot_id="s",
        evaluation_id=EVALUATION, trial="trees", mlflow_version="1", artifact="a",
    )  # fmt: skip
    Ledger(home.ledger(PRODUCT)).append("release", release)
    _plant_promise(home)
    _plant_window(home)
    _plant_rollout(home)
    with instance(Settings(home=home.root)) as found:
        dg.materialize([_never], instance=found, raise_on_error=False)


@dg.asset
def _never() -> None:
    raise RuntimeError("planted")


def _estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01)


def _plant_promise(home: Home) -> None:
    one = Histogram(name="score", edges=(0.5,), shares=(0.5, 0.5, 0.0))
    profile = ReferenceProfile(
        product=PRODUCT.key, evaluation_id=EVALUATION, candidate_id="c", rows=1000,
        inputs=tuple(one.model_copy(update={"name": name}) for name in PRODUCT.data.names),
        score=one, promised={METRIC: _estimate(0.9)}, threshold=0.5,
        recalibration=Recalibration(intercept=0.0, slope=1.0, covariance=((0.1, 0.0), (0.0, 0.1))),
    )  # fmt: skip
    folder = home.evaluation(PRODUCT, EVALUATION)
    write_atomic(folder / "profile-c.json", profile.model_dump_json())


def _plant_window(home: Home) -> None:
    length = timedelta(hours=PRODUCT.monitoring.window_hours)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    moved = tuple(DriftEffect(name=n, effect=0.4, drifted=True) for n in PRODUCT.data.names)
    low = {"overall": {METRIC: _estimate(0.5)}}
    seen = VersionWindow(
        version=VERSION, rows=900, requests=300, share=1.0, errors=0, error_rate=0.0,
        latency=Latency(mean=2.0, median=1.5, p95=4.0, p99=9.0), cost_per_1000=0.01, drift=moved,
        score_drift=moved[0],
        quality=DataQuality(outside={}, nulls={}, contradictions=0, orphans=0),
        estimated=low, realised=low, outcomes=900,
        verdict=WindowVerdict(judged=True, drifted=True, hurt=True, basis="realised", reason="x"),
    )  # fmt: skip
    report = WindowReport(
        product=PRODUCT.key, start=end - length, end=end, as_of=end, digest="d", rows=900,
        versions=(seen,),
    )  # fmt: skip
    result = MonitoringResult(
        product=PRODUCT.key, as_of=end, champion=VERSION, windows=(report.start,), rollback=None,
        regression=None,
        retrain=RetrainDecision(
            retrain=False, reason="planted", window=None, violations=0, windows=1, new_rows=0
        ),
    )  # fmt: skip
    folder = home.monitoring(PRODUCT)
    write_atomic(folder / f"{report.start:%Y%m%dT%H%M}.json", report.model_dump_json())
    write_atomic(folder / "latest.json", result.model_dump_json())


def _plant_rollout(home: Home) -> None:
    """Under way at a quarter, a tenth served, and nearly aborted by its errors."""
    step = RolloutStep(
        rollout_id="r20260101_000000", number=0, phase="requested", kind="canary",
        champion=VERSION, challenger=CHALLENGER, stage=0, weight=0.25, share=None, units=0,
        reason="", by="planted", plan=RolloutPlan(),
    )  # fmt: skip
    ledger = Ledger(home.ledger(PRODUCT))
    ledger.append("rollout_step", step)
    running = {"number": 1, "phase": "running", "plan": None}
    ledger.append("rollout_step", step.model_copy(update=running))
    counts = [0] * 33
    counts[32] = 13  # these units of the challenger failed where the champion's did not
    counts[16] = 30
    save_tally(home, PRODUCT, Tally(
        rollout_id=step.rollout_id, counts={"errors": tuple(counts)},
        stage=Stage(weight=0.25, units=400, challenger=40),
    ))  # fmt: skip
