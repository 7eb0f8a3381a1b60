"""Real Prometheus and Alertmanager over what runs here, and a webhook that is told of alerts.

Nothing is measured here. Only times are shortened: nobody waits ten minutes for an alert.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from stores.dashboards import PROMETHEUS, dashboard_files
from stores.dashboards import Site as Where
from stores.files import write_atomic

TOOLS = ("prometheus", "prometheus-alertmanager")
#: Shortened: scraping, judging, gathering, and how long a condition must hold.
FASTER = (
    (re.compile(r"scrape_interval: \w+"), "scrape_interval: 5s"),
    (re.compile(r"scrape_timeout: \w+"), "scrape_timeout: 5s"),
    (re.compile(r"evaluation_interval: \w+"), "evaluation_interval: 1s"),
    (re.compile(r"group_wait: \w+"), "group_wait: 1s\n    group_interval: 1s"),
    (re.compile(r"for: (\d+)[mh]"), "for: 4s"),
    (re.compile(r"\[5m\]"), "[1m]"),
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


def watch(stack: ExitStack, folder: Path, router: str, platforms: Sequence[str]) -> Watch:
    """Prometheus and Alertmanager over what runs here.

    Args:
        stack: Ends them.
        folder: For their files.
        router: ``host:port``.
        platforms: The same of admin services; the first one lists where the services are.
    """
    hook, told = stack.enter_context(webhook())
    ours, manager = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    where = Where(routers=(router,), platform=platforms[0], alertmanager=manager, webhook=hook)
    several = re.compile(rf"- {re.escape(platforms[0])}$", re.MULTILINE)
    for name, text in dashboard_files(where).items():
        if name == PROMETHEUS:
            text = several.sub(f"- {platforms[0]}\n    - {platforms[-1]}", text)  # noqa: PLW2901
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
