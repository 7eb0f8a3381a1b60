"""A home with ledger entries and a monitoring result, written as the stages write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from models.contracts.monitoring import MonitoringResult, RetrainDecision, RollbackDecision
from models.contracts.results import Estimate, GateDecision, Release
from models.risk.sync_conflict.product import PRODUCT
from stores.files import write_atomic
from stores.ledger import Ledger

KEY = PRODUCT.key
CHAIN = ("dataset", "candidates", "evaluation", "promotion", "bento", "service")
WAITING = PRODUCT.model_copy(
    update={"gate": PRODUCT.gate.model_copy(update={"needs_approval": True})}
)


def ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


def write(home, kind, body, hours=0.0):
    """A ledger entry of some hours ago."""
    return Ledger(home.ledger(PRODUCT), lambda: ago(hours)).append(kind, body)


def release(home, version, hours=0.0, rolled_out=True):
    found = Release(
        product=KEY, version=version, candidate_id=f"c-{version}", snapshot_id="s",
        evaluation_id=f"e-{version}", trial="t", mlflow_version="1", artifact="x",
    )  # fmt: skip
    write(home, "release", found, hours)
    if rolled_out:
        write(home, "rollout", {"version": version}, hours)
    return found


def decision(outcome, policy=PRODUCT.gate):
    one = Estimate(value=0.9, low=0.8, high=1.0)
    return GateDecision(
        product=KEY, challenger="c-new", champion=None, outcome=outcome, reason="because",
        metric="roc_auc", challenger_value=one, champion_value=None, effect=None, tests=(),
        guardrails=(), rows=1, required_rows=None, policy=policy.model_dump(mode="json"),
    )  # fmt: skip


def decide(home, outcome, hours=0.0, evaluation_id="e-new", policy=WAITING.gate):
    """The gate's word on an evaluation, and that evaluation as the newest."""
    said = decision(outcome, policy).model_dump(mode="json")
    home.set_latest(PRODUCT, "evaluation", evaluation_id)
    return write(home, "decision", {"evaluation_id": evaluation_id, "decision": said}, hours)


def retrain(home, champion, window="2026-01-05T00:00:00+00:00", hours=0.0):
    body = {"window": window, "champion": champion, "reason": "it hurts"}
    return write(home, "retrain", body, hours)


def judged(home, champion, previous, roll_back=True):
    """Monitoring's newest result."""
    result = MonitoringResult(
        product=KEY, as_of=ago(0), champion=champion, windows=(), regression=None,
        retrain=RetrainDecision(retrain=False, reason="no", window=None, violations=0, windows=0,
                                new_rows=0),
        rollback=RollbackDecision(roll_back=roll_back, reason="provably worse", champion=champion,
                                  previous=previous, basis="realised"),
    )  # fmt: skip
    write_atomic(home.monitoring(PRODUCT) / "latest.json", result.model_dump_json())


def chain(ran=None):
    """Assets with the keys of the real chain and of the way back that only say that they ran."""
    ran = [] if ran is None else ran
    above = {"raw/merges": [], "features/risk/merges": ["raw/merges"]}
    last = "features/risk/merges"
    for stage in CHAIN:
        above[f"{KEY}/{stage}"] = [last]
        last = f"{KEY}/{stage}"
    logs = [f"raw/{name}" for name in ("predictions", "outcomes", "refusals")]
    above |= {log: [] for log in logs} | {"traffic/predictions": logs}
    above |= {f"{KEY}/monitoring": ["traffic/predictions"], "status": [f"{KEY}/monitoring"]}
    return dg.Definitions(assets=[_asset(key, deps, ran) for key, deps in above.items()])


def _asset(name, deps, ran):
    key = dg.AssetKey.from_user_string(name)

    @dg.asset(
        key=key,
        deps=[dg.AssetKey.from_user_string(d) for d in deps],
        code_version="1",
        output_required=False,
        check_specs=[dg.AssetCheckSpec("approval", asset=key)] if "promotion" in name else [],
    )
    def one():
        ran.append(name)
        if "promotion" in name:
            yield dg.AssetCheckResult(passed=True)
        yield dg.MaterializeResult(asset_key=key, data_version=dg.DataVersion("1"))

    return one
