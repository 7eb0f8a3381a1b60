"""Do the figures live? Real Prometheus and Alertmanager over real processes, with planted faults.

    python -m benchmarks.metrics_live [--seconds 60]

A model of the first product is fitted, sealed, built and rolled out; the admin service runs beside
it, and Prometheus and Alertmanager with the files that `assay dashboards` writes. Only times are
shortened: nobody waits ten minutes for an alert here. First all is well: every panel's expression
is asked for, and no rule may fire. Then faults are planted, one after the other, and each must
reach a webhook through Alertmanager: a full log (503) and a dead admin service.
Exit code 1 when a panel that has something to show is empty, a rule fires without a fault, or a
fault is not told. Panels of what does not happen here (GPUs, a rollout, a cache) are listed as
such; that they show data when it does is checked by tests/unit/test_promtool.py.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from models.contracts.watched import PANELS
from models.registry import get
from stores.dashboards import Site as Where
from stores.dashboards import dashboard_files
from stores.deployer import Deployer
from stores.files import write_atomic
from tests.service.site import Built, Site

VERSION = "v20260101_000000"
#: Small, so that it can be filled in seconds.
SPOOL_MB = 2
TOOLS = ("prometheus", "prometheus-alertmanager")
#: Metrics that a service and its traffic move here; panels of others may be empty.
MOVED = (
    "assay_requests_total", "assay_request_seconds", "assay_predictions_total", "assay_score",
    "assay_outcomes_total", "assay_spool_bytes", "assay_engines_loaded", "assay_engine_bytes",
    "assay_engine_load_seconds", "assay_incidents_open",
)  # fmt: skip
#: Shortened: scraping, judging, gathering, and how long a condition must hold.
FASTER = (
    (re.compile(r"scrape_interval: \w+"), "scrape_interval: 5s"),
    (re.compile(r"scrape_timeout: \w+"), "scrape_timeout: 5s"),
    (re.compile(r"evaluation_interval: \w+"), "evaluation_interval: 1s"),
    (re.compile(r"group_wait: \w+"), "group_wait: 1s\n    group_interval: 1s"),
    (re.compile(r"for: (\d+)[mh]"), "for: 4s"),
    # a service is looked for anew this often
    (re.compile(r"(- url: \S+/targets)"), r"\1\n    refresh_interval: 2s"),
)


class Watch(NamedTuple):
    """Prometheus's address and the names of the alerts that the webhook was told."""

    prometheus: str
    told: list[str]

    def ask(self, expression: str) -> list[Any]:
        """Samples of an expression now."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression})
        answer.raise_for_status()
        return list(answer.json()["data"]["result"])

    def firing(self) -> set[str]:
        """Alerts that hold."""
        return {one["metric"]["alertname"] for one in self.ask('ALERTS{alertstate="firing"}')}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def process(line: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process until the end of the block."""
    with log.open("wb") as stream:
        made = subprocess.Popen(line, stdout=stream, stderr=stream, env=os.environ | environment)
    try:
        yield made
    except TimeoutError as error:
        error.add_note(f"{log.name} ends with\n{log.read_text()[-1500:]}")
        raise
    finally:
        made.send_signal(signal.SIGTERM)
        try:
            made.wait(10)
        except subprocess.TimeoutExpired:
            made.kill()
            made.wait()


@contextmanager
def webhook() -> Iterator[tuple[str, list[str]]]:
    """An address that takes what Alertmanager tells, and the names it was told."""
    told: list[str] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            firing = (one for one in body["alerts"] if one["status"] == "firing")
            told.extend(one["labels"]["alertname"] for one in firing)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", told
    finally:
        server.shutdown()
        server.server_close()


def watch(stack: ExitStack, folder: Path, admin: str) -> Watch:
    """Prometheus and Alertmanager over what runs here."""
    hook, told = stack.enter_context(webhook())
    ours, manager = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    where = Where(routers=(), platform=admin, alertmanager=manager, webhook=hook)
    for name, text in dashboard_files(where).items():
        for slow, fast in FASTER if name.endswith(".yml") else ():
            text = slow.sub(fast, text)  # noqa: PLW2901
        write_atomic(folder / name, text)
    prometheus, alertmanager = (str(shutil.which(tool)) for tool in TOOLS)
    stack.enter_context(process(
        [prometheus, f"--config.file={folder}/prometheus.yml",
         f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address={ours}"],
        folder / "prometheus.log",
    ))  # fmt: skip
    stack.enter_context(process(
        [alertmanager, f"--config.file={folder}/alertmanager.yml",
         f"--storage.path={folder}/alerts", f"--web.listen-address={manager}",
         "--cluster.listen-address="],
        folder / "alertmanager.log",
    ))  # fmt: skip
    for address in (ours, manager):
        until(f"{address} is ready", lambda address=address: ready(f"http://{address}/-/ready"))
    return Watch(f"http://{ours}", told)


def ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30).status_code == 200
    except httpx.HTTPError:
        return False


