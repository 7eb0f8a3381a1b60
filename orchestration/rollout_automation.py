"""Rollouts in Dagster: an asset whose every step is a materialization, a sensor, three jobs.

Who acts is ``orchestration.rollouts``; the admin service drives it too, and a lock lets one act at
a time. (No ``from __future__ import annotations``: Dagster reads the annotations.)
"""

import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

import dagster as dg

from assets.stages.common import stage_key
from models.contracts.product import ModelProduct
from models.contracts.rollout import RolloutPlan, RolloutStep
from models.registry import get
from orchestration.settings import Settings
from stores.home import ADMIN_PORT, Home
from stores.ledger import Entry, Ledger

STAGE, SECONDS = "rollout", 30


class StartConfig(dg.Config):
    """Which challenger, and how. Unset: the newest staged release, the product's own plan."""

    product: str
    version: str | None = None
    kind: str | None = None
    by: str | None = None


class EndConfig(dg.Config):
    """A person's word on a rollout."""

    product: str
    reason: str = "by hand"
    by: str | None = None


@dg.op
def start_rollout(
    context: dg.OpExecutionContext, config: StartConfig, settings: dg.ResourceParam[Settings]
) -> None:
    """Give a challenger its first traffic."""
    from orchestration import rollouts

    plan = RolloutPlan.model_validate({"kind": config.kind}) if config.kind else None
    step = rollouts.start(
        get(config.product), settings, config.version, plan, config.by, say=context.log.info
    )
    if step.phase == "refused":
        raise dg.Failure(f"{step.rollout_id} is refused: {step.reason}", allow_retries=False)


@dg.op
def abort_rollout(
    context: dg.OpExecutionContext, config: EndConfig, settings: dg.ResourceParam[Settings]
) -> None:
    """Take the challenger's traffic away."""
    from orchestration import rollouts

    rollouts.abort(get(config.product), settings, config.reason, config.by, say=context.log.info)


@dg.op
def promote_challenger(
    context: dg.OpExecutionContext, config: EndConfig, settings: dg.ResourceParam[Settings]
) -> None:
    """Make the challenger the champion."""
    from orchestration import rollouts

    rollouts.promote(get(config.product), settings, config.reason, config.by, say=context.log.info)


@dg.job(
    name="rollout_start",
    description="Starts a challenger beside the champion with its first share of the traffic. "
    "Configuration: product, version (unset: the newest staged), kind, by.",
)
def rollout_start() -> None:
    """The job ``rollout_start``."""
    start_rollout()


@dg.job(
    name="rollout_abort",
    description="Takes the challenger's traffic away and ends its rollout. Configuration: product, "
    "reason, by.",
)
def rollout_abort() -> None:
    """The job ``rollout_abort``."""
    abort_rollout()


@dg.job(
    name="rollout_promote",
    description="Makes the challenger the champion on a person's word. Configuration: product, "
    "reason, by.",
)
def rollout_promote() -> None:
    """The job ``rollout_promote``."""
    promote_challenger()


def build_rollouts(products: Sequence[ModelProduct]) -> dg.Definitions:
    """What Dagster knows of rollouts."""
    return dg.Definitions(
        assets=[_spec(product) for product in products],
        jobs=[rollout_start, rollout_abort, rollout_promote],
        sensors=[_sensor(products)],
    )


def steps_since(
    product: ModelProduct, home: Home, sequence: int
) -> Iterator[tuple[Entry, dg.AssetMaterialization]]:
    """Every step that was written after this ledger entry, as Dagster keeps it."""
    for entry in Ledger(home.ledger(product)).entries():
        if entry.kind == "rollout_step" and entry.sequence > sequence:
            yield entry, _materialization(product, entry)


def _spec(product: ModelProduct) -> dg.AssetSpec:
    return dg.AssetSpec(
        stage_key(product, STAGE),
        deps=[stage_key(product, "promotion")],
        group_name=product.slug,
        owners=[product.owner],
        kinds={"html"},
        description="Each step of a challenger's way to traffic; `assay rollout status` says more.",
    )


def _sensor(products: Sequence[ModelProduct]) -> dg.SensorDefinition:
    @dg.sensor(
        name="rollouts",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Drives rollouts where no admin service does, and tells Dagster of each step",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from orchestration import rollouts  # numpy is no business of loading this code

        settings = Settings()
        told: dict[str, int] = json.loads(context.cursor or "{}")
        news: list[dg.AssetMaterialization] = []
        for product in products:
            rollouts.tick(product, settings)
            for entry, one in steps_since(
                product, settings.home_paths(), told.get(product.key, -1)
            ):
                news.append(one)
                told[product.key] = entry.sequence
        if not news:
            return dg.SkipReason("no rollout took a step")
        return dg.SensorResult(asset_events=news, cursor=json.dumps(told))

    return sensor


def _materialization(product: ModelProduct, entry: Entry) -> dg.AssetMaterialization:
    from models.core.rollouts.decide import lift
    from stores.reports.words import points

    step = RolloutStep.model_validate(entry.body)
    page = f"http://127.0.0.1:{ADMIN_PORT}/rollouts/{product.slug}/{step.rollout_id}/report.html"
    metadata: dict[str, Any] = {
        "report": dg.MetadataValue.url(page),
        "phase": step.phase,
        "challenger": step.challenger,
        "champion": step.champion,
        "weight": step.weight,
        "units": step.units,
        "reason": step.reason,
        "by": step.by,
        "at": dg.MetadataValue.timestamp(entry.at.astimezone(UTC)),
    }
    if step.share is not None:
        metadata["share served"] = step.share
    for one in step.evidence:
        metadata[f"{one.rule}, worse by"] = one.mean
        metadata[f"{one.rule}, evidence of harm"] = math.exp(min(one.abort_e, 50.0))
    if (found := lift(step.evidence)) is not None:
        metadata["lift by outcomes"] = found.value
        metadata["lift by outcomes, points"] = points(found)
    told = f"{step.kind} {step.rollout_id}: {step.phase} at {step.weight:.0%}"
    return dg.AssetMaterialization(
        stage_key(product, STAGE), description=told, metadata=metadata,
        tags={"dagster/data_version": f"{step.rollout_id}-{step.number}"},
    )  # fmt: skip
