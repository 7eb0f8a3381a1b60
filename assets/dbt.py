"""The dbt project as assets: one spec per model, one check per data test and unit test.

Made without importing dbt, so that the code location loads fast (why not dagster-dbt:
docs/decisions/0002-dbt-assets.md). Only this module builds, and only dbt opens the warehouse.
Knows nothing of products.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from assets.dbt_manifest import DbtError, Node, Test, command, nodes, tests
from stores.files import sha256, write_atomic
from stores.home import Home


def build_dbt_assets(manifest: Mapping[str, Any]) -> dg.AssetsDefinition:
    """One subsettable multi-asset over all models, in the warehouse's pool of one."""
    models, guards = nodes(manifest), tests(manifest)
    keys = {model.unique_id: model.key for model in models}

    @dg.multi_asset(
        name="dbt",
        specs=[_spec(model) for model in models],
        check_specs=[
            dg.AssetCheckSpec(
                t.name, asset=keys[t.model], description=t.description or None, blocking=not t.warns
            )
            for t in guards
        ],
        can_subset=True,
        pool="duckdb",
    )
    def dbt(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[Any]:
        """Build and test the selected models."""
        chosen = [model for model in models if model.key in context.selected_asset_keys]
        results = run_build(home, [model.name for model in chosen], context.log.info)
        yield from _events(chosen, guards, results, context.selected_asset_check_keys, home)

    return dbt


def run_build(home: Home, names: list[str], say: Any = print) -> dict[str, dict[str, Any]]:
    """``dbt build`` of these models with their tests.

    Returns:
        Unique id to dbt's result (``status``, ``message``, ``execution_time``).

    Raises:
        DbtError: dbt ended before it had results (e.g. the warehouse is locked).
    """
    target = home.root / "dbt"
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    (home.root / "features").mkdir(parents=True, exist_ok=True)
    line, environment = command(
        "build",
        "--select",
        *names,
        "--target-path",
        str(target),
        "--log-path",
        str(target / "logs"),
        home=home.root,
    )
    tail: list[str] = []
    with subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for text in process.stdout or ():
            tail = [*tail[-19:], text.rstrip()]
            say(text.rstrip())
    if not results.exists():
        raise DbtError("dbt ended without results:\n" + "\n".join(tail))
    found = json.loads(results.read_text(encoding="utf-8"))["results"]
    return {result["unique_id"]: result for result in found}


def passed_digest(home: Home, key: str) -> str | None:
    """Digest of the table's file when its tests last passed; None when they never did."""
    record = home.table(key).with_suffix(".passed")
    return record.read_text(encoding="utf-8") if record.exists() else None


def _events(
    chosen: list[Node],
    guards: list[Test],
    results: Mapping[str, Mapping[str, Any]],
    selected_checks: Any,
    home: Home,
) -> Iterator[Any]:
    """A result per test, and an output per model that was built and whose tests all passed."""
    for model in chosen:
        result = results.get(model.unique_id, {"status": "skipped", "message": "upstream failed"})
        healthy = result["status"] == "success"
        for test in (t for t in guards if t.model == model.unique_id):
            outcome = results.get(test.unique_id, {"status": "skipped", "message": "not run"})
            passed = outcome["status"] in ("pass", "success")
            healthy = healthy and (passed or test.warns)
            if dg.AssetCheckKey(model.key, test.name) in selected_checks:
                yield _check(model, test, passed, outcome)
        if healthy:
            yield _materialization(model, result, home)
        elif result["status"] not in ("success", "skipped"):
            raise dg.Failure(f"dbt could not build {model.name}: {result['message']}")


def _check(
    model: Node, test: Test, passed: bool, outcome: Mapping[str, Any]
) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.WARN if test.warns else dg.AssetCheckSeverity.ERROR
    message = outcome.get("message") or outcome["status"]
    return dg.AssetCheckResult(
        asset_key=model.key,
        check_name=test.name,
        passed=passed,
        severity=severity,
        description=message,
        metadata={"failures": outcome.get("failures") or 0},
    )


def _materialization(
    model: Node, result: Mapping[str, Any], home: Home
) -> dg.MaterializeResult[None]:
    metadata: dict[str, Any] = {"seconds": float(result["execution_time"])}
    file = home.table(model.key.to_user_string())
    if not file.exists():
        return dg.MaterializeResult(asset_key=model.key, metadata=metadata)
    import pyarrow.parquet as pq

    digest = sha256(file)
    write_atomic(file.with_suffix(".passed"), digest)
    metadata |= {
        "dagster/row_count": pq.read_metadata(file).num_rows,
        "path": dg.MetadataValue.path(str(file)),
        "sha256": digest,
    }
    return dg.MaterializeResult(
        asset_key=model.key, metadata=metadata, data_version=dg.DataVersion(digest[:16])
    )


def _spec(model: Node) -> dg.AssetSpec:
    columns = [
        dg.TableColumn(name, column.get("data_type") or "?", description=column["description"])
        for name, column in model.columns.items()
    ]
    return dg.AssetSpec(
        model.key,
        deps=model.deps,
        description=model.description,
        group_name="_".join(model.key.path[:-1]),
        code_version=model.code_version,
        owners=[model.owner] if model.owner else [],
        kinds={"dbt", "duckdb"},
        skippable=True,
        metadata={"dagster/column_schema": dg.TableSchema(columns=columns)},
    )
