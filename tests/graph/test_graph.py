"""The graph is what the committed snapshot says, loads light, and has no dangling dependency."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.graph.snapshot import render

SNAPSHOT = Path(__file__).with_name("asset_graph.txt")
HEAVY = ("torch", "sklearn", "pandas", "mlflow", "evidently", "bentoml", "xgboost", "dbt", "duckdb")


@pytest.fixture(scope="module")
def definitions():
    from orchestration.definitions import defs

    return defs()


def test_the_graph_is_the_committed_one(definitions):
    assert render(definitions) == SNAPSHOT.read_text(), "run `make graph` and review the diff"


def test_no_dependency_is_dangling(definitions):
    graph = definitions.resolve_asset_graph()
    external = [k.to_user_string() for k in graph.get_all_asset_keys() if graph.get(k).is_external]
    assert external == [], "a mistyped dep becomes an external asset"


def test_every_asset_is_owned_and_described(definitions):
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.owners, key
        assert node.description, key
        assert node.code_version, key


def test_weekly_is_monday_at_three(definitions):
    crons = {s.name: s.cron_schedule for s in definitions.get_repository_def().schedule_defs}
    assert crons["weekly_products"] == "0 3 * * 1"


def test_loading_the_code_location_imports_nothing_heavy():
    code = (
        "import sys; from orchestration.definitions import defs; defs();"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
