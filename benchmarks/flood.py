"""What does a hostile crowd get? Right codes, bounded memory, and a service that answers after.

    python -m benchmarks.flood

Services and router are started with API keys; then, one after the other: 2,000 connections that say
nothing, bodies of 50 MB, bodies and headers of one byte a second, wrong keys and keys of others on
every documented route, twenty times the rate of a key, and an open loop at three times what the
service can answer. Memory and descriptors of router and services are sampled all the while. After
it the golden requests are replayed. Exit code 1 when a code is not as expected, memory grows by
more than 200 MB, or anything does not answer.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import hostile
from benchmarks.deployments import ROUTER, VERSION, Running, deployments
from benchmarks.load import requests, run
from benchmarks.stopping import leave_nothing_behind
from gateway.limits import Limits
from stores.golden import replay
from stores.home import Home
from stores.key_store import KeyStore, keys_path, service_token
from tests.service.from_document import TENANT_HEADER, Maker, operations
from tests.service.site import TENANTS

ACME, GLOBEX = TENANTS
TEXTS = "moderation/text_toxicity"
PUBLIC = ("/livez", "/readyz", "/metrics")
MOST_GROWTH_MB = 200.0
RATE, HASTE = 50, 20
_MB = 1e6


@dataclass
class Memory:
    """Resident memory and descriptors of processes, sampled in a thread."""

    pids: tuple[int, ...]
    peak: float = 0.0
    files: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def now(self) -> tuple[float, int]:
        """Megabytes and descriptors of all processes together."""
        bytes_, files = 0, 0
        for pid in self.pids:
            for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
                bytes_ += one.memory_info().rss
                files += one.num_fds()
        return bytes_ / _MB, files

    def sample(self) -> None:
        """Until the end."""
        while not self._ended.wait(0.1):
            bytes_, files = self.now()
            self.peak, self.files = max(self.peak, bytes_), max(self.files, files)

    def end(self) -> None:
        """Sample no more."""
        self._ended.set()


class Report:
    """Prints a line per attack and remembers whether all went well."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self.wrong = memory, 0
        self._before = memory.now()[0]
        print("| attack | requests | expected | got | memory | descriptors |\n"
              "| --- | --- | --- | --- | --- | --- |")  # fmt: skip

    def attack(
        self, name: str, expected: str, allowed: Iterable[int], act: Callable[[], Counter[int]]
    ) -> Counter[int]:
        """Run one attack and judge its answers by their status."""
        self._memory.peak, self._memory.files = self._memory.now()
        got = act()
        self.wrong += bool(set(got) - set(allowed))
        told = ", ".join(f"{status}: {count}" for status, count in sorted(got.items()))
        grown = self._memory.peak - self._before
        self.wrong += grown > MOST_GROWTH_MB
        print(f"| {name} | {got.total()} | {expected} | {told} | {grown:+.0f} MB |"
              f" {self._memory.files} |", flush=True)  # fmt: skip
        return got


