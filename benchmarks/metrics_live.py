"""Do the figures live? Real Prometheus and Alertmanager over real processes, with planted faults.

    python -m benchmarks.metrics_live [--seconds 60] [--pictures FOLDER]

Services, router (with API keys and Redis), the admin service and the pages of a second one over
planted records (`planted`: what takes months) are scraped with the files that `assay dashboards`
writes. First the router is asked, well and badly; then every panel and every rule is evaluated.
Then faults are planted, one after the other, and each must reach a webhook through Alertmanager.
Exit code 1 when a panel or the left side of a rule says nothing, a rule fires that should not, or
a fault is not told. Nothing can be said of GPUs where there are none.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.deployments import ROUTER, Running, deployments
from benchmarks.planted import CHALLENGER, plant
from benchmarks.stopping import leave_nothing_behind
from benchmarks.watching import TOOLS, Watch, free_port, process, ready, until, watch
from models.contracts.routing import Member, Placement, RoutingTable, Rule
from models.contracts.watched import PANELS, RULES
from models.registry import get
from stores.gateway_store import with_product, write_table
from stores.home import Home
from stores.key_store import KeyStore, keys_path, service_token

TEXTS, ROWS = "moderation/text_toxicity", "risk/sync_conflict"
#: Small, so that it can be filled in seconds.
SPOOL_MB = 6
#: Only where there are GPUs.
ELSEWHERE = ("assay_gpu_utilisation", "assay_gpu_memory_bytes")
#: What the planted records must set off, and nothing else may fire while all is well.
PLANTED = {"AssayServiceDown", "AssayRolloutShare", "AssayRunsFail"}
#: They fire as well, and nobody is told: of a product that is down, warnings say nothing new.
INHIBITED = {"AssayRolloutEvidence", "AssayDrift", "AssayQualityFell"}
#: The comparison at the end of a rule.
_LIMIT = re.compile(r" (==|<|>) ([\d.]+|on \(product\) .*|sum\(.*)$")


class Client:
    """Asks the router, well and badly.

    Args:
        url: Of the router.
        key: May everything.
        slow: Has a rate of one row a second.
        rows: Valid rows of ``ROWS``.
    """

    def __init__(self, url: str, key: str, slow: str, rows: list[Any]) -> None:
        self._http = httpx.Client(base_url=url, timeout=20)
        self._key, self._slow, self.rows = key, slow, rows
        self._number = 0

    def post(self, path: str, body: Any, key: str | None = None) -> int:
        """The status; 0 when nobody answers."""
        # many different callers: one alone would be all with the challenger, or all not
        headers = {"authorization": f"Bearer {key or self._key}", "x-assay-key": str(self._number)}
        try:
            return self._http.post(path, json=body, headers=headers).status_code
        except httpx.HTTPError:
            return 0

    def round(self) -> None:
        """Predictions that are new and said before, outcomes, refusals."""
        self._number += 1
        for text in ("always the same", f"number {self._number}"):
            body = {"rows": [{"tenant": "acme", "text": text}]}
            self.post(f"/v1/{TEXTS}/predict", body)
        asked = [dict(row, event_id=f"e{n}") for n, row in enumerate(self.rows[:2])]
        self.post(f"/v1/{ROWS}/predict", {"rows": asked})
        self.post(f"/v1/{ROWS}/predict", {"rows": "none"})
        told = {"outcomes": [{"event_id": "e0", "tenant": "acme", "label": 1}]}
        self.post(f"/v1/{ROWS}/outcome", told)
        self.post("/no/such/path", {})

    def misuse(self) -> None:
        """Wrong keys, and a key that is too fast."""
        self.post("/v1/products", {}, f"ak_{'0' * 12}_{'A' * 43}")
        self.post(f"/v1/{TEXTS}/predict", {"rows": [{"tenant": "acme", "text": "x"}]}, self._slow)

    def for_seconds(self, seconds: float, *acts: Callable[[], None]) -> None:
        """Do these again and again."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for act in acts:
                act()
            time.sleep(0.05)


