"""Everything that serves, asked for a long time: does memory, descriptors or latency creep?

    python -m benchmarks.soak [--minutes 20] [--load 0.4] [--json FILE]

Router, a service per product, and Redis behind their caches. First what they can do is measured by
a closed loop; then an open loop asks for a share of that, whether they keep up or not: all products
in turn, every second text one that was asked before, 1 % of the requests wrong. Every five minutes
what was logged is ingested, by a process of its own: in this one it would delay the clients. Every
five seconds memory, descriptors and threads of each process tree are noted. The first quarter warms
up and is not judged.

The caches are so small that they are full by then: what grows later is no cache.

Goals: memory grows by less than 1 MB a minute (Theil-Sen slope, told with its 95 % interval), as
many descriptors and threads at the end as before, p99 of the last quarter at most 1.3 times that of
the second, and no answer but 200, and 400 to what is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import psutil
from scipy.stats import theilslopes

from benchmarks import load
from benchmarks.cache_replay import redis_server
from benchmarks.deployments import ROUTER, Running, deployments
from benchmarks.load import Answer
from benchmarks.stopping import leave_nothing_behind
from models import registry
from stores.home import Home
from stores.spool import acknowledge, ingest

EVERY, INGEST_SECONDS, MEASURED_SECONDS = 5.0, 300.0, 10.0
CONNECTIONS, WRONG = 32, 0.01
SLOPE_MB, SLOWER, MORE_OPEN = 1.0, 1.3, 8
REPEATED, CACHE_MB = 200, "2"


class Sample(NamedTuple):
    """A process tree at a moment; seconds since the load began."""

    at: float
    name: str
    rss_mb: float
    descriptors: int
    threads: int


@dataclass
class Seen:
    """What came of the load: when, how long it took, and statuses."""

    began: float = field(default_factory=time.monotonic)
    answers: list[tuple[float, float]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    cache: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    ingested: int = 0
    ingestions: list[float] = field(default_factory=list)

    def take(self, answer: Answer) -> None:
        """One answer."""
        self.statuses[answer.status] += 1
        self.cache[answer.headers.get(b"x-assay-cache", b"-").decode()] += 1
        if answer.status == 200:
            self.answers.append((time.monotonic() - self.began, answer.seconds))

    def p99_ms(self, start: float, end: float) -> float:
        """Of the answers that came in a time."""
        found = [taken for at, taken in self.answers if start <= at < end]
        return 1000 * quantiles(found, n=100)[98]


def main() -> None:
    """Read the arguments, ask, judge."""
    leave_nothing_behind()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--load", type=float, default=0.4, help="share of what they can do")
    parser.add_argument("--json", type=Path, help="write all samples there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        os.environ["ASSAY_CACHE_MB"] = CACHE_MB
        os.environ["ASSAY_REDIS_URL"] = stack.enter_context(redis_server())
        running = deployments(stack, Path(name) / "home")
        router = next(one for one in running if one.name == ROUTER)
        able = load.run(
            router.url, mixed(router.url, running, wrong=0.0), connections=CONNECTIONS,
            seconds=MEASURED_SECONDS,
        )  # fmt: skip
        rate = options.load * able.rate
        print(
            f"{able.rate:.0f}/s at most; {rate:.0f}/s for {options.minutes:g} minutes", flush=True
        )
        seen = soaked(running, router.url, Home(Path(name) / "home"), rate, 60 * options.minutes)
    goals = judged(seen, 60 * options.minutes)
    print(table(seen))
    told = dict(sorted(seen.statuses.items()))
    print(f"\nstatuses {told}, cache {dict(seen.cache)}, {seen.ingested} lines ingested")
    print(by_minute(seen, options.minutes))
    for goal, met in goals.items():
        print(f"{'met   ' if met else 'missed'}  {goal}")
    if options.json:
        options.json.write_text(json.dumps({"goals": goals, "samples": seen.samples}, indent=1))
    raise SystemExit(0 if all(goals.values()) else 1)


def soaked(running: Sequence[Running], url: str, home: Home, rate: float, seconds: float) -> Seen:
    """Ask at a rate for a while, note and ingest meanwhile."""
    seen, ended = Seen(), threading.Event()
    beside = threading.Thread(target=look_after, args=(running, home, seen, ended))
    beside.start()
    try:
        load.run(
            url, mixed(url, running, wrong=WRONG), connections=4 * CONNECTIONS, seconds=seconds,
            rate=rate, seen=seen.take,
        )  # fmt: skip
    finally:
        ended.set()
        beside.join()
    return seen


def mixed(url: str, running: Sequence[Running], *, wrong: float) -> Iterator[bytes]:
    """Requests to every product in turn, some asked before, some wrong."""
    draws, names = random.Random(0), [one for one in running if one.golden is not None]
    for number in itertools.count():
        one = names[number % len(names)]
        assert one.golden is not None
        row: dict[str, Any] = dict(one.golden.rows[number % len(one.golden.rows)])  # type: ignore[call-overload]
        if "text" in row:
            which = draws.randrange(REPEATED) if draws.random() < 0.5 else number
            row["text"] = f"{row['text']} {which}"
        body = {"rows": "none" if draws.random() < wrong else [row]}
        at = f"{url}/v1/{one.name}/predict"
        yield from load.requests(at, [json.dumps(body).encode()])


def look_after(running: Sequence[Running], home: Home, seen: Seen, ended: threading.Event) -> None:
    """Note every process tree, and ingest what they logged, until the end."""
    due, ingesting = INGEST_SECONDS, list[Future[tuple[int, float]]]()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        while not ended.wait(EVERY):
            at = time.monotonic() - seen.began
            seen.samples += [sample(at, one) for one in running]
            if at >= due:
                due += INGEST_SECONDS
                ingesting.append(apart.submit(ingested, home))
    found = [one.result() for one in ingesting]
    seen.ingested = sum(lines for lines, _ in found)
    seen.ingestions = [seconds for _, seconds in found]


def ingested(home: Home) -> tuple[int, float]:
    """Land what the services logged; how many lines, and how long it took in seconds."""
    begun = time.monotonic()
    found = ingest(home, registry.products(), retention_days=30, say=lambda _: None)
    acknowledge(home, found)
    return sum(one.landed for one in found.arrived.values()), time.monotonic() - begun


def sample(at: float, one: Running) -> Sample:
    """A process and all it started."""
    first = psutil.Process(one.pid)
    tree = [first, *first.children(recursive=True)]
    return Sample(
        at, one.name, sum(p.memory_info().rss for p in tree) / 1e6,
        sum(p.num_fds() for p in tree), sum(p.num_threads() for p in tree),
    )  # fmt: skip


def judged(seen: Seen, seconds: float) -> dict[str, bool]:
    """The goals with what came of them."""
    goals = {}
    for name, found in by_name(seen.samples).items():
        late = [one for one in found if one.at >= seconds / 4]
        slope, _, low, high = theilslopes([s.rss_mb for s in late], [s.at / 60 for s in late])
        goals[f"{name}: {slope:+.2f} MB a minute ({low:+.2f} to {high:+.2f})"] = bool(
            slope < SLOPE_MB
        )
        for what in ("descriptors", "threads"):
            early, end = (median(getattr(s, what) for s in part) for part in halves(late))
            goals[f"{name}: {early:g} {what}, {end:g} at the end"] = end <= early + MORE_OPEN
    early, end = seen.p99_ms(seconds / 4, seconds / 2), seen.p99_ms(0.75 * seconds, seconds)
    goals[f"p99 {early:.1f} ms, at the end {end:.1f} ms"] = end <= SLOWER * early
    others = sum(count for status, count in seen.statuses.items() if status not in {200, 400})
    goals[f"{others} answers that are neither right nor a refusal of what is wrong"] = not others
    return goals


def by_name(samples: Sequence[Sample]) -> Mapping[str, list[Sample]]:
    """Samples of each process tree, in their order."""
    found: dict[str, list[Sample]] = {}
    for one in samples:
        found.setdefault(one.name, []).append(one)
    return found


def halves(found: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """The earlier and the later ones."""
    return found[: len(found) // 2], found[len(found) // 2 :]


def by_minute(seen: Seen, minutes: float) -> str:
    """When it was slow, and how long what was ingested beside it took."""
    found = " ".join(f"{seen.p99_ms(60 * m, 60 * (m + 1)):.0f}" for m in range(int(minutes)))
    took = " ".join(f"{seconds:.0f}" for seconds in seen.ingestions)
    return f"p99 by minute {found} ms; ingestions took {took} s\n"


def table(seen: Seen) -> str:
    """Markdown: each process tree at the start, after a quarter, and at the end."""
    lines = ["| process | memory MB | descriptors | threads |", "|---|---|---|---|"]
    for name, found in by_name(seen.samples).items():
        told = (found[0], found[len(found) // 4], found[-1])
        cells = (
            " / ".join(f"{getattr(one, what):.0f}" for one in told)
            for what in ("rss_mb", "descriptors", "threads")
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
