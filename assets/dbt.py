"""The dbt project as assets: one spec per model, one check per data test and unit test.

Made without importing dbt, so that the code location loads fast (why not dagster-dbt:
docs/decisions/0002-dbt-assets.md). Only this module builds, and only dbt opens the warehouse.
Knows nothing of products.
"""

import json
import subprocess
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import dagster as dg

from assets.dbt_manifest import DbtError, Node, Test, command, nodes, tests
from assets.dbt_passed import write_passed
from stores.home import Home
from stores.spool import TrafficPolicy

#: First part of the keys of what is made from the services' logs.
WAY_BACK = "traffic"
NOT_RUN: Mapping[str, Any] = {"status": "skipped", "message": "not run: something above failed"}


def build_dbt_assets(manifest: Mapping[str, Any]) -> dg.AssetsDefinition:
    """The way to the features: one subsettable multi-asset, in the warehouse's pool of one."""
    project = _Project.of(manifest)
    mine = [model for model in project.models if model.key.path[0] != WAY_BACK]

    @_multi_asset("dbt", mine, project)
    def dbt(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[Any]:
        """Build and test the selected models."""
        yield from _build(context, home, project, {})

    return dbt


def build_traffic_assets(manifest: Mapping[str, Any]) -> dg.AssetsDefinition:
    """The way back, apart: a fault in the log of traffic never keeps a product from its data."""
    project = _Project.of(manifest)
    mine = [model for model in project.models if model.key.path[0] == WAY_BACK]

    @_multi_asset(f"dbt_{WAY_BACK}", mine, project)
    def dbt_traffic(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        traffic: dg.ResourceParam[TrafficPolicy],
    ) -> Iterator[Any]:
        """Build and test the selected models."""
        variables = {
            "ASSAY_OUTCOME_AFTER_HOURS": str(traffic.outcome_after_hours),
            "ASSAY_OUTCOME_WITHIN_DAYS": str(traffic.outcome_within_days),
        }
        yield from _build(context, home, project, variables)

    return dbt_traffic


def run_build(
    home: Home,
    models: Sequence[Node],
    say: Callable[[str], object],
    variables: Mapping[str, str] | None = None,
) -> dict[str, dict[str, Any]]:
    """``dbt build`` of these models with their tests.

    Args:
        home: Whose warehouse.
        models: What to build.
        say: Told every line that dbt prints.
        variables: Environment variables that the SQL asks for.

    Returns:
        Unique id to dbt's result (``status``, ``message``, ``execution_time``).

    Raises:
        DbtError: dbt ended before it had results (e.g. the warehouse is locked).
    """
    for model in models:
        home.table(model.key.to_user_string()).parent.mkdir(parents=True, exist_ok=True)
    target = home.root / "dbt"
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    line, environment = command(
        "build",
        "--select",
        *(model.name for model in models),
        "--target-path",
        str(target),
        "--log-path",
        str(target / "logs"),
        home=home.root,
    )
    tail: list[str] = []
    with subprocess.Popen(
        line,
        env={**environment, **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for text in process.stdout or ():
            tail = [*tail[-19:], text.rstrip()]
            say(text.rstrip())
    if not results.exists():
        raise DbtError("dbt ended without results:\n" + "\n".join(tail))
    found = json.loads(results.read_text(encoding="utf-8"))["results"]
    return {result["unique_id"]: result for result in found}


class _Project(NamedTuple):
    models: Sequence[Node]
    guards: Sequence[Test]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "_Project":
        return cls(nodes(manifest), tests(manifest))


def _multi_asset(
    name: str, mine: Sequence[Node], project: _Project
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    keys = {model.unique_id: model.key for model in mine}
    return dg.multi_asset(
        name=name,
        specs=[_spec(model) for model in mine],
        check_specs=[
            dg.AssetCheckSpec(
                t.name, asset=keys[t.model], description=t.description or None, blocking=not t.warns
            )
            for t in project.guards
            if t.model in keys
        ],
        can_subset=True,
        pool="duckdb",
    )


def _build(
    context: dg.AssetExecutionContext, home: Home, project: _Project, variables: Mapping[str, str]
) -> Iterator[Any]:
    """Run dbt on the selected models; yield a result per test and per model that passed its own.

    Raises:
        dg.Failure: A model was not built; the message is dbt's.
    """
    chosen = [model for model in project.models if model.key in context.selected_asset_keys]
    results = run_build(home, chosen, context.log.info, variables)
    selected = context.selected_asset_check_keys
    healthy = yield from _checks(chosen, project.guards, results, selected)
    for model in healthy:
        seconds = float(results[model.unique_id]["execution_time"])
        yield _materialization(model, project.models, seconds, home)
    broken = [m for m in chosen if _status(results, m.unique_id) == "error"]
    if broken:
        reasons = "; ".join(f"{m.name}: {results[m.unique_id]['message']}" for m in broken)
        raise dg.Failure(f"dbt could not build {reasons}")


def _checks(
    chosen: Sequence[Node],
    guards: Sequence[Test],
    results: Mapping[str, Mapping[str, Any]],
    selected: AbstractSet[dg.AssetCheckKey],
) -> Generator[dg.AssetCheckResult, None, list[Node]]:
    """A result per test; returns the models that were built and whose tests all passed."""
    healthy = []
    for model in chosen:
        fine = _status(results, model.unique_id) == "success"
        for test in (t for t in guards if t.model == model.unique_id):
            passed = _status(results, test.unique_id) in ("pass", "success")
            fine = fine and (passed or test.warns)
            if dg.AssetCheckKey(model.key, test.name) in selected:
                yield _check(model, test, passed, results.get(test.unique_id, NOT_RUN))
        if fine:
            healthy.append(model)
    return healthy


def _status(results: Mapping[str, Mapping[str, Any]], unique_id: str) -> str:
    return str(results.get(unique_id, NOT_RUN)["status"])


def _check(
    model: Node, test: Test, passed: bool, outcome: Mapping[str, Any]
) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.WARN if test.warns else dg.AssetCheckSeverity.ERROR
    message = outcome.get("message") or outcome["status"]
    if outcome["status"] == "skipped":
        message = NOT_RUN["message"]
    elif test.description and not passed:
        message = f"{test.description} ({message})"
    return dg.AssetCheckResult(
        asset_key=model.key,
        check_name=test.name,
        passed=passed,
        severity=severity,
        description=message,
        metadata={"failures": outcome.get("failures") or 0},
    )


def _materialization(
    model: Node, models: Sequence[Node], seconds: float, home: Home
) -> dg.MaterializeResult[None]:
    metadata: dict[str, Any] = {"seconds": seconds}
    record = write_passed(home, model, models)
    if record is None:
        return dg.MaterializeResult(asset_key=model.key, metadata=metadata)
    import pyarrow.parquet as pq

    file = home.table(model.key.to_user_string())
    metadata |= {
        "dagster/row_count": pq.read_metadata(file).num_rows,
        "path": dg.MetadataValue.path(str(file)),
        "sha256": record.sha256,
    }
    version = dg.DataVersion(record.sha256[:16])
    return dg.MaterializeResult(asset_key=model.key, metadata=metadata, data_version=version)


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