def names(expression: str) -> set[str]:
    """Metrics of an expression."""
    return set(re.findall(r"assay_[a-z0-9_]+?(?=_bucket|_sum|_count|\b)", expression))


def evaluated() -> Iterator[tuple[str, str]]:
    """What it is called, and the expression, of every panel and every rule without its limit."""
    for panel in PANELS:
        for legend, expression in panel.expressions.items():
            yield f"{panel.section}: {panel.title} ({legend})", expression
    for rule in RULES:
        yield f"rule {rule.alert}", _LIMIT.sub("", rule.expression)


def with_data(seen: Watch) -> dict[str, int]:
    """Title to the number of its series, where there are any."""
    found = {
        title: sum(one["value"][1] != "NaN" for one in seen.ask(expression))
        for title, expression in evaluated()
    }
    return {title: count for title, count in found.items() if count}


def without_data(found: dict[str, int]) -> list[str]:
    """Print all; what said nothing at any time, and may not."""
    missing = []
    print("| what | says |\n| --- | --- |")
    for title, expression in evaluated():
        elsewhere = names(expression) & set(ELSEWHERE) or "absent(" in expression
        count = found.get(title, 0)
        state = f"{count} series" if count else "nothing here" if elsewhere else "EMPTY"
        print(f"| {title} | {state} |")
        missing += [title] if state == "EMPTY" else []
    return missing


def planted(seen: Watch, fault: str, alerts: set[str], *acts: Callable[[], object]) -> bool:
    """Let something go wrong until the webhook was told."""

    def told() -> bool:
        for act in acts:
            act()
        return alerts <= set(seen.told)

    try:
        taken = until(fault, told, 150)
    except TimeoutError:
        print(f"| {fault} | {', '.join(sorted(alerts))} | NOT TOLD: {sorted(set(seen.told))} |")
        return False
    print(f"| {fault} | {', '.join(sorted(alerts))} | told after {taken:.0f} s |", flush=True)
    return True


def compared(home: Home, texts: Running) -> None:
    """A challenger that gets a share and copies, and a rule below both; by the table alone."""
    other = Member(version=CHALLENGER, semver="1.1.0", url=texts.url, artifact=None)
    placement = Placement(
        rollout_id="r20260101_000000", kind="canary", challenger=CHALLENGER, weight=0.25,
        mirror=1.0, sticky="unit",
    )  # fmt: skip
    labels = dict.fromkeys(get(TEXTS).data.labels, 0.1)
    rule = Rule(product=TEXTS, probability=0.1, threshold=0.5, labels=labels)

    def changed(table: RoutingTable) -> RoutingTable:
        routes = table.products[TEXTS]
        update = {"members": {**routes.members, CHALLENGER: other}, "placement": placement,
                  "rule": rule}  # fmt: skip
        return with_product(table, routes.model_copy(update=update))

    write_table(home, changed)


def kill(pid: int) -> None:
    """A process and all it started, as a machine that goes away; again is nothing."""
    if not psutil.pid_exists(pid):
        return
    for one in (*psutil.Process(pid).children(recursive=True), psutil.Process(pid)):
        one.kill()


def fill(one: Running, token: str) -> Callable[[], None]:
    """Rows for a service's log, past the router."""
    rows = list(one.golden.rows) * 10 if one.golden else []

    def asked() -> None:
        headers = {"x-assay-service-token": token}
        httpx.post(f"{one.url}/predict", json={"rows": rows}, headers=headers, timeout=30)

    return asked


