"""The graph is what the committed snapshot says, loads light, and has no dangling dependency."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.stages.common import JUDGED, stage_key
from models.registry import products
from orchestration.jobs import way_back
from orchestration.refresh import upstream
from tests.graph.snapshot import render

SNAPSHOT = Path(__file__).with_name("asset_graph.txt")
HEAVY = (
    *("torch", "sklearn", "pandas", "mlflow", "evidently", "bentoml", "xgboost", "dbt", "duckdb"),
    *("pyarrow", "scipy", "matplotlib", "apprise", "starlette", "httpx"),
)
LOCATION = "from orchestration.definitions import defs; defs().get_repository_def()"
#: Nothing makes them: the sensor `rollouts` tells Dagster of each step.
TOLD = {dg.AssetKey([*product.key.split("/"), "rollout"]) for product in products()}


@pytest.fixture(scope="module")
def definitions():
    from orchestration.definitions import defs

    return defs()


def test_the_graph_is_the_committed_one(definitions):
    assert render(definitions) == SNAPSHOT.read_text(), "run `make graph` and review the diff"


def test_no_dependency_is_dangling(definitions):
    graph = definitions.resolve_asset_graph()
    external = {key for key in graph.get_all_asset_keys() if graph.get(key).is_external}
    assert external == TOLD, "a mistyped dep becomes an external asset"


def test_every_asset_is_owned_and_described(definitions):
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.owners, key
        assert node.description, key
        assert node.code_version or key in TOLD, key


def test_weekly_is_monday_at_three(definitions):
    crons = {s.name: s.cron_schedule for s in definitions.get_repository_def().schedule_defs}
    assert crons["weekly_products"] == "0 3 * * 1"


def test_the_way_forward_never_rests_on_the_way_back(definitions):
    graph = definitions.resolve_asset_graph()
    forward = upstream(graph, products(), "service")
    back = way_back(products()).resolve(graph)
    assert not forward & back
    aside = {stage_key(product, "batch") for product in products()}  # when somebody asks
    assert not forward & aside
    ways = forward | back | TOLD | aside
    assert ways == graph.get_all_asset_keys(), "every asset is on one of the two ways"


def test_products_and_their_monitoring_must_stay_fresh(definitions):
    graph = definitions.resolve_asset_graph()
    for product in products():
        for stage, (warn, fail) in {
            "evaluation": JUDGED[product.cadence],
            "monitoring": (timedelta(hours=12), timedelta(hours=24)),
        }.items():
            key = dg.AssetKey([*product.key.split("/"), stage])
            policy = graph.get(key).freshness_policy
            assert (policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta()) == (
                warn,
                fail,
            ), key


def test_loading_the_code_location_imports_nothing_heavy():
    code = f"import sys; {LOCATION}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
