"""Walks one product's chain from its feature table to a request that is answered, then stops it.

Run as ``python -m tests.contract.walk PRODUCT HOME`` in a process of its own: it belongs to the
tree it is started in. Everything is real but dbt, whose table and record are written here, from
generated rows. Writes what it saw as JSON to stdout; asserts nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import httpx

from assets.chain import build_product
from assets.dbt_passed import Passed
from assets.stages.kept import find_candidate_file
from models.contracts.api import GoldenSet
from models.contracts.product import ModelProduct
from models.registry import get, products
from orchestration.definitions import defs
from orchestration.resources import build_deployer
from orchestration.running import instance, stale
from orchestration.settings import Settings
from stores.files import sha256, write_atomic
from stores.home import Home
from stores.ledger import Ledger
from tests.contract.rows import feature_tables
from tests.graph.snapshot import render

ROWS = 1_500


def write_features(product: ModelProduct, home: Home) -> None:
    """The product's tables with the columns of every product that reads them, and dbt's records."""
    key, tables = product.data.features, feature_tables(product, ROWS)
    for other in products():
        if other.data.features == key:
            kept, more = tables[key], feature_tables(other, ROWS, seed=1)[key]
            new = {column: more[column] for column in more.columns.difference(kept.columns)}
            tables[key] = kept.assign(**new)
    for name, frame in tables.items():
        path = home.table(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path)
        record = Passed(sha256=sha256(path), definition="0" * 16)
        write_atomic(path.with_suffix(".passed"), record.model_dump_json())


def describe(product: ModelProduct, location: dg.Definitions) -> dict[str, Any]:
    """Keys, owners, tags and checks of the product's assets in the whole code location."""
    graph = location.resolve_asset_graph()
    return {
        key.to_user_string(): {
            "owners": list(graph.get(key).owners),
            "tags": {k: v for k, v in graph.get(key).tags.items() if not k.startswith("dagster/")},
            "group": graph.get(key).group_name,
            "parents": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "checks": sorted(check.name for check in graph.get_check_keys_for_assets({key})),
        }
        for key in graph.materializable_asset_keys
        if key.path[:-1] == product.key.split("/")
    }


def run_chain(product: ModelProduct, settings: Settings) -> dict[str, Any]:
    """One run of every stage, in this process."""
    deployer = build_deployer(settings)
    chain: Any = build_product(product).assets
    result = dg.materialize(
        chain,
        resources={
            "home": settings.home_paths(),
            "origin": settings.data_origin(),
            "tracking": settings.tracking(),
            "deployer": dg.ResourceDefinition.hardcoded_resource(deployer),
        },
        raise_on_error=False,
    )
    made = [event.asset_key for event in result.get_asset_materialization_events()]
    checks = result.get_asset_check_evaluations()
    return {
        "success": result.success,
        "materialized": [key.to_user_string() for key in made if key],
        "failed": {c.check_name: c.description for c in checks if not c.passed},
        "passed": [c.check_name for c in checks if c.passed],
        "seconds": {
            e.step_key: round(e.step_success_data.duration_ms / 1e3, 1)
            for e in result.all_events
            if e.is_step_success
        },
    }


def ask(product: ModelProduct, settings: Settings) -> dict[str, Any]:
    """What the service that is current now says of the golden requests, and of itself."""
    home = settings.home_paths()
    record = build_deployer(settings).current(product)
    release = Ledger(home.ledger(product)).current()
    if record is None or release is None:
        return {}
    folder = home.evaluation(product, release.evaluation_id)
    requests = find_candidate_file(folder, "golden", release.candidate_id)
    golden = GoldenSet.model_validate_json(requests.read_text())
    answer = httpx.post(f"{record.url}/predict", json={"rows": golden.rows}, timeout=30)
    document = httpx.get(f"{record.url}/docs.json", timeout=30).json()
    return {
        "bento": record.bento,
        "release": release.model_dump(mode="json"),
        "health": httpx.get(f"{record.url}/health", timeout=30).json(),
        "status": answer.status_code,
        "answered": [one["probability"] for one in answer.json().get("predictions", [])],
        "expected": list(golden.expected),
        "paths": sorted(document["paths"]),
    }


def planned(product: ModelProduct, location: dg.Definitions, settings: Settings) -> list[str]:
    """What ``assay run PRODUCT`` would run on a fresh Dagster instance."""
    with instance(settings) as found:
        reasons = stale(location, found, settings, product.key)
    return [key.to_user_string() for key in reasons]


def walk(key: str, home: Path) -> dict[str, Any]:
    """All of it; the service is stopped whatever happens."""
    settings = Settings(home=home, origin="generator", mirror=None, mlflow_uri=None)
    product = get(key)
    write_features(product, settings.home_paths())
    try:
        ran = run_chain(product, settings)
        asked = ask(product, settings)
    finally:
        stopped = build_deployer(settings).stop(product)
    location = defs()
    return {
        "ran": ran,
        "asked": asked,
        "stopped": stopped,
        "products": [product.key for product in products()],
        "assets": describe(product, location),
        "planned": planned(product, location, settings),
        "ledger": [e.kind for e in Ledger(settings.home_paths().ledger(product)).entries()],
        "graph": render(location),
        "tree": str(Path(sys.modules["models"].__file__ or "").parents[1]),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(walk(sys.argv[1], Path(sys.argv[2]))))
