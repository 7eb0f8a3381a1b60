"""Ends runs whose process is gone, so that they hold nothing back: no pool, no place in the queue.

A killed run never says that it ended: Dagster keeps it as started and its pool slots taken, and the
next run would wait for them for ever. The default launcher has no health check of its own. Called
before every run in this process and by the watchdog. It starts nothing again.
"""

from __future__ import annotations

import dagster as dg

MESSAGE = (
    "the process of this run (pid {pid}) is gone: killed, out of memory, or the machine went down. "
    "Nothing half-written is read; `assay run` goes on where it stopped"
)
#: A run reports its process within seconds; only its log says which one it is.
_LOGS = 50
#: A creation time is counted from the boot and moves with the clock: such a step ends no run.
_CLOCK_SECONDS = 600.0


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Free the pool slots of runs whose process does not exist any more, and report them as failed.

    In this order: a run that was reported failed is not looked at again, a freed one is.

    Returns:
        Their run ids. A run whose process is not known (it waits, or is just starting) is left
        alone.
    """
    busy = [
        dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING
    ]  # fmt: skip
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=busy)):
        found = _process(instance, run.run_id)
        if found and not _lives(*found):
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            instance.report_run_failed(run, MESSAGE.format(pid=found[0]))
            ended.append(run.run_id)
    return ended


def _process(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """Pid of the process that executes the run's steps, and when it said so."""
    records = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ENGINE_EVENT, limit=_LOGS
    ).records
    for record in records:
        event = record.event_log_entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event else None
        if pid is not None:
            return int(str(pid.value)), record.event_log_entry.timestamp
    return None


def _lives(pid: int, seen_at: float) -> bool:
    """Whether the process that had this pid at ``seen_at`` still runs (pids are used again)."""
    import psutil

    try:
        process = psutil.Process(pid)
        same = process.create_time() <= seen_at + _CLOCK_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
