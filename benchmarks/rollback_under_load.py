"""Roll forward and back under load, again and again: does any request fail, and how long is it?

    python -m benchmarks.rollback_under_load [--rounds 4] [--clients 2] [--router]

Two models of the first product, really fitted, sealed, built and rolled out as in production. While
the service goes from one to the other and back, clients of three kinds ask without a pause or with
one, and never retry: a new connection per request, a kept connection, and a kept connection that is
idle for most of the time. An answer counts only if it has status 200 and the probability that the
model it names gives offline; afterwards it must be in the prediction log. With ``--router`` they
ask the router, which is replaced by a fresh one after every second roll-out. Goal: 0 failed and 0
lost of at least 10,000.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx

from benchmarks.stopping import leave_nothing_behind
from models.registry import get
from stores.gateway_store import acknowledged, read_table
from stores.home import Home
from stores.router_process import RouterProcess
from tests.service.site import Built, Site, draw
from tests.service.spooled import bodies

LEAST = 10_000
TOLERANCE = 1e-6
_KEEP = httpx.Limits(max_keepalive_connections=1)
_NEW = httpx.Limits(max_keepalive_connections=0)


class Kind(NamedTuple):
    """A way to ask: which connections, and the pause between two requests in seconds."""

    name: str
    limits: httpx.Limits
    pause: float


KINDS = (
    Kind("new connection each", _NEW, 0.0),
    Kind("kept connection", _KEEP, 0.0),
    Kind("kept, asks every 0.7 s", _KEEP, 0.7),
)


class Answer(NamedTuple):
    """A right answer: when it was there, who gave it, and under which id."""

    at: float
    version: str
    prediction_id: str


@dataclass
class Seen:
    """What the clients of one kind saw; each client adds to its own."""

    failed: Counter[str] = field(default_factory=Counter)
    answered: list[Answer] = field(default_factory=list)
    longest: float = 0.0

    @property
    def requests(self) -> int:
        """Answered and failed."""
        return len(self.answered) + self.failed.total()


class Target(NamedTuple):
    """What is asked: address of the route, one row, and what each version says to it offline."""

    url: str
    row: object
    expected: Mapping[str, float]


class Turn(NamedTuple):
    """One roll-out: seconds in all, from the new pointer to the end, and while both answered."""

    total: float
    switch: float
    both: float


def ask(target: Target, kind: Kind, end: threading.Event, seen: Seen) -> None:
    """One client, until the end."""
    with httpx.Client(limits=kind.limits, timeout=30) as client:
        while not end.is_set():
            begun = time.monotonic()
            try:
                told = judge(client.post(target.url, json={"rows": [target.row]}), target)
                answer = Answer(time.monotonic(), told["model_version"], told["prediction_id"])
                seen.answered.append(answer)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                seen.failed[f"{type(error).__name__}: {error}"] += 1
            seen.longest = max(seen.longest, time.monotonic() - begun)
            end.wait(kind.pause)


def judge(answer: httpx.Response, target: Target) -> dict[str, Any]:
    """The prediction of a right answer.

    Raises:
        ValueError: It is no right answer of any of the models.
    """
    if answer.status_code != 200:
        raise ValueError(f"{answer.status_code} {answer.text[:100]}")
    (told,) = answer.json()["predictions"]
    offline = target.expected[told["model_version"]]
    if not abs(told["probability"] - offline) <= TOLERANCE:
        raise ValueError(f"{told} is not the {offline} that the model says offline")
    return dict(told)


@contextmanager
def load(target: Target, clients: int) -> Iterator[Mapping[str, list[Seen]]]:
    """Clients of every kind that ask until the end of the block."""
    end, seen = threading.Event(), {kind.name: [Seen() for _ in range(clients)] for kind in KINDS}
    threads = [
        threading.Thread(target=ask, args=(target, kind, end, one))
        for kind in KINDS
        for one in seen[kind.name]
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        end.set()
        for thread in threads:
            thread.join()


def turn(site: Site, to: Built, seen: Mapping[str, list[Seen]]) -> Turn:
    """Roll one model out."""
    begun = time.monotonic()
    site.deployer().roll_out(site.product, to.ref.tag, to.golden)
    taken = time.monotonic() - begun
    pointer = site.root / "services" / f"{site.product.slug}.json"
    switch = time.time() - pointer.stat().st_mtime
    answered = [one for one in answers(seen) if one.at > begun]
    old = [one.at for one in answered if one.version != version_of(to)]
    new = [one.at for one in answered if one.version == version_of(to)]
    return Turn(taken, switch, max(0.0, max(old) - min(new)))


def answers(seen: Mapping[str, list[Seen]]) -> list[Answer]:
    """All answers so far."""
    return [answer for group in seen.values() for one in group for answer in list(one.answered)]


def version_of(built: Built) -> str:
    return built.ref.tag.partition(":")[2]


def roll(
    site: Site, pair: tuple[Built, Built], rounds: int, clients: int, router: RouterProcess | None
) -> tuple[Mapping[str, list[Seen]], list[Turn]]:
    """Forward and back under load, ``rounds`` times and on until there are enough requests."""
    first, second = pair
    done = site.deployer().roll_out(site.product, first.ref.tag, first.golden)
    inputs = draw(site.product, 40, 101)[:1]  # the first golden row of the first model
    expected = {version_of(one): float(one.predictor.predict(inputs)[0]) for one in pair}
    turns: list[Turn] = []
    url = f"{done.url}/predict"
    if router is not None:
        url = f"{router.start().url}/v1/{site.product.key}/predict"
        acknowledged(Home(site.root), read_table(Home(site.root)).generation, 10.0)
    with load(Target(url, first.golden.rows[0], expected), clients) as seen:
        while len(turns) < 2 * rounds or total(seen) < LEAST:
            for to in (second, first):
                turns.append(turn(site, to, seen))
                print(f"{version_of(to)} after {turns[-1].total:.1f} s, {total(seen):,} requests")
            if router is not None:
                router.start()
    return seen, turns


def total(seen: Mapping[str, list[Seen]]) -> int:
    """Requests so far."""
    return sum(one.requests for group in seen.values() for one in group)


def table(seen: Mapping[str, list[Seen]]) -> str:
    """Markdown, one line for each kind of client, then every failure."""
    lines = ["| clients | requests | failed | longest answer s |", "| --- | --- | --- | --- |"]
    failures: Counter[str] = Counter()
    for name, group in seen.items():
        failed = sum((one.failed for one in group), Counter[str]())
        failures += Counter({f"{name}: {what}": count for what, count in failed.items()})
        requests, longest = sum(one.requests for one in group), max(one.longest for one in group)
        lines.append(f"| {len(group)} x {name} | {requests:,} | {failed.total()} | {longest:.2f} |")
    return "\n".join([*lines, *(f"- {count} x {what}" for what, count in failures.items())])


def not_logged(site: Site, seen: Mapping[str, list[Seen]]) -> int:
    """Answers that the prediction log does not have; the service must have ended."""
    log = Home(site.root).spool(site.product)
    logged = {line["prediction_id"] for line in bodies(log, "prediction", purpose="traffic")}
    return len({one.prediction_id for one in answers(seen)} - logged)


def main() -> None:
    leave_nothing_behind()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, help="forward and back, at least")
    parser.add_argument("--clients", type=int, default=2, help="of each of the three kinds")
    parser.add_argument("--router", action="store_true", help="ask the router, and replace it too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), get("risk/sync_conflict"))
        pair = site.make("v20260101_000000", seed=1), site.make("v20260108_000000", seed=2)
        router = RouterProcess(Home(site.root)) if given.router else None
        try:
            seen, turns = roll(site, pair, given.rounds, given.clients, router)
        finally:
            if router is not None:
                router.stop()
            site.deployer().stop(site.product)
        lost = not_logged(site, seen)
    print(f"\n{len(turns)} roll-outs, {os.cpu_count()} cores\n\n{table(seen)}\n")
    for name in Turn._fields:
        values = [getattr(one, name) for one in turns]
        print(f"{name}: median {median(values):.2f} s, longest {max(values):.2f} s")
    failed = sum(one.failed.total() for group in seen.values() for one in group)
    met = "missed" if failed or lost else "met"
    print(f"\n{total(seen):,} requests, {failed} failed, {lost} answered and not logged")
    print(f"goal 0 of {LEAST:,}: {met}")
    raise SystemExit(1 if failed or lost else 0)


if __name__ == "__main__":
    main()
