"""The watch: runs every detector, keeps what they saw in one transaction, tells what is new.

Swept by a Dagster sensor and by the admin process: a dead daemon cannot report itself. What is
looked at is in ``watch_detectors``; how incidents are kept and told, in ``stores``.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from models.contracts.incidents import Incident
from models.contracts.product import ModelProduct
from models.registry import products as registered
from orchestration import watch_ticks
from orchestration.recovery import end_dead_runs
from orchestration.settings import Settings
from orchestration.watch_detectors import Found, View, detect, look, times
from orchestration.watch_events import Over
from orchestration.watch_ticks import Instigator
from stores.ledger import Ledger, LedgerError

if TYPE_CHECKING:
    from stores.alerts import Letter, Sweep
    from stores.notify import Report

logger = logging.getLogger("assay.watch")
EVERY_SECONDS = 60


def sweep(
    settings: Settings,
    instance: dg.DagsterInstance,
    declared: Sequence[Instigator] | None,
    now: datetime,
    products: Sequence[ModelProduct] | None = None,
) -> tuple[Incident, ...]:
    """Look at everything once, keep what is new, tell it.

    Args:
        settings: Where everything is and who is told.
        instance: Dagster's records.
        declared: Sensors and schedules (``watch_ticks.declared_in``); None when unknown.
        now: The clock; it may go back.
        products: All of the registry when left out.

    Returns:
        The incidents that this sweep opened.
    """
    from stores.alerts import Alerts, Rules
    from stores.notify import build_notifiers, deliver

    end_dead_runs(instance)
    chosen = registered() if products is None else products
    alerts = Alerts(settings.home_paths().alerts)
    notifiers = build_notifiers(alerts.folder, settings.alert_urls.split())
    rules = Rules([one.name for one in notifiers], settings.alert_mute.split())
    with alerts.sweep(now, rules) as table:
        marks = table.marks()
        view = look(settings, instance, declared, now, marks=marks, products=chosen)
        opened = _keep(table, view)
    deliver(alerts, notifiers, lambda letter: report_of(settings, chosen, letter), now)
    return opened


def watch(settings: Settings, ended: threading.Event, every: float = EVERY_SECONDS) -> None:
    """Sweep until told to end, whatever happens; the first time after one interval.

    The definitions are loaded once: an admin process lives as long as the code it was started with.
    """
    from orchestration.running import instance

    while not ended.wait(every):
        try:
            declared = load_declared()
            with instance(settings) as found:
                sweep(settings, found, declared, datetime.now(UTC))
                while not ended.wait(every):
                    sweep(settings, found, declared, datetime.now(UTC))
        except Exception:
            logger.exception("the sweep failed; the next one starts afresh")


def load_declared() -> tuple[Instigator, ...] | None:
    """Sensors and schedules of the code location; None, with a line in the log, when it is broken.

    A broken code location is why sensors fall silent: it must not blind the watch.
    """
    try:
        from orchestration.definitions import defs

        return watch_ticks.declared_in(defs().get_repository_def())
    except Exception:
        logger.exception("the code location does not load; watching what the daemon remembers")
        return None


def build_watchdog() -> dg.SensorDefinition:
    """The sensor that sweeps every minute."""

    @dg.sensor(
        name="watchdog",
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Opens one incident per trouble and tells it once; `assay alerts` lists them",
    )
    def watchdog(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        repository = context.repository_def
        declared = watch_ticks.declared_in(repository) if repository else None
        opened = sweep(Settings(), context.instance, declared, datetime.now(UTC))
        return dg.SkipReason("; ".join(one.title for one in opened) or "no new incident")

    return watchdog


def report_of(settings: Settings, products: Sequence[ModelProduct], letter: "Letter") -> "Report":
    """The forensic report, written on the first try and read again on later ones."""
    from stores.notify import Report
    from stores.reports.incident import files_of, read_incident, render, write_incident

    folder = settings.home_paths().alerts
    try:
        incident = read_incident(folder, letter.incident.id)
        if incident is None:
            incident = _investigated(settings, products, letter)
            write_incident(folder, incident)
        files = files_of(folder, incident.id)
        return Report(incident, files[0].read_text(encoding="utf-8"), files)
    except Exception:  # a message without attachments is better than none
        logger.exception("no report of %s", letter.incident.id)
        return Report(letter.incident, render(letter.incident), ())


def _investigated(
    settings: Settings, products: Sequence[ModelProduct], letter: "Letter"
) -> Incident:
    from stores.reports.incident import affected, decision_record

    home = settings.home_paths()
    record: tuple[str, ...] = ()
    for product in products:
        if product.key == letter.seen.product:
            try:
                record = decision_record(Ledger(home.ledger(product)).entries())
            except LedgerError as error:
                record = (str(error),)
    touched = affected(home.traffic / "predictions.parquet", letter.seen)
    return letter.incident.model_copy(update={"decision_record": record, "affected": touched})


def _keep(table: "Sweep", view: View) -> tuple[Incident, ...]:
    """Detect, and enter what was seen into the table; all of it or, on an error, nothing."""
    opened: list[Incident] = []
    for name, value in times(view).items():
        table.mark(name, value)
    for found in detect(view):
        opened += _enter(table, found)
    return tuple(opened)


def _enter(table: "Sweep", found: Found) -> list[Incident]:
    opened, seen = [], set()
    for act in found.acts:
        if isinstance(act, Over):
            table.close(act.kind, act.subject)
            continue
        seen.add((act.kind, act.subject, act.key))
        new = table.observe(act)
        opened += [new] if new else []
    for kind in found.states:
        table.keep_only(kind, {(subject, key) for k, subject, key in seen if k == kind})
    for name, value in found.marks.items():
        table.mark(name, value)
    return opened
