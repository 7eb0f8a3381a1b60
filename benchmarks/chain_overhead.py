"""What Dagster adds: one run of the graph against the same functions called plainly.

Both sides start from an empty home on the same generated events and end with a packed bento; the
roll-out is left out because waiting for a process to start is neither side's own cost. Rounds
alternate, so that a machine that changes its speed hits both. Each side runs in a process of its
own and pays its own imports.

    .venv/bin/python benchmarks/chain_overhead.py --rows 6000 --rounds 3
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = ("dataset", "candidates", "evaluation", "promotion", "bento")


def plainly(home_folder: Path, rows: int) -> None:
    """Every step of every product, without Dagster."""
    from assets.dbt import run_build
    from assets.dbt_manifest import load_manifest, nodes
    from assets.dbt_passed import write_passed
    from assets.raw import SOURCES, land_source
    from assets.stages.bento import current_release, pack
    from assets.stages.candidates import fit_all
    from assets.stages.dataset import take_snapshot
    from assets.stages.evaluation import evaluate
    from assets.stages.promotion import promote
    from models.registry import products
    from stores.home import Home
    from stores.origin import Origin
    from stores.tracking import Tracking

    home, origin = Home(home_folder), Origin(kind="generator", rows=rows)
    tracking = Tracking(f"sqlite:///{home_folder}/mlflow.db", home_folder / "mlruns")
    for source in SOURCES:
        land_source(source, home, origin, print)
    models = nodes(load_manifest())
    run_build(home, models, print)
    for model in models:
        write_passed(home, model, models)
    for product in products():
        taken = take_snapshot(product, home, origin.chosen())
        if taken.snapshot is None:
            raise SystemExit([check.message for check in taken.checks if not check.passed])
        fit_all(product, home, tracking, print)
        evaluate(product, home, tracking, print)
        promote(product, home, tracking)
        pack(product, current_release(product, home), home)


def through_dagster(home_folder: Path, rows: int) -> None:
    """The same assets in one in-process run on a persistent instance."""
    import dagster as dg

    from models.registry import products
    from orchestration.definitions import defs
    from orchestration.running import execute, instance
    from orchestration.settings import Settings

    settings = Settings(home=home_folder, origin="generator", generator_rows=rows)
    services = {dg.AssetKey([*p.key.split("/"), "service"]) for p in products()}
    with instance(settings) as found:
        definitions = defs()
        keys = definitions.resolve_asset_graph().get_all_asset_keys() - services
        if not execute(definitions, found, sorted(keys)).success:
            raise SystemExit("the run failed")


def measure(side: str, rows: int) -> tuple[float, float]:
    """Wall and CPU seconds of one side in a fresh process on a fresh home."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "ASSAY_HOME": folder, "ASSAY_ORIGIN": "generator",
                       "ASSAY_GENERATOR_ROWS": str(rows)}  # fmt: skip
        line = [sys.executable, __file__, "--side", side, "--home", folder, "--rows", str(rows)]
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(line, env=environment, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)  # fmt: skip
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, spent


def main() -> None:
    """Print a table of both sides and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=("plain", "dagster"))
    parser.add_argument("--home", type=Path)
    asked = parser.parse_args()
    if asked.side:
        {"plain": plainly, "dagster": through_dagster}[asked.side](asked.home, asked.rows)
        return
    found: dict[str, list[tuple[float, float]]] = {"plain": [], "dagster": []}
    for number in range(asked.rounds):
        for side, values in found.items():
            values.append(measure(side, asked.rows))
            wall, spent = values[-1]
            print(f"round {number + 1} {side}: {wall:.1f} s, CPU {spent:.1f} s", file=sys.stderr)
    print("| | plain | Dagster | ratio, median of rounds |\n|---|---|---|---|")
    for name, index in (("wall s", 0), ("CPU s", 1)):
        plain, dagster = ([value[index] for value in found[side]] for side in ("plain", "dagster"))
        ratio = statistics.median(b / a for a, b in zip(plain, dagster, strict=True))
        print(f"| {name} | {statistics.median(plain):.1f} | {statistics.median(dagster):.1f} "
              f"| {ratio:.3f} |")  # fmt: skip


if __name__ == "__main__":
    main()
