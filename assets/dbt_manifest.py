"""Reads dbt's manifest: which models there are, what they read, which tests guard them.

Makes no asset and runs no build (``assets.dbt`` does). Imports no dbt.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg

PROJECT = Path(__file__).parents[1] / "dbt_project"
MANIFEST = PROJECT / "target" / "manifest.json"
SOURCES = ("*.sql", "*.yml", "*.yaml")


class DbtError(Exception):
    """dbt could not be run at all; the message holds its last lines."""


class Node(NamedTuple):
    """A dbt model as the graph needs it."""

    unique_id: str
    name: str
    key: dg.AssetKey
    deps: tuple[dg.AssetKey, ...]
    description: str
    code_version: str
    columns: Mapping[str, Any]
    owner: str | None


class Test(NamedTuple):
    """A dbt data test or unit test, attached to one model."""

    unique_id: str
    name: str
    model: str
    description: str
    warns: bool


def command(*arguments: str, home: Path) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a dbt call on the warehouse of ``home``."""
    line = [
        str(Path(sys.executable).with_name("dbt")),
        *arguments,
        "--project-dir",
        str(PROJECT),
        "--profiles-dir",
        str(PROJECT),
        "--no-use-colors",
    ]
    environment = {**os.environ, "ASSAY_HOME": str(home.absolute()), "DO_NOT_TRACK": "1"}
    return line, environment


def load_manifest() -> dict[str, Any]:
    """The manifest of dbt, parsed anew when a file of the project is younger than it.

    Raises:
        DbtError: The project does not parse; the message is dbt's.
    """
    newest = max(
        p.stat().st_mtime for s in SOURCES for p in PROJECT.rglob(s) if "target" not in p.parts
    )
    if not MANIFEST.exists() or MANIFEST.stat().st_mtime < newest:
        line, environment = command("parse", "--quiet", home=PROJECT / "target")
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DbtError(f"dbt parse failed; mend the project:\n{done.stdout}{done.stderr}")
        MANIFEST.touch()
    manifest: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return manifest


def nodes(manifest: Mapping[str, Any]) -> list[Node]:
    """Every model with its asset key and the keys it reads; what is read comes first."""
    found = [
        Node(
            unique_id=unique_id,
            name=node["name"],
            key=asset_key(node),
            deps=tuple(
                asset_key(manifest["nodes"].get(parent) or manifest["sources"][parent])
                for parent in node["depends_on"]["nodes"]
            ),
            description=node["description"],
            code_version=_code_version(node, manifest),
            columns=node["columns"],
            owner=node["config"].get("meta", {}).get("owner"),
        )
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "model"
    ]
    by_key = {node.key: node for node in found}
    order = TopologicalSorter({node.key: set(node.deps) & set(by_key) for node in found})
    return [by_key[key] for key in order.static_order()]


def tests(manifest: Mapping[str, Any]) -> list[Test]:
    """Every data test and unit test with the model it guards."""
    models = {u for u, n in manifest["nodes"].items() if n["resource_type"] == "model"}
    found = []
    for unique_id, node in [*manifest["nodes"].items(), *manifest["unit_tests"].items()]:
        if node["resource_type"] not in ("test", "unit_test"):
            continue
        guarded = node.get("attached_node") or next(
            (p for p in reversed(node["depends_on"]["nodes"]) if p in models), None
        )
        if guarded and guarded in models:
            warns = str(node["config"].get("severity", "error")).lower() == "warn"
            text = node.get("description") or ""
            found.append(Test(unique_id, node["name"], guarded, text, warns))
    return found


def asset_key(node: Mapping[str, Any]) -> dg.AssetKey:
    """The asset key a node states in ``meta.dagster.asset_key``.

    Raises:
        DbtError: It states none.
    """
    meta = {**node.get("meta", {}), **node["config"].get("meta", {})}
    path = meta.get("dagster", {}).get("asset_key")
    if not path:
        raise DbtError(f"{node['unique_id']}: give it meta.dagster.asset_key")
    return dg.AssetKey(path)


def _code_version(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Digest of the SQL, its configuration, and the project's macros it calls."""
    macros = [
        manifest["macros"][m]["macro_sql"]
        for m in sorted(node["depends_on"]["macros"])
        if manifest["macros"][m]["package_name"] == node["package_name"]
    ]
    text = json.dumps([node["raw_code"], node["config"], macros], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