@contextmanager
def sampled(pids: Iterable[int]) -> Iterator[Memory]:
    """Sample processes while the block runs."""
    memory = Memory(tuple(pids))
    thread = threading.Thread(target=memory.sample, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        memory.end()
        thread.join()


def every_route(
    url: str, document: Mapping[str, Any], key: str, tenant: str, left_out: str = "-"
) -> Counter[int]:
    """Ask for every documented route but public ones, with a key, about a tenant.

    Of several bodies the first that is none of a wrong form counts: an outcome names one id of two.
    """
    maker, got = Maker(document, tenant, "flood"), Counter[int]()
    headers = {"authorization": f"Bearer {key}", TENANT_HEADER: tenant}
    with httpx.Client(base_url=url, timeout=30, headers=headers) as client:
        for one in operations(document, {"version": VERSION}):
            if one.path in PUBLIC or left_out in one.path:
                continue
            bodies = maker.bodies(one.schema) if one.schema else [None]
            told = (client.request(one.method, one.path, json=b).status_code for b in bodies)
            got[next((status for status in told if status not in {400, 422}), 400)] += 1
    return got


def with_bodies(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document's routes that take a body: those that a tenant is named on."""
    chosen = {path: {"post": item["post"]} for path, item in document["paths"].items()
              if "requestBody" in item.get("post", {})}  # fmt: skip
    return {**document, "paths": chosen}


def of_products(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document's routes of products."""
    chosen = {path: item for path, item in document["paths"].items()
              if path.startswith("/v1/") and path != "/v1/products"}  # fmt: skip
    return {**document, "paths": chosen}


def texts(rows: int) -> Iterator[bytes]:
    """Bodies that nobody has asked before."""
    for number in itertools.count():
        asked = [{"tenant": ACME, "text": f"{number} {row} you are a lovely person"}
                 for row in range(rows)]  # fmt: skip
        yield json.dumps({"rows": asked}).encode()


def too_fast(url: str, key: str) -> Counter[int]:
    """Twenty times the rate of a key for five seconds."""
    bearer = {"authorization": f"Bearer {key}"}
    asked = requests(f"{url}/v1/{TEXTS}/predict", texts(1), bearer)
    return run(url, asked, connections=64, seconds=5.0, rate=float(RATE * HASTE)).statuses


def overload(url: str, key: str) -> Counter[int]:
    """An open loop at three times what a closed one gets."""
    bearer, where = {"authorization": f"Bearer {key}"}, f"{url}/v1/{TEXTS}/predict"
    asked = requests(where, texts(16), bearer)
    alone = run(url, asked, connections=16, seconds=5.0)
    load = run(url, asked, connections=900, seconds=8.0, rate=3 * alone.rate)
    print(f"  (closed loop {alone.rate:.0f}/s; open loop at {3 * alone.rate:.0f}/s:"
          f" {load.rate:.0f}/s answered, p99 {1000 * load.quantile(0.99):.0f} ms)")  # fmt: skip
    return load.statuses


def alive(running: Iterable[Running], key: str, token: str) -> bool:
    """Whether everything answers as before; golden requests by the services' own doors."""
    well = True
    for one in running:
        if one.golden is not None:
            print(f"golden requests of {one.name}: off by {replay(one.url, one.golden, token):.1e}")
        else:
            answer = httpx.get(f"{one.url}/health", headers={"authorization": f"Bearer {key}"})
            print(f"{one.name}: {answer.status_code} {answer.text[:200]}")
            well = well and answer.status_code == 200
    return well


def attacks(report: Report, url: str, keys: Callable[..., str]) -> None:
    """All of them, against a router."""
    acme, globex = keys(ACME), keys(GLOBEX)
    document = httpx.get(f"{url}/docs.json", headers={"authorization": f"Bearer {acme}"}).json()
    films = keys(GLOBEX, products=["recommendation/films"])
    most, wrong = Limits().connections, f"ak_{'0' * 12}_{'A' * 43}"
    post = hostile.Post(url, f"/v1/{TEXTS}/predict", acme)
    report.attack(
        "2,000 silent connections", f"503 beyond {most}, the others closed",
        (503, hostile.CLOSED),
        lambda: hostile.silent(url, 2_000),
    )  # fmt: skip
    for chunked in (False, True):
        name = "50 MB, in chunks" if chunked else "50 MB, announced"
        act = partial(hostile.large, post, 20, 50_000_000, chunked=chunked)
        report.attack(name, "413", (413,), act)
    report.attack("1 byte/s of a body", "408", (408,), lambda: hostile.slow_body(post, 100))
    report.attack("1 byte/s of headers", "408", (408,), lambda: hostile.slow_head(url, 100))
    report.attack(
        "wrong key, every route", "401", (401,), lambda: every_route(url, document, wrong, ACME)
    )
    report.attack(
        "other tenant's key, every route with a body", "403", (403,),
        lambda: every_route(url, with_bodies(document), globex, ACME),
    )  # fmt: skip
    report.attack(
        "other product's key, its routes", "403", (403,),
        lambda: every_route(url, of_products(document), films, GLOBEX, left_out="films"),
    )  # fmt: skip
    got = report.attack(
        f"{HASTE} x the rate of {RATE}/s, 5 s", "429, and 200 at the rate", (200, 429),
        lambda: too_fast(url, keys(ACME, rate=RATE, burst=RATE)),
    )  # fmt: skip
    report.wrong += not 4 * RATE <= got[200] <= 7 * RATE
    report.attack(
        "open loop, 3 x capacity", "503 (no 5xx else) and 200", (200, 503),
        lambda: overload(url, acme),
    )  # fmt: skip


def main() -> None:
    """Start everything, attack, print."""
    leave_nothing_behind()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        home = Home(Path(name) / "home")
        store = KeyStore(keys_path(home))

        def key(tenant: str, **changes: Any) -> str:
            given = {"products": ["*"], "roles": ["predict", "outcome"], "by": "flood",
                     "rate": 1e6, "burst": 10**6}  # fmt: skip
            made = store.add(tenants=[tenant], **(given | changes)).presented  # type: ignore[arg-type]
            time.sleep(2.5)  # until the router has read it
            return made

        first = key(ACME)
        running = deployments(stack, home.root)
        (router,) = (one for one in running if one.name == ROUTER)
        token = service_token(home).read_text(encoding="ascii")
        with sampled(one.pid for one in running) as memory:
            before, files = memory.now()
            report = Report(memory)
            attacks(report, router.url, key)
            time.sleep(10)
            after, left = memory.now()
        print(f"\nmemory {before:.0f} MB before, {after:.0f} MB after;"
              f" descriptors {files} before, {left} after")  # fmt: skip
        well = alive(running, first, token)
    raise SystemExit(1 if report.wrong or not well else 0)


if __name__ == "__main__":
    main()
