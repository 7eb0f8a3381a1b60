"""Schedules and sensors: what each asks for, when it skips, and that it asks once."""

import dagster as dg
import pytest

from assets.raw import SOURCES
from orchestration.automation import build_automation
from orchestration.loop import SERVED
from orchestration.settings import Settings
from stores.landing import Landing
from stores.ledger import Ledger
from tests.unit.loop_home import (
    CHAIN,
    KEY,
    PRODUCT,
    ago,
    chain,
    decide,
    judged,
    release,
    retrain,
    write,
)

WAY_BACK = {
    "raw/predictions", "raw/outcomes", "raw/refusals", "traffic/predictions", f"{KEY}/monitoring",
    "status",
}  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    monkeypatch.setenv("ASSAY_ORIGIN", "generator")
    return Settings().home_paths()


@pytest.fixture(scope="module")
def repository():
    resources = dg.Definitions(resources={"settings": None, "deployer": None})
    made = dg.Definitions.merge(chain(), build_automation(SOURCES, [PRODUCT]), resources)
    return made.get_repository_def()


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def stored():
    """Schedules want an instance that a tick in another process could open."""
    with dg.instance_for_test() as found:
        yield found


@pytest.fixture
def tick(home, repository, instance):
    """One evaluation of a sensor: the requests, the checks it reports, the skip reason."""
    cursors = {}

    def one(name):
        context = dg.build_sensor_context(
            instance=instance, repository_def=repository, cursor=cursors.get(name)
        )
        data = repository.get_sensor_def(name).evaluate_tick(context)
        cursors[name] = data.cursor or cursors.get(name)
        return data

    return one


def names(request):
    return [key.to_user_string() for key in request.asset_selection]


def stages(*chosen):
    return [f"{KEY}/{stage}" for stage in chosen]


def schedule(repository, instance, name):
    with dg.build_schedule_context(instance=instance, repository_def=repository) as context:
        return repository.get_schedule_def(name).evaluate_tick(context)


def test_everything_runs_by_default_and_is_described(repository):
    for one in (*repository.schedule_defs, *repository.sensor_defs):
        assert one.default_status.value == "RUNNING", one.name
        assert one.description, one.name
    crons = {one.name: one.cron_schedule for one in repository.schedule_defs}
    assert crons == {
        "weekly_products": "0 3 * * 1", "ingest": "*/5 * * * *", "monitoring": "0 */6 * * *",
    }  # fmt: skip
    for name in ("refresh", "ingest", "monitoring", "rollback", "approve"):
        assert repository.get_job(name).description, name


def test_the_jobs_part_the_way_forward_from_the_way_back(repository):
    def keys(job):
        found = repository.get_job(job).asset_layer.executable_asset_keys
        return {key.to_user_string() for key in found}

    assert keys("monitoring") == WAY_BACK
    assert keys("ingest") == {"raw/predictions", "raw/outcomes", "raw/refusals"}
    assert keys("refresh") == {"raw/merges", "features/risk/merges", *stages(*CHAIN)}


def test_the_cadence_schedule_asks_for_the_plan(home, repository, stored):
    (asked,) = schedule(repository, stored, "weekly_products").run_requests
    assert names(asked)[-6:] == stages(*CHAIN)
    assert not WAY_BACK & set(names(asked))


def test_ingest_skips_until_something_waits(home, repository, stored):
    ticked = schedule(repository, stored, "ingest")
    assert not ticked.run_requests
    assert ticked.skip_message == "no finished log segment and no outcome file waits"
    spool = home.spool(PRODUCT)
    spool.mkdir(parents=True)
    (spool / "20260105T000000000000-1-abcdef-000001.log").write_bytes(b"x\n")
    assert len(schedule(repository, stored, "ingest").run_requests) == 1


@pytest.mark.parametrize("status", ["NOT_STARTED", "SUCCESS"])
def test_monitoring_runs_by_the_clock_but_does_not_pile_up(home, repository, stored, status):
    stored.add_run(dg.DagsterRun("monitoring", status=dg.DagsterRunStatus[status]))
    ticked = schedule(repository, stored, "monitoring")
    if status == "NOT_STARTED":
        assert ticked.skip_message == "a run of monitoring waits in the queue already"
    else:
        assert len(ticked.run_requests) == 1


def test_new_data_runs_the_whole_chain_only_without_a_release(home, tick):
    (asked,) = tick("new_data").run_requests
    assert names(asked) == ["raw/merges", "features/risk/merges", *stages(*CHAIN)]
    release(home, "v1")
    (asked,) = tick("new_data").run_requests
    assert names(asked) == ["raw/merges", "features/risk/merges"]
    (Landing(home.root).inbox("merges") / "more.csv").write_text("a\n")
    (later,) = tick("new_data").run_requests
    assert later.run_key != asked.run_key
    assert "more.csv" in later.run_key


def test_retraining_asks_for_one_run_whoever_starts_it(home, tick, instance):
    assert tick("retraining").skip_message == "no retraining is asked for"
    release(home, "v1")
    retrain(home, "v1", window="2026-01-05")
    (asked,) = tick("retraining").run_requests
    assert asked.run_key == f"retrain:{KEY}:2026-01-05"
    assert names(asked)[-6:] == stages(*CHAIN)
    instance.add_run(dg.DagsterRun("refresh", tags={SERVED: asked.run_key}))
    assert not tick("retraining").run_requests


def test_quality_rollback_configures_the_job(home, tick, repository, instance):
    for version in ("v1", "v2"):
        release(home, version)
    assert tick("quality_rollback").skip_message == "every champion may stay"
    judged(home, "v2", "v1")
    (asked,) = tick("quality_rollback").run_requests
    config = asked.run_config["ops"]["rollback_release"]["config"]
    assert (config["product"], config["to_version"], config["automatic"]) == (KEY, "v1", True)
    assert dg.validate_run_config(repository.get_job("rollback"), asked.run_config)
    instance.add_run(dg.DagsterRun("rollback", tags=dict(asked.tags)))
    assert not tick("quality_rollback").run_requests


def test_approved_runs_the_gate_packing_and_the_service(home, tick):
    decide(home, "awaiting_approval", hours=1)
    assert tick("approved").skip_message == "nobody approved anything since"
    write(home, "approval", {"candidate_id": "c-new", "by": "Ada"})
    (asked,) = tick("approved").run_requests
    assert names(asked) == stages("promotion", "bento", "service")


def test_an_expired_approval_is_told_once(home, tick):
    decide(home, "awaiting_approval", hours=100)
    (check,) = tick("approved").asset_events
    assert (check.check_name, check.passed) == ("approval", False)
    assert "expired at" in check.description
    assert tick("approved").asset_events == []


def test_champion_changed_finishes_what_the_ledger_says(home, tick):
    release(home, "v1")
    assert tick("champion_changed").skip_message == "champions are rolled out"
    release(home, "v2", rolled_out=False)
    (asked,) = tick("champion_changed").run_requests
    assert names(asked) == stages("bento", "service")
    ledger = Ledger(home.ledger(PRODUCT), lambda: ago(0))
    ledger.append("rollout", {"version": "v2"})
    for to in ("v1", "v2"):
        ledger.append("rollback", {"to_version": to})
        if to == "v1":
            ledger.append("rollout", {"version": "v1"})
    (again,) = tick("champion_changed").run_requests
    assert again.run_key != asked.run_key, "the same pair of versions, another move"
