"""Runs what the planner names, in this process, against the persistent Dagster instance."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from assets.raw import SOURCES
from models.contracts.product import ModelProduct
from models.registry import get, products
from orchestration.recovery import end_dead_runs
from orchestration.refresh import Reasons, Workplace, plan
from orchestration.settings import Settings
from stores.files import write_atomic

TEMPLATE = Path(__file__).with_name("dagster.yaml")
#: Beside it, where Dagster has a database of its own.
DATABASE = Path(__file__).with_name("dagster_postgres.yaml")


@contextmanager
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance below the home, made on first use."""
    folder = settings.home_paths().dagster
    folder.mkdir(parents=True, exist_ok=True)
    parts = (TEMPLATE, DATABASE) if settings.dagster_url else (TEMPLATE,)
    wanted, kept = "".join(part.read_text("utf-8") for part in parts), folder / "dagster.yaml"
    if not kept.exists() or kept.read_text(encoding="utf-8") != wanted:
        write_atomic(kept, wanted)
    os.environ["DAGSTER_HOME"] = str(folder)
    # torch, not yet loaded, else spins on cores that others want: a fit can take ten times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with dg.DagsterInstance.from_config(str(folder)) as found:
        yield found


def workplace(settings: Settings, chosen: Sequence[ModelProduct] | None = None) -> Workplace:
    """What to compare the event log with, for all products or some."""
    return Workplace(settings.home_paths(), settings.data_origin(), SOURCES, chosen or products())


def stale(
    definitions: dg.Definitions, found: dg.DagsterInstance, settings: Settings, key: str | None
) -> Reasons:
    """The plan for one product (with everything it reads) or for all."""
    graph = definitions.resolve_asset_graph()
    chosen = [get(key)] if key else products()
    return plan(graph, found, workplace(settings, chosen))


def execute(
    definitions: dg.Definitions,
    found: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """One run of exactly these assets with their checks; a failure is a result, no exception."""
    end_dead_runs(found)
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=found,
        asset_selection=list(keys),
        raise_on_error=False,
        run_config={"loggers": {"console": {}}},
        tags=tags,
    )
