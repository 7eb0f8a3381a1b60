"""Runs whose process is gone: reported failed, their pool slots free; living runs left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.events import EngineEventData
from dagster._core.storage.event_log import SqliteEventLogStorage

from orchestration.recovery import end_dead_runs
from orchestration.running import TEMPLATE

POOL = "only_one"
#: Set where the op ends the process that executes it, as an out-of-memory kill would.
FATAL = "TEST_RECOVERY_FATAL"


@dg.op(pool=POOL)
def hold() -> None:
    """Holds the pool's only slot, and dies with it when told to."""
    if FATAL in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)


@dg.job
def holding() -> None:
    """The job of one op."""
    hold()


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance on disk with the project's own configuration."""
    (tmp_path / "dagster.yaml").write_text(TEMPLATE.read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as found:
        yield found


def killed_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run whose process was killed while it held the slot."""
    line = [sys.executable, "-m", "tests.unit.test_recovery"]
    done = subprocess.run(line, check=False, timeout=60, env={**os.environ, FATAL: "1"})
    assert done.returncode == -signal.SIGKILL
    (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.STARTED, "nobody said that it ended"
    assert holders(instance) == {run.run_id}
    return run


def holders(instance: dg.DagsterInstance) -> set[str]:
    """Runs that hold a slot of the pool."""
    info = instance.event_log_storage.get_concurrency_info(POOL)
    return set(info.active_run_ids)


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def started_here(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED
) -> dg.DagsterRun:
    """A run that this process executes, as its log says."""
    run = instance.create_run_for_job(holding, status=status)
    instance.report_engine_event("executing", run, EngineEventData.in_process(os.getpid()))
    return run


def test_a_killed_run_is_failed_and_the_next_one_gets_its_slot(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed_run(instance)

    def cut_off(*_: object) -> None:
        raise InterruptedError

    for owner, half in (
        (SqliteEventLogStorage, "free_concurrency_slots_for_run"),
        (dg.DagsterInstance, "report_run_failed"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, half, cut_off)
            with pytest.raises(InterruptedError):
                end_dead_runs(instance)
        assert status(instance, run) == dg.DagsterRunStatus.STARTED, "it is looked at again"
    assert end_dead_runs(instance) == [run.run_id]
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE
    assert holders(instance) == set()
    assert end_dead_runs(instance) == [], "told once"
    assert holding.execute_in_process(instance=instance).success


def test_a_living_run_and_one_of_an_unknown_process_are_left_alone(
    instance: dg.DagsterInstance,
) -> None:
    living = started_here(instance)
    starting = instance.create_run_for_job(holding, status=dg.DagsterRunStatus.STARTING)
    assert end_dead_runs(instance) == []
    assert status(instance, living) == dg.DagsterRunStatus.STARTED
    assert status(instance, starting) == dg.DagsterRunStatus.STARTING


def test_a_pid_that_was_given_to_a_younger_process_is_no_sign_of_life(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ("STARTING", "STARTED", "CANCELING")
    runs = [started_here(instance, dg.DagsterRunStatus(stage)) for stage in stages]
    rebooted = psutil.Process().create_time() + 3600
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: rebooted)
    assert set(end_dead_runs(instance)) == {run.run_id for run in runs}
    assert all(status(instance, run) == dg.DagsterRunStatus.FAILURE for run in runs)


if __name__ == "__main__":
    with dg.DagsterInstance.get() as here:
        holding.execute_in_process(instance=here)
