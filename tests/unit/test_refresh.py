"""The planner: what runs, why, and what does not."""

import dagster as dg
import pytest

from orchestration.refresh import Workplace, plan
from stores.home import Home
from stores.origin import Origin


def make(version="1", refuse=False):
    @dg.asset(code_version="1")
    def source():
        return dg.MaterializeResult(data_version=dg.DataVersion(version))

    @dg.asset(deps=[source], code_version="1")
    def left():
        return dg.MaterializeResult(data_version=dg.DataVersion("same"))

    @dg.asset(deps=[source], code_version=version)
    def right():
        return None

    @dg.asset(deps=[left], code_version="1", output_required=False)
    def end():
        if not refuse:
            yield dg.MaterializeResult()

    return dg.Definitions(assets=[source, left, right, end])


@pytest.fixture
def instance():
    with dg.instance_for_test() as found:
        yield found


def names(definitions, instance, tmp_path):
    place = Workplace(Home(tmp_path), Origin(), (), ())
    return {
        key.to_user_string(): reason
        for key, reason in plan(definitions.resolve_asset_graph(), instance, place).items()
    }


def run(definitions, instance, keys=None):
    job = definitions.resolve_implicit_global_asset_job_def()
    chosen = [dg.AssetKey(key) for key in keys] if keys else None
    assert job.execute_in_process(instance=instance, asset_selection=chosen).success


def test_everything_at_first_then_nothing(instance, tmp_path):
    definitions = make()
    assert list(names(definitions, instance, tmp_path)) == ["source", "left", "right", "end"]
    run(definitions, instance)
    assert names(definitions, instance, tmp_path) == {}


def test_changed_code_runs_itself_only(instance, tmp_path):
    run(make(), instance)
    changed = make(version="2")
    assert names(changed, instance, tmp_path) == {"right": "its code or configuration changed"}


def test_a_new_data_version_runs_what_reads_it(instance, tmp_path):
    run(make(), instance)
    changed = make(version="2")
    run(changed, instance, ["source"])
    planned = names(changed, instance, tmp_path)
    assert planned["left"] == "source changed"
    assert planned["end"] == "left runs"
    run(changed, instance, ["left", "right"])
    # left gave the same data version again, so its reader has nothing to do
    assert names(changed, instance, tmp_path) == {}


def test_an_asset_that_yielded_nothing_is_still_due(instance, tmp_path):
    run(make(refuse=True), instance)
    assert list(names(make(refuse=True), instance, tmp_path)) == ["end"]
