"""`assay up`: every process of the platform on one machine, started together, ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from assets.stages.service import roll_out
from models.registry import products
from orchestration.resources import build_deployer, build_router
from orchestration.running import instance
from orchestration.settings import Settings
from stores import gateway_store
from stores.home import ADMIN_PORT
from stores.ledger import Ledger
from stores.service_slot import CHALLENGER

WORKSPACE = Path(__file__).parents[1] / "workspace.yaml"
DAGSTER_PORT, MLFLOW_PORT = 3000, 5000
STOP_SECONDS = 15.0
_POLL_SECONDS = 0.05


def commands(settings: Settings) -> dict[str, list[str]]:
    """Name to command line of the platform's own processes."""
    tracking, tools = settings.tracking(), Path(sys.executable).parent
    workspace = ["-w", str(WORKSPACE)]
    return {
        "dagster-webserver": [str(tools / "dagster-webserver"), *workspace, "-h", "127.0.0.1",
                              "-p", str(DAGSTER_PORT)],
        "dagster-daemon": [str(tools / "dagster-daemon"), "run", *workspace],
        "admin": [sys.executable, "-m", "uvicorn", "--factory", "orchestration.admin:app",
                  "--host", "127.0.0.1", "--port", str(ADMIN_PORT)],
        "mlflow": [str(tools / "mlflow"), "server", "--backend-store-uri", tracking.uri,
                   "--default-artifact-root", tracking.artifacts.as_uri(), "--host", "127.0.0.1",
                   "--port", str(MLFLOW_PORT), "--workers", "1"],
    }  # fmt: skip


def run_all(settings: Settings, out: Console) -> None:
    """Start everything, print the addresses, wait for Ctrl-C or a death, stop everything."""
    home = settings.home_paths()
    logs = home.root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    ended, router = threading.Event(), build_router(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with instance(settings):
        started = {name: _start(line, logs / f"{name}.log")
                   for name, line in commands(settings).items()}  # fmt: skip
        try:
            # first: services tell it themselves that they are there
            url = router.start().url
            _serve(settings, out)
            out.print(f"front door  {url}\n"
                      f"Dagster UI  http://127.0.0.1:{DAGSTER_PORT}\n"
                      f"MLflow UI   http://127.0.0.1:{MLFLOW_PORT}\n"
                      f"status      http://127.0.0.1:{ADMIN_PORT}/\n"
                      f"logs        {logs}\nCtrl-C stops all")  # fmt: skip
            while not ended.wait(1):
                for name, process in started.items():
                    if process.poll() is not None:
                        out.print(f"[red]{name} ended; see {logs / name}.log[/red]")
                        ended.set()
                if router.current() is None and not ended.is_set():
                    out.print(f"[red]the router ended; see {home.gateway}/router.log[/red]")
                    router.start()
        finally:
            end(started.values())
            router.stop()
            deployer = build_deployer(settings)
            for product in products():
                deployer.slot(CHALLENGER).stop(product)
                deployer.stop(product)
            out.print("stopped")


def _serve(settings: Settings, out: Console) -> None:
    home = settings.home_paths()
    for product in products():
        gateway_store.follow_services(home, product)
        if Ledger(home.ledger(product)).current() is None:
            out.print(f"{product.key}: no release yet; `assay run` makes one")
            continue
        done = roll_out(product, home, build_deployer(settings), out.print)
        out.print(f"{product.key}  {done.url}")


def _start(line: list[str], log: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # its job runner starts seven workers of 245 MB each
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with log.open("ab") as stream:
        return subprocess.Popen(
            line, stdout=stream, stderr=stream, env=environment, start_new_session=True
        )


def end(processes: Collection[subprocess.Popen[bytes]], seconds: float = STOP_SECONDS) -> None:
    """Ask every process group to end, all at once, then insist.

    The group and not its leader is waited for: code servers and runs outlive the daemon.

    Args:
        processes: Leaders of their groups.
        seconds: Time to end by themselves, for all together.
    """
    left = list(processes)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in left:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        deadline = time.monotonic() + seconds
        while (left := [one for one in left if _lives(one)]) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _lives(leader: subprocess.Popen[bytes]) -> bool:
    """Whether any process of the group is left."""
    leader.poll()  # else a zombie keeps the group
    try:
        os.killpg(leader.pid, 0)
    except ProcessLookupError:
        return False
    return True
