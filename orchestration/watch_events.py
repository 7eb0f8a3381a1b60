"""What Dagster's event log says since the last sweep: failed checks and failed runs.

Reads and judges; nothing is kept here. (A failed check does not fail its run unless it blocks, so
the status of runs is not enough.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from models.contracts.incidents import AlertKind, Observation
from models.contracts.product import ModelProduct

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry
    from dagster_shared.error import SerializableErrorInfo
    from pydantic import JsonValue

#: How far back the first sweep of a home reads: older failures are history, not news.
FIRST_LOOK = timedelta(hours=24)
_BATCH = 1_000
_LONGEST = 4_000


class Over(NamedTuple):
    """A condition that is gone."""

    kind: AlertKind
    subject: str


class News(NamedTuple):
    """What the event log says since the cursor, in its order, and the cursor after it."""

    acts: tuple[Observation | Over, ...]
    cursor: int


def owner_of(name: str, products: Iterable[ModelProduct]) -> ModelProduct | None:
    """The product an asset key or a step key belongs to."""
    plain = name.replace("__", "/")
    return next((p for p in products if plain == p.key or plain.startswith(f"{p.key}/")), None)


def read_news(
    instance: dg.DagsterInstance,
    cursor: int | None,
    now: datetime,
    products: Sequence[ModelProduct],
) -> News:
    """Failed runs and evaluated checks behind the cursor.

    Args:
        instance: Whose event log.
        cursor: Where the last sweep ended; None on the first.
        now: The clock.
        products: To name the owners.
    """
    newest = instance.event_log_storage.get_maximum_record_id() or 0
    start = cursor if cursor is not None and cursor <= newest else None  # else: a new or wiped log
    checks = _records(instance, dg.DagsterEventType.ASSET_CHECK_EVALUATION, start, newest, now)
    failures = _records(instance, dg.DagsterEventType.RUN_FAILURE, start, newest, now)
    acts: list[Observation | Over] = []
    for entry in checks:
        act = judge_check(entry.asset_check_evaluation, entry.run_id, products)
        acts += [act] if act else []
    for entry in failures:
        seen = _judge_run(instance, entry, products)
        acts += [seen] if seen else []
    return News(tuple(acts), newest)


def judge_check(
    found: dg.AssetCheckEvaluation | None, run_id: str, products: Sequence[ModelProduct]
) -> Observation | Over | None:
    """A failure of severity ERROR is an alert; a pass or a mere warning ends it.

    A check that was not run, because something before it failed, says nothing.
    """
    if found is None or str(found.description).startswith("not run"):
        return None
    subject = f"{found.asset_key.to_user_string()}/{found.check_name}"
    if found.passed or found.severity != dg.AssetCheckSeverity.ERROR:
        return Over("check_failed", subject)
    product = owner_of(subject, products)
    evidence: dict[str, JsonValue] = {
        "asset": found.asset_key.to_user_string(),
        "check": found.check_name,
        "run": run_id,
    }
    evidence |= {f"measured {name}": str(v.value) for name, v in found.metadata.items()}
    return Observation(
        kind="check_failed",
        subject=subject,
        message=found.description or "the check did not pass and gave no reason",
        owner=product.owner if product else "platform",
        product=product.key if product else None,
        evidence=evidence,
    )


def _records(
    instance: dg.DagsterInstance,
    event: dg.DagsterEventType,
    start: int | None,
    newest: int,
    now: datetime,
) -> list[EventLogEntry]:
    """Events of one type with ids in (start, newest], oldest first.

    Dagster mirrors both types into one index with one running id, but its public query for check
    evaluations opens the file of every run; so the general query is asked, as
    ``fetch_run_status_changes`` does itself.
    """
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(
            f"{type(storage).__name__} is no SQL event log; see orchestration/dagster.yaml"
        )
    after = (now - FIRST_LOOK).timestamp() if start is None else None
    cursor, found = start, []
    while True:
        wanted = dg.EventRecordsFilter(event, after_cursor=cursor, after_timestamp=after)
        batch = SqlEventLogStorage.get_event_records(storage, wanted, limit=_BATCH, ascending=True)
        found += [r.event_log_entry for r in batch if r.storage_id <= newest]
        if len(batch) < _BATCH:
            return found
        cursor = batch[-1].storage_id


def _judge_run(
    instance: dg.DagsterInstance, entry: EventLogEntry, products: Sequence[ModelProduct]
) -> Observation | None:
    """A failed run, unless failed blocking checks are all that failed: those are told already."""
    failures = instance.all_logs(entry.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    errors = {
        str(log.step_key): log.dagster_event.step_failure_data.error
        for log in failures
        if log.dagster_event
    }
    names = [error.cls_name if error else None for error in errors.values()]
    if names and set(names) == {"DagsterAssetCheckFailedError"}:
        return None
    run = instance.get_run_by_id(entry.run_id)
    job = run.job_name if run else "unknown"
    steps = [step.replace("__", "/") for step in errors]
    product = next((p for p in (owner_of(step, products) for step in steps) if p), None)
    told = [f"{s}: {cause(e)}" for s, e in zip(steps, errors.values(), strict=True)]
    reason = "; ".join(told) or entry.user_message or entry.message or "no reason was recorded"
    return Observation(
        kind="run_failed",
        subject=steps[0] if steps else job,
        key=entry.run_id,
        message=reason[:1_000],
        owner=product.owner if product else "platform",
        product=product.key if product else None,
        evidence={
            "run": entry.run_id,
            "job": job,
            "errors": {
                s: e.to_string()[:_LONGEST] if e else ""
                for s, e in zip(steps, errors.values(), strict=True)
            },
        },
    )


def cause(error: SerializableErrorInfo | None) -> str:
    """The innermost error in one line: Dagster wraps what the code raised."""
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip().splitlines()[0] if error and error.message.strip() else "failed"
