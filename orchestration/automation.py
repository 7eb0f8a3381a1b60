"""When things run by themselves: schedules by the clock, sensors by what happened.

Forward (raw data to service) each asks the planner what changed and runs exactly that, or says why
it skips. The way back runs by the clock; what follows from it (``orchestration.loop``) runs once.
"""

from collections.abc import Callable, Sequence

import dagster as dg

from assets.stages.approval import newest_approval
from assets.stages.common import stage_key
from models.contracts.product import Cadence, ModelProduct
from orchestration import loop
from orchestration.jobs import INGEST, JOB, MONITORING, build_jobs
from orchestration.loop import Due
from orchestration.refresh import Reasons, Workplace, plan, raw_reason, upstream
from orchestration.settings import Settings
from stores.home import Home
from stores.ledger import Ledger
from stores.origin import Source

#: Cron expressions in UTC; weekly is Monday 03:00.
CRON: dict[Cadence, str] = {"daily": "0 3 * * *", "weekly": "0 3 * * 1", "monthly": "0 3 1 * *"}
INGEST_CRON, MONITORING_CRON = "*/5 * * * *", "0 */6 * * *"
SECONDS = 30

Requests = list[dg.RunRequest]
Ask = Callable[[ModelProduct, Home], Due | None]


def build_automation(sources: Sequence[Source], products: Sequence[ModelProduct]) -> dg.Definitions:
    """The jobs, the schedules and the sensors."""
    cadences = sorted({product.cadence for product in products})
    by_cadence = {c: [p for p in products if p.cadence == c] for c in cadences}
    return dg.Definitions(
        jobs=build_jobs(products),
        schedules=[
            *(_cadence(c, sources, mine) for c, mine in by_cadence.items()),
            _ingest(products),
            _monitoring(),
        ],
        sensors=[
            _new_data(sources, products),
            _champion(products),
            _approved(products),
            _retraining(sources, products),
            _quality_rollback(products),
        ],
    )


def _workplace(sources: Sequence[Source], products: Sequence[ModelProduct]) -> Workplace:
    settings = Settings()
    return Workplace(settings.home_paths(), settings.data_origin(), sources, products)


def _plan(
    repository: dg.RepositoryDefinition | None, instance: dg.DagsterInstance, workplace: Workplace
) -> Reasons:
    """What changed, by the graph of this tick's code location."""
    if repository is None:
        raise ValueError("no code location was given with this tick; load it with a workspace")
    return plan(repository.asset_graph, instance, workplace)


def _cadence(
    cadence: Cadence, sources: Sequence[Source], mine: Sequence[ModelProduct]
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{cadence}_products",
        cron_schedule=CRON[cadence],
        job_name=JOB,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Retrains what changed of: {', '.join(p.key for p in mine)}",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        place = _workplace(sources, mine)
        reasons = _plan(context.repository_def, context.instance, place)
        if not reasons:
            return dg.SkipReason("nothing changed: no input, code or configuration")
        return dg.RunRequest(asset_selection=list(reasons))

    return schedule


def _ingest(products: Sequence[ModelProduct]) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=INGEST,
        cron_schedule=INGEST_CRON,
        job_name=INGEST,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Takes finished logs and dropped outcome files in, when there are any",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from stores.spool import waiting

        if not waiting(Settings().home_paths(), products):
            return dg.SkipReason("no finished log segment and no outcome file waits")
        return _unless_queued(context, INGEST)

    return schedule


def _monitoring() -> dg.ScheduleDefinition:
    @dg.schedule(
        name=MONITORING,
        cron_schedule=MONITORING_CRON,
        job_name=MONITORING,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Joins predictions with outcomes, judges every product's windows, draws the "
        "status page",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return _unless_queued(context, MONITORING)

    return schedule


def _unless_queued(
    context: dg.ScheduleEvaluationContext, job: str
) -> dg.RunRequest | dg.SkipReason:
    """One run in the queue is enough: behind a long training they would pile up."""
    waits = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED]
    if context.instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=waits)):
        return dg.SkipReason(f"a run of {job} waits in the queue already")
    return dg.RunRequest()


