"""The planner: what runs, why, and what does not."""

import dagster as dg
import pytest

from models.risk.sync_conflict.product import PRODUCT
from orchestration.refresh import Workplace, plan, upstream
from stores.home import Home
from stores.origin import Origin

END = dg.AssetKey([PRODUCT.domain, PRODUCT.name, "service"])
SERVICE = END.to_user_string()


def make(version="1", refuse=False):
    @dg.asset(code_version="1")
    def source():
        return dg.MaterializeResult(data_version=dg.DataVersion(version))

    @dg.asset(deps=[source], code_version="1")
    def left():
        return dg.MaterializeResult(data_version=dg.DataVersion("same"))

    @dg.asset(deps=[source], code_version=version)
    def right():
        return dg.MaterializeResult(data_version=dg.DataVersion("same"))

    @dg.asset(key=END, deps=[left, right], code_version="1", output_required=False)
    def end():
        if not refuse:
            yield dg.MaterializeResult(asset_key=END, data_version=dg.DataVersion("1"))

    @dg.asset(deps=[end], code_version=version)
    def monitoring():
        return None

    return dg.Definitions(assets=[source, left, right, end, monitoring])


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def names(definitions, instance, tmp_path):
    place = Workplace(Home(tmp_path), Origin(), (), [PRODUCT])
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
    assert list(names(definitions, instance, tmp_path)) == ["source", "left", "right", SERVICE]
    run(definitions, instance)
    assert names(definitions, instance, tmp_path) == {}


def test_changed_code_runs_itself_and_what_follows_but_never_the_way_back(instance, tmp_path):
    run(make(), instance)
    changed = make(version="2")
    assert names(changed, instance, tmp_path) == {
        "right": "its code or configuration changed",
        SERVICE: "right runs",
    }


def test_only_what_the_services_rest_on_is_planned(instance, tmp_path):
    graph = make().resolve_asset_graph()
    elsewhere = Workplace(Home(tmp_path), Origin(), (), ())
    assert plan(graph, instance, elsewhere) == {}
    assert upstream(graph, [PRODUCT], "dataset") == set(), "a stage that is not there"
    found = {key.to_user_string() for key in upstream(graph, [PRODUCT], "service")}
    assert found == {"source", "left", "right", SERVICE}


def test_a_new_data_version_runs_what_reads_it(instance, tmp_path):
    run(make(), instance)
    changed = make(version="2")
    run(changed, instance, ["source"])
    planned = names(changed, instance, tmp_path)
    assert planned["left"] == "source changed"
    assert planned[SERVICE] == "left runs"
    run(changed, instance, ["left", "right"])
    # left gave the same data version again, so its reader has nothing to do
    assert names(changed, instance, tmp_path) == {}


def test_an_asset_that_yielded_nothing_is_still_due(instance, tmp_path):
    run(make(refuse=True), instance)
    assert list(names(make(refuse=True), instance, tmp_path)) == [SERVICE]
