"""Show 9: a product added by the guide is picked up by everything, and no other file changes.

The project is copied, ``docs/add-a-model.md`` is followed there to the letter (its own code blocks
are written), and its steps run in that copy. Slow (about a minute): it fits, packs and serves.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assets.dbt_manifest import load_manifest
from models.registry import products
from stores.files import sha256
from stores.service_process import marked, stop

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "add-a-model.md"
COPIED = (
    "models",
    "assets",
    "stores",
    "orchestration",
    "gateway",
    "bentos",
    "dbt_project",
    "tests",
)
OLD, NEW = "risk/sync_conflict", "risk/quick_conflict"
STAGES = ("dataset", "candidates", "evaluation", "promotion", "bento", "service")
#: Beside the chain: the way back, and files of rows (answered after the bento, when asked).
MONITORING, BATCH = "monitoring", "batch"
FILES = ("__init__.py", "learner.py", "product.py", "CARD.md")
#: "`path`" alone on a line, then a fenced block: a file of the guide.
BLOCK = re.compile(r"^`(models/\S+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def digests(tree: Path) -> dict[str, str]:
    """Every file but caches and what dbt generates."""
    files = (path for path in tree.rglob("*") if path.is_file())
    parts = {"__pycache__", "target", "logs"}
    return {str(f.relative_to(tree)): sha256(f) for f in files if not parts & set(f.parts)}


def run_here(tree: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python command in the copy, whose packages come first on the path."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(("ASSAY_", "DAGSTER_"))}
    given |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    done = subprocess.run(
        [sys.executable, *command], cwd=tree, env=given, capture_output=True, text=True,
        check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, with dbt's manifest as it is now."""
    load_manifest()
    made = tmp_path_factory.mktemp("project")
    skip = shutil.ignore_patterns("__pycache__", "logs", ".user.yml")
    for name in COPIED:
        shutil.copytree(ROOT / name, made / name, ignore=skip)
    shutil.copy2(ROOT / "pyproject.toml", made)
    return made


@pytest.fixture(scope="module")
def start(tree: Path) -> dict[str, str]:
    """The copy before anything was done to it."""
    return digests(tree)


@pytest.fixture(scope="module")
def changed(tree: Path, start: dict[str, str]) -> set[str]:
    """The guide's steps 1 to 4; what they changed in the tree."""
    shutil.copytree(tree / "models" / OLD, tree / "models" / NEW)
    for path, text in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        (tree / path).write_text(text, encoding="utf-8")
    after = digests(tree)
    return {path for path in start.keys() | after.keys() if start.get(path) != after.get(path)}


class Steps(NamedTuple):
    """The guide's step 6 in the copy."""

    #: What `tests.contract.walk` printed.
    told: dict[str, Any]
    #: Last line of `pytest tests/contract -k PRODUCT`.
    summary: str


@pytest.fixture(scope="module")
def steps(tree: Path, changed: set[str], tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """The chain walked and the contract tests run, at the same time."""
    home = tmp_path_factory.mktemp("home")
    walk = ("-m", "tests.contract.walk", NEW, str(home))
    test = ("-m", "pytest", "tests/contract", "-k", NEW, "-q", "-p", "no:cacheprovider")
    try:
        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(run_here, tree, *command) for command in (walk, test)]
            last = [done.result().stdout.splitlines()[-1] for done in running]
    finally:  # the walk stops its service; a killed walk cannot
        for folder in marked(home / "services" / NEW.replace("/", "_")):
            stop(Path(folder), 0.0)
    return Steps(json.loads(last[0]), last[1])


@pytest.fixture(scope="module")
def told(steps: Steps) -> dict[str, Any]:
    """What the walk through the chain saw."""
    return steps.told


def test_the_guide_gives_every_file_of_the_folder():
    found = [path for path, _ in BLOCK.findall(GUIDE.read_text(encoding="utf-8"))]
    assert found == [f"models/{NEW}/{name}" for name in FILES[1:]]


def test_only_the_new_folder_changed(changed: set[str]):
    assert changed == {f"models/{NEW}/{name}" for name in FILES}