def until(what: str, holds: Callable[[], bool], seconds: float = 120.0) -> float:
    """Wait for something; how long it took.

    Raises:
        TimeoutError: It did not happen.
    """
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - begun


def ask(url: str, built: Built, end: float, rows: int) -> None:
    """Predictions, outcomes and refusals until the end."""
    asked = [dict(row, event_id=f"e{n}") for n, row in enumerate(built.golden.rows[:rows])]
    with httpx.Client(base_url=url, timeout=10) as client:
        while time.monotonic() < end:
            client.post("/predict", json={"rows": asked})
            client.post("/predict", json={"rows": "none"})
            client.post("/outcome", json={"outcomes": [{"event_id": "e0", "label": 1}]})
            client.get("/no/such/path")
            time.sleep(0.05)


def panels(seen: Watch) -> list[str]:
    """Print every panel; titles of those that are empty and should not be."""
    missing = []
    for panel in PANELS:
        for legend, expression in panel.expressions.items():
            found = [one for one in seen.ask(expression) if one["value"][1] != "NaN"]
            names = set(re.findall(r"assay_[a-z0-9_]+?(?=_bucket|_sum|_count|\b)", expression))
            wanted = names <= set(MOVED) and "5.." not in expression
            state = f"{len(found)} series" if found else "EMPTY" if wanted else "nothing here"
            print(f"| {panel.section} | {panel.title} | {legend} | {state} |")
            missing += [panel.title] if wanted and not found else []
    return missing


def plant(seen: Watch, fault: str, act: Callable[[], object], alerts: set[str]) -> bool:
    """Let something go wrong and wait until the webhook was told."""
    act()
    try:
        taken = until(fault, lambda: alerts <= set(seen.told))
    except TimeoutError:
        print(f"| {fault} | {', '.join(sorted(alerts))} | NOT TOLD: {set(seen.told)} |")
        return False
    print(f"| {fault} | {', '.join(sorted(alerts))} | told after {taken:.0f} s |")
    return True


def fill(url: str, built: Built) -> None:
    """Ask until the log is full and answers 503, and some times more."""
    with httpx.Client(base_url=url, timeout=30) as client:
        refused = 0
        while refused < 60:
            answer = client.post("/predict", json={"rows": list(built.golden.rows) * 10})
            refused += answer.status_code == 503
            time.sleep(0.1 if answer.status_code == 503 else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of load while all is well")
    given = parser.parse_args()
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise SystemExit(f"install {', '.join(absent)}")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        site = Site(Path(name), get("risk/sync_conflict"))
        built = site.make(VERSION)
        deployer = Deployer(site.root, site.bentos, site.keys[1], spool_mb=SPOOL_MB)
        stack.callback(site.end)
        url = deployer.roll_out(site.product, built.ref.tag, built.golden).url
        admin = f"127.0.0.1:{free_port()}"
        line = [sys.executable, "-m", "uvicorn", "--factory", "orchestration.admin:app",
                "--host", "127.0.0.1", "--port", admin.partition(":")[2]]  # fmt: skip
        served = stack.enter_context(process(line, site.root / "admin.log", ASSAY_HOME=name))
        until("admin answers", lambda: ready(f"http://{admin}/metrics"))
        seen = watch(stack, site.root / "watch", admin)
        ask(url, built, time.monotonic() + given.seconds, rows=2)
        print("| section | panel | legend | now |\n| --- | --- | --- | --- |")
        missing, early = panels(seen), seen.firing()
        seen.told.clear()  # before the first scrape the admin service was gone
        print(f"\nfiring while all is well: {sorted(early) or 'nothing'}\n")
        print("| fault | alert | webhook |\n| --- | --- | --- |")
        told = [
            plant(seen, "full log", lambda: fill(url, built), {"AssayLogRefused", "AssayErrors"}),
            plant(seen, "dead admin service", served.kill, {"AssayGone"}),
        ]
    print(f"\nempty and should not be: {missing or 'nothing'}")
    raise SystemExit(1 if missing or early or not all(told) else 0)


if __name__ == "__main__":
    main()
