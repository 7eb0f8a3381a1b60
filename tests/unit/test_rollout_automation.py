"""Dagster sees every step of a rollout once, drives it, and can be asked to end it."""

from __future__ import annotations

import dagster as dg
import pytest

from orchestration import rollout_place
from orchestration.rollout_automation import build_rollouts, rollout_abort, rollout_start
from tests.unit.rollout_home import NEW, PRODUCT, RolloutHome

ASSET = dg.AssetKey([*PRODUCT.key.split("/"), "rollout"])


@pytest.fixture
def place(tmp_path, monkeypatch):
    found = RolloutHome(tmp_path, monkeypatch)
    found.gateway()
    monkeypatch.setattr(rollout_place, "build_deployer", lambda _: found.deployer)
    return found


def run(job, op, place, **config):
    return job.execute_in_process(
        run_config={"ops": {op: {"config": {"product": PRODUCT.key, **config}}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        resources={"settings": place.settings}, raise_on_error=False,
    )  # fmt: skip


def test_jobs_act_and_the_sensor_tells_each_step_once(place):
    (sensor,) = build_rollouts([PRODUCT]).sensors
    assert run(rollout_start, "start_rollout", place, by="Ada").success
    first = sensor(dg.build_sensor_context())
    assert [event.metadata["phase"].value for event in first.asset_events] == [
        "requested", "starting", "running",
    ]  # fmt: skip
    assert {event.asset_key for event in first.asset_events} == {ASSET}
    assert first.asset_events[-1].metadata["weight"].value == 0.05
    place.deployer.slot("challenger").running = None  # its process ends; the next tick sees it
    second = sensor(dg.build_sensor_context(cursor=first.cursor))
    (ended,) = second.asset_events
    assert ended.metadata["phase"].value == "aborted"
    assert "evidence of harm" in " ".join(ended.metadata)
    assert isinstance(sensor(dg.build_sensor_context(cursor=second.cursor)), dg.SkipReason)


def test_a_job_that_is_refused_fails_with_the_reason(place):
    place.deployer.slot("challenger").broken = {NEW}
    assert not run(rollout_start, "start_rollout", place).success
    assert not run(rollout_abort, "abort_rollout", place).success  # nothing is under way