def pictures(folder: Path, prometheus: str, admins: dict[str, str]) -> None:
    """What a person sees: a graph of Prometheus's own page, its alerts, the status pages."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = "sum by (source, product) (rate(assay_requests_total[1m]))"
    query = str(httpx.QueryParams({"g0.expr": graph, "g0.tab": "0", "g0.range_input": "5m"}))
    pages = {"graph": f"{prometheus}/graph?{query}", "alerts": f"{prometheus}/classic/alerts"}
    for name, url in (pages | admins).items():
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--window-size=1400,1800", "--virtual-time-budget=8000",
             f"--screenshot={folder / name}.png", url],
            capture_output=True, timeout=90, check=False,
        )  # fmt: skip


def start(stack: ExitStack, home: Home) -> tuple[dict[str, Running], list[str], list[Any]]:
    """Redis, services, router, both admins: what answers, where the admins are, the processes."""
    redis = free_port()
    line = ["redis-server", "--port", str(redis), "--save", "", "--appendonly", "no"]
    store = stack.enter_context(process(line, home.root / "redis.log"))
    os.environ["ASSAY_REDIS_URL"] = f"redis://127.0.0.1:{redis}/0"
    running = {one.name: one for one in deployments(stack, home.root, spool_mb=SPOOL_MB)}
    where, admins = [], []
    worse = Home(home.root / "planted")
    plant(worse)
    for folder, app in ((home, "orchestration.admin:app"), (worse, "benchmarks.planted:app")):
        where.append(f"127.0.0.1:{free_port()}")
        line = [sys.executable, "-m", "uvicorn", "--factory", app, "--host", "127.0.0.1",
                "--port", where[-1].partition(":")[2]]  # fmt: skip
        log = folder.root / "pages.log"
        admins.append(stack.enter_context(process(line, log, ASSAY_HOME=str(folder.root))))
        until(f"{app} answers", lambda: ready(f"http://{where[-1]}/metrics"))
    return running, where, [store, *admins]


def options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of load while all is well")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the pages")
    return parser.parse_args()


def main() -> None:
    """Start everything, ask, look, plant, print."""
    leave_nothing_behind()
    given = options()
    if absent := [tool for tool in (*TOOLS, "redis-server") if shutil.which(tool) is None]:
        raise SystemExit(f"install {', '.join(absent)}")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        home = Home(Path(name) / "home")
        (home.root / "planted").mkdir(parents=True)
        keys = KeyStore(keys_path(home))
        given_to = {"tenants": ["*"], "products": ["*"], "roles": ["predict", "outcome"], "by": "x"}
        fast, slow = (keys.add(**given_to, rate=rate, burst=burst).presented  # type: ignore[arg-type]
                      for rate, burst in ((1e6, 10**6), (1.0, 1)))  # fmt: skip
        running, admins, (store, *_) = start(stack, home)
        router, rows = running[ROUTER], running[ROWS].golden
        seen = watch(stack, home.root / "watch", router.url.partition("://")[2], admins)
        client = Client(router.url, fast, slow, json.loads(rows.model_dump_json())["rows"] if rows
                        else [])  # fmt: skip
        compared(home, running[TEXTS])
        client.for_seconds(given.seconds, client.round)
        found = with_data(seen)
        print(f"\nfiring before any fault: {sorted(seen.firing())}\n")
        early = seen.firing() ^ (PLANTED | INHIBITED)
        if given.pictures:
            both = {"status": f"http://{admins[0]}/", "planted": f"http://{admins[1]}/"}
            pictures(given.pictures, seen.prometheus, both)
        token = service_token(home).read_text(encoding="ascii")
        print("| fault | alert | webhook |\n| --- | --- | --- |")
        told = [
            planted(seen, "planted records", PLANTED),
            planted(seen, "wrong keys, keys that are too fast",
                    {"AssayKeysRefused", "AssayRateLimited"},
                    lambda: client.for_seconds(1, client.misuse)),
            planted(seen, "Redis gone", {"AssayCacheDown"}, store.kill,
                    lambda: client.for_seconds(1, client.round)),
            planted(seen, "a full log", {"AssayLogRefused", "AssayErrors"},
                    fill(running[ROWS], token)),
            planted(seen, "a service killed", {"AssayFallback"},
                    partial(kill, running[TEXTS].pid),
                    lambda: client.for_seconds(1, client.round)),
        ]  # fmt: skip
        print()
        missing = without_data(with_data(seen) | found)
        if given.pictures:
            pictures(given.pictures / "after", seen.prometheus, {})
        told += [planted(seen, "router killed", {"AssayGatewayDown"}, partial(kill, router.pid))]
    print(f"\nempty and should not be: {missing or 'nothing'}")
    raise SystemExit(1 if missing or early or not all(told) else 0)


if __name__ == "__main__":
    main()
