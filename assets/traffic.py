"""The services' logs as raw data: ``raw/predictions``, ``raw/outcomes``, ``raw/refusals``.

The way back begins here and never joins the forward chain: what is judged from it goes through
monitoring and a sensor. How a line is landed exactly once is ``stores.spool``'s affair.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets.code_version import code_version
from assets.stages.common import table
from models.contracts.product import ModelProduct
from models.contracts.traffic import RecordKind
from stores import spool_parts
from stores.home import Home
from stores.spool import TrafficPolicy, acknowledge, ingest
from stores.spool_account import Ingested
from stores.spool_inbox import SOURCE
from stores.spool_parts import LOGS

OWNER = "team:platform"
KEYS: dict[RecordKind, dg.AssetKey] = {
    kind: dg.AssetKey(["raw", log.name]) for kind, log in LOGS.items()
}
#: Checks, each with its question.
COMPLETE = dg.AssetCheckSpec(
    "complete",
    asset=KEYS["prediction"],
    description="Has every line landed that a service answered for? (prediction logging 100 %)",
)
ARRIVALS = dg.AssetCheckSpec(
    "arrivals",
    asset=KEYS["outcome"],
    description="Does every dropped outcome file fit, with a known product, one id and a label?",
)


def build_spool(products: Sequence[ModelProduct]) -> dg.AssetsDefinition:
    """The three raw logs of these products, ingested together."""

    @dg.multi_asset(
        name="spool",
        specs=[_spec(kind) for kind in LOGS],
        check_specs=[COMPLETE, ARRIVALS],
        # a merge of parts or a dropped day must not happen under dbt's reading
        pool="duckdb",
    )
    def spool(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        traffic: dg.ResourceParam[TrafficPolicy],
    ) -> Iterator[Any]:
        """Land what the services wrote and what was dropped, each line once."""
        ingested = ingest(
            home, products, retention_days=traffic.retention_days, say=context.log.info
        )
        yield _complete(ingested)
        yield _arrivals(ingested)
        for kind, key in KEYS.items():
            yield _materialization(home, kind, key, ingested)
        acknowledge(home, ingested)

    return spool


def _spec(kind: RecordKind) -> dg.AssetSpec:
    log = LOGS[kind]
    return dg.AssetSpec(
        KEYS[kind],
        description=f"{log.record.__doc__} By product and day of its {log.moment}.",
        group_name="traffic",
        owners=[OWNER],
        kinds={"parquet"},
        code_version=code_version("stores.spool"),
    )


def _complete(ingested: Ingested) -> dg.AssetCheckResult:
    answered = sum(arrived.answered for arrived in ingested.arrived.values())
    landed = sum(arrived.landed for arrived in ingested.arrived.values())
    told = "; ".join(ingested.problems) or f"{landed} of {answered} answered lines landed"
    return dg.AssetCheckResult(
        asset_key=COMPLETE.asset_key,
        check_name=COMPLETE.name,
        passed=ingested.complete,
        severity=dg.AssetCheckSeverity.ERROR,
        description=told,
        metadata={
            "answered": answered,
            "landed": landed,
            "torn_tails": sum(arrived.torn_tails for arrived in ingested.arrived.values()),
        },
    )


def _arrivals(ingested: Ingested) -> dg.AssetCheckResult:
    refused = [file for file in ingested.files if file.status == "quarantined"]
    return dg.AssetCheckResult(
        asset_key=ARRIVALS.asset_key,
        check_name=ARRIVALS.name,
        passed=not refused,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(file.reason for file in refused)
        or f"{len(ingested.files)} dropped files, none refused",
    )


def _materialization(
    home: Home, kind: RecordKind, key: dg.AssetKey, ingested: Ingested
) -> dg.MaterializeResult[None]:
    parts = spool_parts.parts(home, kind)
    arrived: list[dict[str, Any]] = [
        {"product": slug, "rows": one.rows.get(kind, 0), "segments": one.segments,
         "batches": one.batches}
        for slug, one in ingested.arrived.items()
    ]  # fmt: skip
    metadata: dict[str, Any] = {
        "dagster/row_count": spool_parts.count(parts),
        "files": len(parts),
        "arrived": table(arrived),
        "days_dropped": sum(day.startswith(LOGS[kind].name) for day in ingested.dropped),
        "path": dg.MetadataValue.path(str(spool_parts.folder(home, kind))),
    }
    if kind == "outcome":
        metadata["inbox"] = dg.MetadataValue.path(str(home.root / "inbox" / SOURCE))
        metadata["dropped_files"] = table([file.model_dump() for file in ingested.files])
    return dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(spool_parts.version(home, kind)),
        metadata=metadata,
    )
