"""A client that asks an HTTP service over many kept connections and looks at every answer.

    python -m benchmarks.load URL BODIES.jsonl [--connections 8] [--seconds 15] [--rate 200]

``BODIES.jsonl`` holds one request body per line; they are sent in turn. Closed loop: every
connection asks as soon as it has its answer, so the load follows the service. With ``--rate`` an
open loop: requests are due at random times (Poisson), whether the service keeps up or not, and a
latency begins when its request was due, not when a connection was free for it. One process, about
0.03 ms of it per request: on few cores that is taken from the service, so it is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import random
import re
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
import uvloop

from benchmarks.connection import Connection

_VERSION = re.compile(rb'"model_version":\s*"([^"]*)"')


class Answer(NamedTuple):
    """One request's end.

    Attributes:
        number: Of the request, from 0, in the order they were due.
        status: Of HTTP, or ``connection.LOST`` or ``connection.LATE``.
        seconds: Since it was due.
        headers: Names in lower case.
        body: As sent.
    """

    number: int
    status: int
    seconds: float
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass
class Load:
    """What came of a load.

    Attributes:
        seconds: From the first request to the last answer.
        cpu: This process's own, in seconds.
        statuses: Answers by status.
        versions: Rows by the ``model_version`` that answered them.
        wrong: Answers 200 that name no release, or another than expected.
        latencies: Seconds of the answers 200.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    latencies: array[float] = field(default_factory=lambda: array("d"))

    @property
    def failed(self) -> int:
        """Requests that got no right answer."""
        return self.statuses.total() - self.statuses[200] + self.wrong

    @property
    def rate(self) -> float:
        """Answers 200 per second."""
        return self.statuses[200] / self.seconds if self.seconds else 0.0

    def quantile(self, q: float) -> float:
        """Seconds within which a share ``q`` of the answers came; NaN without any."""
        found = sorted(self.latencies)
        return found[max(0, math.ceil(q * len(found)) - 1)] if found else math.nan

    def take(self, answer: Answer, version: str | None) -> None:
        """Count one answer, which ``version`` should have given; None for any."""
        self.statuses[answer.status] += 1
        if answer.status != 200:
            return
        self.latencies.append(answer.seconds)
        named = [name.decode() for name in _VERSION.findall(answer.body)]
        self.versions.update(named)
        self.wrong += not named or (version is not None and {*named} != {version})

    def __str__(self) -> str:
        """One line, times in ms."""
        p50, p95, p99 = (1000 * self.quantile(q) for q in (0.5, 0.95, 0.99))
        own = 1000 * self.cpu / max(1, self.statuses.total())
        return (
            f"{self.rate:8.1f}/s  p50 {p50:7.2f}  p95 {p95:7.2f}  p99 {p99:7.2f}  failed "
            f"{self.failed}  statuses {dict(self.statuses)}  client {own:.3f} CPU a request"
        )


def requests(
    url: str, bodies: Iterable[bytes], headers: Mapping[str, str] | None = None
) -> Iterator[bytes]:
    """Bodies as whole requests, ``POST`` to the address."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    told = {"host": parts.netloc, "content-type": "application/json", **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    head = f"POST {path} HTTP/1.1\r\n{lines}content-length: ".encode()
    for body in bodies:
        yield b"%s%d\r\n\r\n%s" % (head, len(body), body)


def run(url: str, asked: Iterable[bytes], **options: Any) -> Load:
    """`drive` in an event loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(drive(url, asked, **options))


async def drive(
    url: str,
    asked: Iterable[bytes],
    *,
    connections: int = 8,
    seconds: float = math.inf,
    rate: float | None = None,
    version: str | None = None,
    patience: float = 30.0,
    seen: Callable[[Answer], None] | None = None,
    seed: int = 0,
) -> Load:
    """Ask until the requests or the time are over, and wait for the last answers.

    Args:
        url: Where; its path is not looked at.
        asked: Whole requests (see ``requests``), in their order.
        connections: Kept open; an open loop asks no more at once than so many.
        seconds: How long requests are due.
        rate: Requests per second of an open loop; None for a closed one.
        version: Release that must answer; None for any.
        patience: Seconds after which an answer is late, and its connection is closed.
        seen: Told every answer.
        seed: Of the times of an open loop.
    """
    load, cpu, began = Load(), time.process_time(), time.perf_counter()
    due = _due(iter(asked), _times(began, rate, random.Random(seed)), began + seconds)
    turn = asyncio.Lock()  # of several that are free, one waits for the time of the next

    async def ask_on() -> None:
        connection = Connection(url)
        while True:
            async with turn:
                one = await anext(due, None)
            if one is None:
                break
            number, request, at = one
            status, headers, body = await connection.ask(request, patience)
            answer = Answer(number, status, time.perf_counter() - at, headers, body)
            load.take(answer, version)
            if seen is not None:
                seen(answer)
        connection.close()

    await asyncio.gather(*(ask_on() for _ in range(connections)))
    load.seconds, load.cpu = time.perf_counter() - began, time.process_time() - cpu
    return load


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of processes and of all they started."""
    found: set[psutil.Process] = set()
    for pid in pids:
        one = psutil.Process(pid)
        found |= {one, *one.children(recursive=True)}
    return sum(sum(one.cpu_times()[:2]) for one in found)


def _times(began: float, rate: float | None, draws: random.Random) -> Iterator[float | None]:
    """When requests are due; None for at once."""
    if rate is None:
        yield from itertools.repeat(None)
        return
    at = began
    while True:
        at += draws.expovariate(rate)
        yield at


async def _due(
    asked: Iterator[bytes], times: Iterator[float | None], ends: float
) -> AsyncIterator[tuple[int, bytes, float]]:
    """Number, request and time of each that is due, when it is."""
    for number, (at, request) in enumerate(zip(times, asked, strict=False)):
        now = time.perf_counter()
        if (now if at is None else at) >= ends:
            return
        if at is not None and at > now:
            await asyncio.sleep(at - now)
        yield number, request, now if at is None else at


def main() -> None:
    """Read the arguments, ask, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rate", type=float, help="requests per second of an open loop")
    parser.add_argument("--version", help="release that must answer")
    parser.add_argument("--key", help="API key")
    options = parser.parse_args()
    headers = {"authorization": f"Bearer {options.key}"} if options.key else {}
    bodies = itertools.cycle(options.bodies.read_bytes().splitlines())
    load = run(
        options.url, requests(options.url, bodies, headers), connections=options.connections,
        seconds=options.seconds, rate=options.rate, version=options.version,
    )  # fmt: skip
    print(load)
    if load.failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
