r"""One text model served five ways, in one run: requests per second, latency, CPU per request.

    python -m benchmarks.serving_speed [--seconds 15] [--rounds 3] [--json FILE] [--more] [--quick]

One classifier over MiniLM, fitted once; the same 2,000 texts of the generator in the same order for
all; no cache anywhere. ``plain`` is what a tutorial writes and ``expert`` what somebody who knows
writes (``benchmarks/baselines``), as one process of two threads and as two of one: the better one
counts, at each number of clients. ``torch`` and ``int8_fixed`` are ours, with the log on.
``loop`` is the network alone in two threads of 16 texts, tokenising included, without any service.
``--more`` adds ours in dynamic INT8 (asked text by text), and without the fast lane.

Every figure is the median over rounds in which all take turns, so that a slow minute of the machine
hits all of them. Client and service share the cores; CPU of a request is that of the service alone,
and it is what can be compared on a machine that others use.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import load
from benchmarks import serving_systems as systems
from benchmarks.baselines import prepared
from benchmarks.serving_systems import Forms, Loop, System
from benchmarks.stopping import leave_nothing_behind

TEXTS, ROWS, CLIENTS, MANY_CLIENTS = 2000, 16, (1, 8, 64), 8
PLAIN, EXPERTS, TORCH, OURS, LOOP = (
    "plain",
    ("expert 1x2", "expert 2x1"),
    "torch",
    "int8_fixed",
    "loop",
)
EXPERT = "expert, better"
SPEEDUP, AHEAD, SLOWER_MS, OF_LOOP = 4.0, 1.2, 1.0, 0.85
FIGURES = ("rate", "p50", "p95", "p99", "cpu_ms", "client_ms")

Figures = dict[str, float]


class Case(NamedTuple):
    """A service and how it is asked: by so many clients, so many rows at once."""

    name: str
    clients: int
    rows: int


Ask = Callable[[float], Figures]
Results = dict[Case, Figures]


def main() -> None:
    """Read the arguments, measure, print."""
    leave_nothing_behind()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="per case and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--more", action="store_true", help="other ways of ours too")
    parser.add_argument("--quick", action="store_true", help="2 s, one round: does it work?")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    seconds, rounds = (2.0, 1) if options.quick else (options.seconds, options.rounds)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        texts = systems.texts(TEXTS)
        cases = started(stack, Path(name), texts, more=options.more)
        results = better_expert(measured(cases, seconds, rounds))
    goals = judged(results)
    print(
        f"{rounds} rounds of {seconds:g} s, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"\n{table(results)}\n")
    for goal, met in goals.items():
        print(f"{'met   ' if met else 'missed'}  {goal}")
    if options.json:
        lines = [{**case._asdict(), **figures} for case, figures in results.items()]
        options.json.write_text(json.dumps({"cases": lines, "goals": goals}, indent=1))
    raise SystemExit(0 if all(goals.values()) or options.quick else 1)


def started(stack: ExitStack, root: Path, texts: Sequence[str], *, more: bool) -> dict[Case, Ask]:
    """Everything that is measured, running."""
    forms = systems.fitted()
    running = [stack.enter_context(one) for one in services(root, forms, more=more)]
    single, many = (bodies(texts, rows) for rows in (1, ROWS))
    cases: dict[Case, Ask] = {
        Case(one.name, clients, 1): asking(one, clients, single)
        for clients in CLIENTS
        for one in running
    }
    loop = Loop(forms.int8_fixed, texts)
    for one in running:
        if one.name not in {PLAIN, TORCH}:  # sixteen rows are asked where there is a goal
            cases[Case(one.name, MANY_CLIENTS, ROWS)] = asking(one, MANY_CLIENTS, many)
    cases[Case(LOOP, systems.LOOP_THREADS, ROWS)] = lambda seconds: dict(loop.run(seconds))
    return cases


def services(root: Path, forms: Forms, *, more: bool) -> Iterator[ExitStack]:
    """The services, not started yet."""
    folder = root / "baselines"
    prepared.prepare(forms.torch, folder)
    fast = ("--loop", "uvloop", "--http", "httptools", "--no-access-log")
    yield systems.baseline(PLAIN, "plain", folder)
    for name, workers, threads in zip(EXPERTS, ("1", "2"), (2, 1), strict=True):
        yield systems.baseline(name, "expert", folder, "--workers", workers, *fast, threads=threads)
    yield systems.ours(TORCH, root / "torch", forms.torch)
    yield systems.ours(OURS, root / "fixed", forms.int8_fixed)
    if more:
        yield systems.ours("int8, by text", root / "int8", forms.int8)
        yield systems.ours("no fast lane", root / "slow", forms.int8_fixed, ASSAY_FAST_LANE="0")


def bodies(texts: Sequence[str], rows: int) -> list[bytes]:
    """The texts as requests of so many rows."""
    told = systems.rows_of(texts)
    return [json.dumps({"rows": told[i : i + rows]}).encode() for i in range(0, len(told), rows)]


def asking(system: System, clients: int, asked: Sequence[bytes]) -> Ask:
    """Measures one case for some seconds."""

    def ask(seconds: float) -> Figures:
        before = load.cpu_seconds([system.pid])
        requests = load.requests(system.url, itertools.cycle(asked))
        done = load.run(
            system.url, requests, connections=clients, seconds=seconds, version=system.version
        )
        if done.failed:
            raise SystemExit(f"{system.name} failed: {done}")
        count = done.statuses.total()
        p50, p95, p99 = (1000 * done.quantile(q) for q in (0.5, 0.95, 0.99))
        used = load.cpu_seconds([system.pid]) - before
        return {
            "rate": done.rate, "p50": p50, "p95": p95, "p99": p99,
            "cpu_ms": 1000 * used / count, "client_ms": 1000 * done.cpu / count,
        }  # fmt: skip

    return ask


def measured(cases: Mapping[Case, Ask], seconds: float, rounds: int) -> Results:
    """Median of every figure over the rounds."""
    for ask in cases.values():
        ask(min(seconds, 1.0))  # warms up
    taken: dict[Case, list[Figures]] = {case: [] for case in cases}
    for number in range(rounds):
        for case, ask in cases.items():
            taken[case].append(ask(seconds))
        print(f"round {number + 1} of {rounds} done", flush=True)
    return {
        case: {name: median(one[name] for one in found) for name in found[0]}
        for case, found in taken.items()
    }


def better_expert(results: Results) -> Results:
    """The same with the faster one of the experts, at each number of clients."""
    ways = dict.fromkeys((case.clients, case.rows) for case in results if case.name in EXPERTS)
    best = {
        Case(EXPERT, *way): max((results[Case(e, *way)] for e in EXPERTS), key=lambda f: f["rate"])
        for way in ways
    }
    return {**results, **best}


def judged(results: Results) -> dict[str, bool]:
    """The goals with what came of them."""
    plain, expert, own = (results[Case(name, 64, 1)] for name in (PLAIN, EXPERT, OURS))
    alone = results[Case(OURS, 1, 1)]["p50"] - results[Case(EXPERT, 1, 1)]["p50"]
    many = results[Case(OURS, MANY_CLIENTS, ROWS)]["rate"] * ROWS
    loop = results[Case(LOOP, systems.LOOP_THREADS, ROWS)]["rate"]
    times, ahead, share = own["rate"] / plain["rate"], own["rate"] / expert["rate"], many / loop
    cpu = expert["cpu_ms"] / own["cpu_ms"]
    return {
        f"64 clients: {times:.2f} x plain (goal {SPEEDUP})": times >= SPEEDUP,
        f"64 clients: p99 {own['p99']:.0f} ms, plain's p50 {plain['p50']:.0f} ms (goal no more)":
            own["p99"] <= plain["p50"],
        f"64 clients: {ahead:.2f} x expert (goal {AHEAD}; by CPU per request {cpu:.2f})":
            ahead >= AHEAD,
        f"alone: p50 {alone:+.2f} ms to expert's (goal at most +{SLOWER_MS})": alone <= SLOWER_MS,
        f"16 rows: {share:.2f} of the bare loop's rows per second (goal {OF_LOOP})":
            share >= OF_LOOP,
    }  # fmt: skip


def table(results: Results) -> str:
    """Markdown; rates are of rows, times in ms, CPU per request."""
    lines = [
        "| served by | clients | rows each | rows/s | p50 | p95 | p99 | CPU ms a row | client's |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in sorted(results, key=lambda case: (case.rows, case.clients)):
        found = results[case]
        times = " | ".join(
            f"{found[name]:.1f}" if name in found else "-" for name in ("p50", "p95", "p99")
        )
        each = 1 if case.name == LOOP else case.rows
        lines.append(
            f"| {case.name} | {case.clients} | {case.rows} | {found['rate'] * each:.0f} | {times} "
            f"| {found['cpu_ms'] / each:.2f} | {found.get('client_ms', 0.0) / each:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
