"""When things run by themselves: schedules by cadence, new data, a changed champion.

Each asks the planner what changed and runs exactly that, or says why it skips.
"""

from collections.abc import Sequence

import dagster as dg

from models.contracts.product import Cadence, ModelProduct
from orchestration.refresh import Workplace, plan, raw_reason
from orchestration.settings import Settings
from stores.ledger import Ledger
from stores.origin import Source

JOB = "refresh"
#: Cron expressions in UTC; weekly is Monday 03:00.
CRON: dict[Cadence, str] = {"daily": "0 3 * * *", "weekly": "0 3 * * 1", "monthly": "0 3 1 * *"}


def build_automation(sources: Sequence[Source], products: Sequence[ModelProduct]) -> dg.Definitions:
    """The job, a schedule per cadence in use, and the two sensors."""
    job = dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.all(),
        description="Runs what changed; what `assay run` does",
    )
    cadences = sorted({product.cadence for product in products})
    by_cadence = {c: [p for p in products if p.cadence == c] for c in cadences}
    return dg.Definitions(
        jobs=[job],
        schedules=[_schedule(c, sources, mine) for c, mine in by_cadence.items()],
        sensors=[_new_data(sources, products), _champion(products)],
    )


def _workplace(sources: Sequence[Source], products: Sequence[ModelProduct]) -> Workplace:
    settings = Settings()
    return Workplace(settings.home_paths(), settings.data_origin(), sources, products)


def _request(
    repository: dg.RepositoryDefinition | None,
    instance: dg.DagsterInstance,
    workplace: Workplace,
    run_key: str | None = None,
) -> dg.RunRequest | dg.SkipReason:
    if repository is None:
        return dg.SkipReason("no code location was given with this tick")
    reasons = plan(repository.asset_graph, instance, workplace)
    if not reasons:
        return dg.SkipReason("nothing changed: no input, code or configuration")
    return dg.RunRequest(run_key=run_key, asset_selection=list(reasons))


def _schedule(
    cadence: Cadence,
    sources: Sequence[Source],
    mine: Sequence[ModelProduct],
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{cadence}_products",
        cron_schedule=CRON[cadence],
        job_name=JOB,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Retrains what changed of: {', '.join(p.key for p in mine)}",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return _request(context.repository_def, context.instance, _workplace(sources, mine))

    return schedule


def _new_data(
    sources: Sequence[Source],
    products: Sequence[ModelProduct],
) -> dg.SensorDefinition:
    @dg.sensor(
        name="new_data",
        job_name=JOB,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs the chain when a file lands in an inbox or the origin changes",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from stores.landing import Landing

        place = _workplace(sources, products)
        landing = Landing(place.home.root)
        new = [
            f"{s.name}:{place.origin.version(s)}:{landing.version(s.name)}"
            f":{[p.name for p in landing.pending(s.name)]}"
            for s in sources
            if raw_reason(s, context.instance, place.home, place.origin)
        ]
        if not new:
            return dg.SkipReason("no new files")
        return _request(context.repository_def, context.instance, place, run_key="|".join(new))

    return sensor


def _champion(products: Sequence[ModelProduct]) -> dg.SensorDefinition:
    @dg.sensor(
        name="champion_changed",
        job_name=JOB,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Packs and rolls out when the ledger's champion is not the one rolled out",
    )
    def sensor() -> dg.SensorResult | dg.SkipReason:
        home = Settings().home_paths()
        requests = []
        for product in products:
            ledger = Ledger(home.ledger(product))
            release, out = ledger.current(), ledger.rolled_out()
            if release and release.version != out:
                keys = [dg.AssetKey([*product.key.split("/"), s]) for s in ("bento", "service")]
                run_key = f"{product.key}:{release.version}:after:{out}"
                requests.append(dg.RunRequest(run_key=run_key, asset_selection=keys))
        return dg.SensorResult(requests) if requests else dg.SkipReason("champions are rolled out")

    return sensor
