"""How long the code location takes to load, against importing Dagster alone.

.venv/bin/python benchmarks/code_location.py
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

SIDES = {
    "python": "pass",
    "import dagster": "import dagster",
    "code location": "from orchestration.definitions import defs; defs().get_repository_def()",
}


def measure(code: str) -> tuple[float, float]:
    """Wall and CPU seconds of a fresh interpreter that runs ``code``."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a table of medians over alternating rounds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    measure(SIDES["code location"])  # parses the dbt project once if it has to
    found = {name: [] for name in SIDES}
    for _ in range(rounds):
        for name, code in SIDES.items():
            found[name].append(measure(code))
    print("| | wall s | CPU s |\n|---|---|---|")
    for name, values in found.items():
        wall, spent = (statistics.median(v[i] for v in values) for i in (0, 1))
        print(f"| {name} | {wall:.2f} | {spent:.2f} |")


if __name__ == "__main__":
    main()
