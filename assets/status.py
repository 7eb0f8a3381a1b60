"""The asset ``status``: one self-contained page over all products, rewritten after monitoring.

Gathers what ledgers, window reports, the alert table and the event log hold. Decides nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.code_version import code_version
from assets.stages.approval import approval
from assets.stages.common import stage_key
from models.contracts.product import ModelProduct
from models.kinds import as_watched
from stores.deployer import Deployer
from stores.home import ADMIN_PORT, Home
from stores.ledger import Ledger, now_utc

if TYPE_CHECKING:
    from models.contracts.results import Estimate, Release
    from stores.reports.status_page import ProductStatus, StatusData

KEY = dg.AssetKey(["status"])
DAYS = 7
#: Dagster's name for a run of chosen assets: `assay run`, `assay monitor`, "Materialize" in the UI.
_CHOSEN = "__ASSET_JOB"


def build_status(products: Sequence[ModelProduct]) -> dg.AssetsDefinition:
    """The status page of these products."""

    @dg.asset(
        key=KEY,
        deps=[stage_key(product, "monitoring") for product in products],
        group_name="traffic",
        owners=["team:platform"],
        kinds={"html"},
        code_version=code_version(__name__),
    )
    def status(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        deployer: dg.ResourceParam[Deployer],
    ) -> Any:
        """The page a person looks at first: products, champions, drift, quality, incidents."""
        from stores.reports.status_page import write_status

        write_status(home.status_page, gather(products, home, deployer, context.instance))
        return dg.MaterializeResult(
            asset_key=KEY,
            metadata={
                "page": dg.MetadataValue.url(f"http://127.0.0.1:{ADMIN_PORT}/"),
                "path": dg.MetadataValue.path(str(home.status_page)),
            },
        )

    return status


def gather(
    products: Sequence[ModelProduct], home: Home, deployer: Deployer, instance: dg.DagsterInstance
) -> "StatusData":
    """Everything that stands on the page, as it is now."""
    from stores.alerts import Alerts
    from stores.reports.status_page import StatusData

    admin = f"http://127.0.0.1:{ADMIN_PORT}"
    incidents = Alerts(home.alerts).incidents()
    pages = {f"Monitoring of {p.key}": f"{admin}/monitoring/{p.slug}/index.html" for p in products}
    still = [one for one in incidents if one.closed_at is None]
    pages |= _rollout_pages(products, home, admin)
    reports = {
        f"Incident: {one.kind} {one.subject}": f"{admin}/alerts/{one.id}/incident.html"
        for one in still
    }
    return StatusData(
        as_of=now_utc(),
        products=[product_status(one, home, deployer, instance) for one in products],
        incidents=incidents,
        runs=run_counts(instance, now_utc() - timedelta(days=DAYS)),
        links=pages | reports,
    )


def _rollout_pages(products: Sequence[ModelProduct], home: Home, admin: str) -> dict[str, str]:
    """The newest rollout's page of each product that had one."""
    steps = [(one, Ledger(home.ledger(one)).rollout_step()) for one in products]
    return {
        f"Rollout of {one.key}": f"{admin}/rollouts/{one.slug}/{step.rollout_id}/report.html"
        for one, step in steps
        if step
    }


def product_status(
    product: ModelProduct, home: Home, deployer: Deployer, instance: dg.DagsterInstance
) -> "ProductStatus":
    """What is known of one product."""
    from assets.stages.monitoring import read_latest, read_reports
    from stores.reports.status_page import ProductStatus

    ledger = Ledger(home.ledger(product))
    release, serving = ledger.current(), deployer.current(product)
    event = instance.get_latest_materialization_event(stage_key(product, "evaluation"))
    return ProductStatus(
        product=as_watched(product),
        release=release,
        promised=_promised(product, home, release),
        decision=_decision(product, home, ledger),
        evaluated_at=datetime.fromtimestamp(event.timestamp, UTC) if event else None,
        url=serving.url if serving else None,
        result=read_latest(product, home),
        reports=read_reports(product, home),
        rollout=ledger.rollout_step(),
    )


def run_counts(instance: dg.DagsterInstance, since: datetime) -> Mapping[str, tuple[int, int]]:
    """Job to the number of successful and of failed runs since then."""
    counts: dict[str, tuple[int, int]] = {}
    for run in instance.get_runs(dg.RunsFilter(created_after=since)):
        name = "chosen assets" if run.job_name == _CHOSEN else run.job_name
        good, bad = counts.get(name, (0, 0))
        good += run.status is dg.DagsterRunStatus.SUCCESS
        bad += run.status is dg.DagsterRunStatus.FAILURE
        counts[name] = (good, bad)
    return counts


def _promised(product: ModelProduct, home: Home, release: "Release | None") -> "Estimate | None":
    """What traffic is held to; None without a release, or one from before there were profiles."""
    from assets.stages.monitoring_decisions import load_profile

    profile = load_profile(product, home, release) if release else None
    return profile.promised.get(as_watched(product).gate.metric) if profile else None


def _decision(product: ModelProduct, home: Home, ledger: Ledger) -> str:
    newest = home.latest(product, "evaluation")
    decision = ledger.decision(newest) if newest else None
    asked = approval(product, ledger, newest) if newest else None
    if asked and decision and decision.outcome == "awaiting_approval":
        return asked.sentence(product)
    return decision.outcome.replace("_", " ") if decision else "never asked"
