"""What the cache gives when texts come again: share of hits, and how soon hits and misses answer.

    python -m benchmarks.cache_replay [--requests 200000] [--megabytes 8] [--json FILE]

A text model is fitted, sealed and rolled out as in production, log on. One text per request, drawn
from 20,000 by Zipf's law (the text of rank k with probability proportional to 1 / k^1.1), so the
same texts come again as they do in a feed. Everything starts from nothing: the first request for
every text is a miss and counted. Two rounds: the cache of the process alone (``--megabytes``), and
with Debian's ``redis-server`` behind it on a free port. Then a service with Redis is started anew:
its own cache is empty, Redis's is not, and the share of hits of its first requests is told.

Goals: 85 % hits, p95 of a hit within 10 ms, and a median hit five times as fast as a median miss.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
import psutil

from benchmarks import load
from benchmarks import serving_systems as systems
from benchmarks.load import Answer
from benchmarks.serving_systems import System
from benchmarks.stopping import leave_nothing_behind
from tests.unit.redis_server import wait

EXPONENT, TEXTS, REQUESTS, AFTER_RESTART = 1.1, 20_000, 200_000, 2_000
SHARE, HIT_MS, TIMES = 0.85, 10.0, 5.0
STATES = ("hit", "miss")


@dataclass
class Round:
    """What came of one replay.

    Attributes:
        seconds: Of the answers, by what the cache had.
        grown_mb: Memory of the service, at the end beside the start.
    """

    name: str
    seconds: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in STATES})
    failed: int = 0
    grown_mb: float = 0.0

    def take(self, answer: Answer) -> None:
        """Sort one answer in."""
        state = answer.headers.get(b"x-assay-cache", b"").decode()
        if answer.status == 200 and state in self.seconds:
            self.seconds[state].append(answer.seconds)
        else:
            self.failed += 1

    @property
    def share(self) -> float:
        """Of hits."""
        hits, misses = (len(self.seconds[state]) for state in STATES)
        return hits / max(1, hits + misses)

    def quantile_ms(self, state: str, percent: int) -> float:
        """Of the answers with this state; NaN of fewer than two, as of misses of a warm cache."""
        if len(self.seconds[state]) < 2:
            return math.nan
        return 1000 * quantiles(self.seconds[state], n=100)[percent - 1]

    def figures(self) -> dict[str, Any]:
        """For the table and the file."""
        times = {
            f"{state}_p{percent}": round(self.quantile_ms(state, percent), 2)
            for state in STATES
            for percent in (50, 95)
        }
        return {
            "cache": self.name, "requests": sum(map(len, self.seconds.values())),
            "hits": round(self.share, 4), **times, "grown_mb": round(self.grown_mb, 1),
            "failed": self.failed,
        }  # fmt: skip


def main() -> None:
    """Read the arguments, replay, print."""
    leave_nothing_behind()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--megabytes", type=int, default=8, help="of the process's own cache")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    asked = drawn(options.requests)
    told = f"{len(set(asked)):,} different texts in {len(asked):,} requests"
    print(f"{told}: at most {1 - len(set(asked)) / len(asked):.1%} can be hits", flush=True)
    bodies = [json.dumps({"rows": [row]}).encode() for row in systems.rows_of(asked)]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        model, root = systems.fitted().int8_fixed, Path(name)
        own = {"ASSAY_CACHE_MB": str(options.megabytes)}
        with systems.ours("process", root / "own", model, **own) as system:
            rounds = [replay("process", system, bodies, options.clients)]
        redis = {"ASSAY_REDIS_URL": stack.enter_context(redis_server())}
        with systems.ours("redis", root / "redis", model, **own, **redis) as system:
            rounds.append(replay("process and Redis", system, bodies, options.clients))
        with systems.ours("again", root / "again", model, **own, **redis) as system:
            first = bodies[: min(AFTER_RESTART, len(bodies))]
            rounds.append(replay("Redis after a restart", system, first, options.clients))
    print(table(rounds))
    goals = [goal for one in rounds[:2] for goal in judged(one).items()]
    for goal, met in goals:
        print(f"{'met   ' if met else 'missed'}  {goal}")
    if options.json:
        options.json.write_text(json.dumps([one.figures() for one in rounds], indent=1))
    raise SystemExit(0 if all(met for _, met in goals) else 1)


def drawn(count: int) -> list[str]:
    """So many texts by Zipf's law, most of them again and again."""
    texts = systems.texts(TEXTS, seed=9)
    different = list(dict.fromkeys(texts))
    missing = itertools.count()
    while len(different) < TEXTS:  # the generator has said this before
        different.append(f"{different[next(missing)]} Really, no {len(different)}.")
    weights = 1.0 / np.arange(1, TEXTS + 1) ** EXPONENT
    ranks = np.random.default_rng(0).choice(TEXTS, count, p=weights / weights.sum())
    return [different[rank] for rank in ranks]


def replay(name: str, system: System, bodies: Sequence[bytes], clients: int) -> Round:
    """Ask everything once, in its order."""
    found, before = Round(name), memory_mb(system.pid)
    requests = load.requests(system.url, bodies)
    done = load.run(
        system.url, requests, connections=clients, version=system.version, seen=found.take
    )
    found.failed += done.wrong
    found.grown_mb = memory_mb(system.pid) - before
    print(f"{name}: {done}", flush=True)
    return found


def memory_mb(pid: int) -> float:
    """Memory of a process and all it started."""
    first = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (first, *first.children(recursive=True))) / 1e6


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis of our own; gives its address."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("install redis-server (Debian: apt install redis-server)")
    port = systems.free_port()
    line = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]  # fmt: skip
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    try:
        wait(port, process)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def judged(found: Round) -> dict[str, bool]:
    """The goals with what came of them."""
    hit, times = found.quantile_ms("hit", 95), found.quantile_ms("miss", 50)
    times /= found.quantile_ms("hit", 50)
    return {
        f"{found.name}: {found.share:.1%} hits (goal {SHARE:.0%})": found.share >= SHARE,
        f"{found.name}: p95 of a hit {hit:.2f} ms (goal {HIT_MS:g})": hit <= HIT_MS,
        f"{found.name}: a hit is {times:.1f} x as fast (goal {TIMES:g})": times >= TIMES,
        f"{found.name}: {found.failed} failed": not found.failed,
    }


def table(rounds: Sequence[Round]) -> str:
    """Markdown."""
    figures = [one.figures() for one in rounds]
    head = " | ".join(figures[0])
    lines = [f"| {head} |", "|" + "---|" * len(figures[0])]
    lines += ["| " + " | ".join(str(value) for value in one.values()) + " |" for one in figures]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
