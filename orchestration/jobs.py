"""Every job: which assets run together, and what a person or a sensor does with a release.

The op jobs call ``operations``: a run is the record of who did it, the ledger keeps the fact. When
jobs run by themselves is ``automation``. (No ``from __future__ import annotations``: Dagster reads
the annotations.)
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from assets import status, traffic
from assets.dbt import WAY_BACK
from assets.stages.common import stage_key
from models.contracts.product import ModelProduct
from models.registry import get
from orchestration import operations
from orchestration.resources import progress_logger
from orchestration.settings import Settings
from stores.deployer import Deployer

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition as UnresolvedJob,
    )

#: Names of the asset jobs.
JOB, INGEST, MONITORING = "refresh", "ingest", "monitoring"


class RollbackConfig(dg.Config):
    """Which release should serve, and why. ``to_version`` unset: the one that served before."""

    product: str
    to_version: str | None = None
    reason: str = "by hand"
    by: str | None = None
    automatic: bool = False


class ApproveConfig(dg.Config):
    """Who approves the challenger that waits."""

    product: str
    by: str


@dg.op
def rollback_release(
    context: dg.OpExecutionContext,
    config: RollbackConfig,
    deployer: dg.ResourceParam[Deployer],
    settings: dg.ResourceParam[Settings],
) -> None:
    """Serve another release: ledger entry, service, aliases."""
    from models.core.rollback import AUTOMATIC

    done = operations.go_to(
        get(config.product),
        settings,
        config.to_version,
        config.reason,
        context.log.info,
        by=AUTOMATIC if config.automatic else config.by,
        automatic=config.automatic,
        deployer=deployer,
    )
    context.log.info(f"{config.product} now serves {done.bento} at {done.url}")


@dg.op
def approve_challenger(
    context: dg.OpExecutionContext, config: ApproveConfig, settings: dg.ResourceParam[Settings]
) -> None:
    """Write the named person's approval into the ledger; the sensor ``approved`` does the rest."""
    entry = operations.approve(get(config.product), settings, config.by)
    context.log.info(f"{config.product}: approved by {entry.body['by']}")


@dg.job(
    name="rollback",
    logger_defs={"console": progress_logger},
    description="Serves the previous release, or the one named: back or forward. Configuration: "
    "product, to_version (unset: the previous), reason, by. Used by `quality_rollback` too.",
)
def rollback() -> None:
    """The job ``rollback``."""
    rollback_release()


@dg.job(
    name="approve",
    description="A named person approves the challenger that waits. Configuration: product, by. "
    "The sensor `approved` then asks the gate again, packs and rolls out.",
)
def approve() -> None:
    """The job ``approve``."""
    approve_challenger()


def build_jobs(
    products: Sequence[ModelProduct],
) -> list["dg.JobDefinition | UnresolvedJob"]:
    """All of them."""
    return [*_asset_jobs(products), rollback, approve]


def way_back(products: Iterable[ModelProduct]) -> dg.AssetSelection:
    """The log, what dbt makes of it, every product's monitoring, the status page."""
    ends = [status.KEY, *(stage_key(product, "monitoring") for product in products)]
    joined = dg.AssetSelection.key_prefixes(WAY_BACK)
    return dg.AssetSelection.assets(*traffic.KEYS.values(), *ends) | joined


def _asset_jobs(products: Sequence[ModelProduct]) -> list["UnresolvedJob"]:
    services = [stage_key(product, "service") for product in products]
    return [
        dg.define_asset_job(
            JOB,
            selection=dg.AssetSelection.assets(*services).upstream(),
            description="Runs what changed, from raw data to the services; what `assay run` does",
            tags={"assay/lane": "chain"},  # one at a time: orchestration/dagster.yaml
        ),
        dg.define_asset_job(
            INGEST,
            selection=dg.AssetSelection.assets(*traffic.KEYS.values()),
            description="Takes the services' finished logs and dropped outcome files in",
        ),
        dg.define_asset_job(
            MONITORING,
            selection=way_back(products),
            description="Judges every product's traffic; what `assay monitor` does before it acts",
        ),
    ]
