"""Does anything that may be sent make a service fail? schemathesis over every documented route.

    python -m benchmarks.fuzz_routes [--cases 2000] [SERVICE ...]

Small models of all products are fitted, sealed, built and rolled out; then each product's own
service, the front door in one process and the router are asked at least so many requests that are
made from their own documents, valid ones and broken ones, until the count is reached. No answer may
be 5xx (one that says "not now" counts as well), and each must have a status, a content type and a
body that the document promises. Exit code 1 when any of this does not hold.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.deployments import Running, deployments
from benchmarks.stopping import leave_nothing_behind
from tests.service.fuzzing import Found, fuzz
from tests.service.site import TENANTS

#: Requests per operation and run: coverage makes some hundred beside these.
EXAMPLES = 150
MOST_RUNS = 12


def until(one: Running, cases: int, folder: Path) -> Found:
    """Fuzz with one seed after the other until enough was answered."""
    found = Found()
    for seed in range(1, MOST_RUNS + 1):
        # what coverage makes is the same for every seed
        phases = "examples,coverage,fuzzing" if seed == 1 else "fuzzing"
        found += fuzz(
            one.url, folder / one.name.replace("/", "-"), tenants=TENANTS, examples=EXAMPLES,
            seed=seed, phases=phases,
        )  # fmt: skip
        if found.cases >= cases or found.failures:
            break
    return found


def main() -> None:
    """Start everything, ask, print."""
    leave_nothing_behind()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("services", nargs="*", help="only these; all if left out")
    parser.add_argument("--cases", type=int, default=2000, help="per service")
    given = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        running = deployments(stack, Path(name) / "home")
        print("| service | operations | requests | by status | 5xx | failed checks |")
        print("| --- | --- | --- | --- | --- | --- |")
        for one in running:
            if given.services and one.name not in given.services:
                continue
            found = until(one, given.cases, Path(name))
            told = ", ".join(f"{status}: {count}" for status, count in found.by_status().items())
            operations = len({operation for operation, _ in found.statuses})
            print(f"| {one.name} | {operations} | {found.cases} | {told} | {found.broken} |"
                  f" {len(found.failures)} |", flush=True)  # fmt: skip
            for failure in found.failures[:20]:
                print(f"  {failure}")
            bad += found.broken + len(found.failures) + (found.cases < given.cases)
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