def _new_data(sources: Sequence[Source], products: Sequence[ModelProduct]) -> dg.SensorDefinition:
    @dg.sensor(
        name="new_data",
        job_name=JOB,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Lands new files and refreshes the features; the whole chain only for a "
        "product that never had a release (retraining is decided by monitoring and cadence)",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        place = _workplace(sources, products)
        new = [_arrival(s, place) for s in sources
               if raw_reason(s, context.instance, place.home, place.origin)]  # fmt: skip
        if not new:
            return dg.SkipReason("no new files")
        reasons = _plan(context.repository_def, context.instance, place)
        wanted = _without_retraining(context, place)
        chosen = [key for key in reasons if key in wanted]
        return dg.RunRequest(run_key="|".join(new), asset_selection=chosen)

    return sensor


def _arrival(source: Source, place: Workplace) -> str:
    """Names what is there now, so that the same arrival asks for one run."""
    from stores.landing import Landing

    landing = Landing(place.home.root)
    files = [path.name for path in landing.pending(source.name)]
    return f"{source.name}:{place.origin.version(source)}:{landing.version(source.name)}:{files}"


def _without_retraining(context: dg.SensorEvaluationContext, place: Workplace) -> set[dg.AssetKey]:
    """What rests below every product's ``dataset``, and all of a product without any release."""
    repository = context.repository_def
    graph = repository.asset_graph if repository else dg.Definitions().resolve_asset_graph()
    datasets = {stage_key(product, "dataset") for product in place.products}
    unreleased = [p for p in place.products if not Ledger(place.home.ledger(p)).releases()]
    below = set(upstream(graph, place.products, "dataset")) - datasets
    return below | set(upstream(graph, unreleased, "service"))


def _champion(products: Sequence[ModelProduct]) -> dg.SensorDefinition:
    @dg.sensor(
        name="champion_changed",
        job_name=JOB,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Packs and rolls out when the ledger's champion is not the one rolled out",
    )
    def sensor() -> dg.SensorResult | dg.SkipReason:
        home, requests = Settings().home_paths(), []
        for product in products:
            ledger = Ledger(home.ledger(product))
            release, out = ledger.current(), ledger.rolled_out()
            if release and release.version != out:
                moved = ledger.moved()
                number = moved.sequence if moved else 0
                key = f"{product.key}:{release.version}:after:{out}:{number}"
                keys = [stage_key(product, stage) for stage in ("bento", "service")]
                requests.append(dg.RunRequest(run_key=key, asset_selection=keys))
        return dg.SensorResult(requests) if requests else dg.SkipReason("champions are rolled out")

    return sensor


def _unserved(
    context: dg.SensorEvaluationContext, products: Sequence[ModelProduct], ask: Ask
) -> list[tuple[ModelProduct, Due]]:
    """Requests that no run serves yet, however it was started."""
    home = Settings().home_paths()
    asked = ((product, ask(product, home)) for product in products)
    return [(p, due) for p, due in asked if due and not loop.served(context.instance, due)]


def _retraining(sources: Sequence[Source], products: Sequence[ModelProduct]) -> dg.SensorDefinition:
    @dg.sensor(
        name="retraining",
        job_name=JOB,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="One run of what changed for a product whose monitoring asked for retraining",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        requests, waiting = Requests(), list[str]()
        for product, due in _unserved(context, products, loop.due_retraining):
            place = _workplace(sources, [product])
            reasons = _plan(context.repository_def, context.instance, place)
            if reasons:
                requests.append(
                    dg.RunRequest(due.key, asset_selection=list(reasons), tags=due.tags)
                )
            else:
                waiting.append(f"{due.key} waits: no input, code or configuration changed")
        if requests:
            return dg.SensorResult(requests)
        return dg.SkipReason("; ".join(waiting) or "no retraining is asked for")

    return sensor


def _quality_rollback(products: Sequence[ModelProduct]) -> dg.SensorDefinition:
    @dg.sensor(
        name="quality_rollback",
        job_name="rollback",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Goes back when monitoring shows a fresh champion below the release before it",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        requests = [
            dg.RunRequest(due.key, run_config=due.rollback_config(), tags=due.tags)
            for _, due in _unserved(context, products, loop.due_rollback)
        ]
        return dg.SensorResult(requests) if requests else dg.SkipReason("every champion may stay")

    return sensor


def _approved(products: Sequence[ModelProduct]) -> dg.SensorDefinition:
    @dg.sensor(
        name="approved",
        job_name=JOB,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks the gate again, packs and rolls out when a named person approved; marks "
        "an approval that came to nobody's mind in time as expired",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        requests = [
            dg.RunRequest(due.key, asset_selection=loop.release_keys(product), tags=due.tags)
            for product, due in _unserved(context, products, loop.due_release)
        ]
        expired = _expired(products, Settings().home_paths())
        told = (context.cursor or "").split("|")
        news = [check for key, check in expired.items() if key not in told]
        if not requests and not news:
            return dg.SkipReason("nobody approved anything since")
        return dg.SensorResult(requests, cursor="|".join(expired), asset_events=news)

    return sensor


def _expired(products: Sequence[ModelProduct], home: Home) -> dict[str, dg.AssetCheckEvaluation]:
    """Approvals nobody gave in time, as results of the check that still says "waits"."""
    found = {}
    for product in products:
        ledger = Ledger(home.ledger(product))
        asked = newest_approval(product, ledger, home.latest(product, "evaluation"))
        if asked and asked.expired:
            found[asked.asked.digest[:16]] = dg.AssetCheckEvaluation(
                asset_key=stage_key(product, "promotion"),
                check_name="approval",
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description=asked.sentence(product),
                metadata={},
            )
    return found