def test_it_is_discovered(tree: Path, told: dict[str, Any]):
    assert told["tree"] == str(tree), "another copy of the project answered"
    assert told["products"] == sorted([NEW, *(product.key for product in products())])


def test_the_chain_makes_its_assets(told: dict[str, Any]):
    assert set(told["assets"]) == {f"{NEW}/{stage}" for stage in (*STAGES, MONITORING, BATCH)}
    before = ["features/risk/merges", *(f"{NEW}/{stage}" for stage in STAGES)]
    for stage, parent in zip(STAGES, before, strict=False):
        asset = told["assets"][f"{NEW}/{stage}"]
        assert asset["owners"] == ["team:sync"]
        assert asset["group"] == "risk_quick_conflict"
        tags = {"cadence": "weekly", "contract": "row_scores", "stage": stage}
        assert asset["tags"] == tags
        assert asset["parents"] == [parent]
    assert told["assets"][f"{NEW}/{BATCH}"]["parents"] == [f"{NEW}/bento"]
    traffic = ["traffic/orphans", "traffic/predictions", "traffic/refusals"]
    assert told["assets"][f"{NEW}/{MONITORING}"]["parents"] == traffic
    assert told["assets"][f"{NEW}/promotion"]["checks"] == ["approval", "gate"]
    assert told["assets"][f"{NEW}/service"]["checks"] == ["golden"]
    assert "target_leak" in told["assets"][f"{NEW}/dataset"]["checks"]


def test_the_graph_only_grew_by_them(told: dict[str, Any]):
    from orchestration.definitions import defs
    from tests.graph.snapshot import render

    lines = difflib.ndiff(render(defs()).splitlines(), told["graph"].splitlines())
    differences = [line for line in lines if line[0] in "+-"]
    assert not [line for line in differences if line.startswith("-")]
    assets = [line for line in differences if line.startswith("+ asset")]
    assert len(assets) == len(STAGES) + 2
    assert all(line.startswith(f"+ asset {NEW}/") for line in assets)
    assert not [line for line in differences if line.startswith(("+ job", "+ schedule"))]


def test_every_stage_ran_and_the_gate_let_its_first_champion_through(told: dict[str, Any]):
    ran = told["ran"]
    assert ran["failed"] == {}
    assert ran["success"]
    made = [key for key in ran["materialized"] if key != f"{NEW}/{BATCH}"]
    assert made == [f"{NEW}/{stage}" for stage in STAGES]
    assert f"{NEW}/{BATCH}" in ran["materialized"]
    assert {"gate", "golden", "schema", "target_leak"} <= set(ran["passed"])
    assert told["ledger"] == ["decision", "release", "rollout"]
    assert told["asked"]["release"]["product"] == NEW


def test_its_bento_serves_and_answers_as_the_model_did_offline(told: dict[str, Any]):
    asked = told["asked"]
    assert asked["bento"] == f"risk_quick_conflict:{asked['release']['version']}"
    assert asked["health"]["product"] == NEW
    assert asked["health"]["candidate_id"] == asked["release"]["candidate_id"]
    assert asked["status"] == 200
    assert len(asked["answered"]) > 10
    assert asked["answered"] == pytest.approx(asked["expected"], abs=1e-6)
    assert "/predict" in asked["paths"]
    assert told["stopped"], "it was not running any more"


def test_assay_run_plans_it_with_all_it_reads_and_nothing_else(told: dict[str, Any]):
    assert {f"{NEW}/{stage}" for stage in STAGES} < set(told["planned"])
    assert {"raw/merges", "features/risk/merges"} < set(told["planned"])
    assert [key for key in told["planned"] if key.startswith("raw/")] == ["raw/merges"]
    assert not [k for p in products() for k in told["planned"] if k.startswith(p.key)]


def test_the_contract_tests_take_it_up(steps: Steps):
    ran = re.match(r"(\d+) passed, (\d+) deselected", steps.summary)
    assert ran, steps.summary
    assert int(ran[1]) > 20


def test_no_step_needed_another_file(start: dict[str, str], tree: Path, steps: Steps):
    after = digests(tree)
    assert {path: after.get(path) for path in start} == start
    assert {path for path in after if path not in start} == {f"models/{NEW}/{n}" for n in FILES}
