"""kill -9 in every stage of the chain: what is there afterwards is what a clean run leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.stages.evaluation import COST
from orchestration.running import instance
from orchestration.watch import sweep
from stores.files import sha256
from tests.flow.chain import CHEAP, Place

#: Audit event and a part of the path before whose writing the process dies, in the order of the
#: chain: in each stage before its result gets its name, once between a result and its pointer.
KILLS = [
    ("os.rename", "raw/merges/"),
    ("os.rename", "features/risk/merges.passed"),
    ("os.rename", "/datasets/"),
    ("os.rename", "/candidates/risk_sync_conflict/"),
    ("os.rename", "latest/risk_sync_conflict/candidates"),
    ("os.rename", "/evaluations/"),
    ("open", "ledger/risk_sync_conflict.jsonl"),
    ("os.rename", "bentos/models/"),
    ("os.rename", "bentos/bentos/"),
    ("open", "ledger/risk_sync_conflict.jsonl"),  # the roll-out's entry: the gate has spoken
]
#: Times that were measured, not computed: they differ between two clean runs as well.
MEASURED = {"fit_seconds", "latency_p50_ms", "latency_p95_ms", "files", "size_bytes", COST}


def run_killed(home: Path) -> list[int]:
    """Exit codes of runs that die at each of these writes in turn, each going on from the last."""
    line = [sys.executable, "-m", "tests.flow.killed", str(home), *chain.from_iterable(KILLS)]
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, timeout=300)
    codes: list[int] = json.loads(done.stdout)
    return codes


def without_times(value: Any) -> Any:
    """A manifest without what was measured."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in MEASURED}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def made(place: Place) -> dict[str, Any]:
    """Every result of the chain by name: digests of data and models, manifests without times."""
    found: dict[str, Any] = {}
    for kept in ("raw", "datasets", "candidates", "evaluations", "latest"):
        for file in sorted((place.root / kept).rglob("*")):
            name = str(file.relative_to(place.root))
            if "/." in name or not file.is_file():  # unnamed: of a killed process, read by nobody
                continue
            if file.suffix in (".parquet", ".skops", ".ubj") or kept == "latest":
                found[name] = sha256(file)
            elif file.suffix == ".json" and file.name in ("manifest.json", "evaluation.json"):
                found[name] = without_times(json.loads(file.read_text()))
    entries = place.ledger.entries()
    return found | {"ledger": [entry.kind for entry in entries]}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, list[int]]:
    """One home whose runs were killed ten times, then one run that was not."""
    place = Place(tmp_path_factory.mktemp("killed") / "home", CHEAP)
    return place, run_killed(place.root)


def test_every_run_was_killed_and_the_next_one_finishes_as_if_nothing_had_been(
    killed: tuple[Place, list[int]], base: Place
):
    place, codes = killed
    assert codes == [-9] * len(KILLS)
    assert place.refresh().success
    assert made(place) == made(base)
    assert place.plan() == {}


def test_the_alert_table_says_which_runs_were_killed_and_what_to_do(
    killed: tuple[Place, list[int]],
):
    place, codes = killed
    with instance(place.settings) as found:
        told = sweep(place.settings, found, None, datetime.now(UTC), [place.product])
        ended = found.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    failed = [one for one in told if one.kind == "run_failed"]
    assert len(failed) == len(ended) == len(codes)
    assert all("is gone: killed" in one.model_dump_json() for one in failed)
