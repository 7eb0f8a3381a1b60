"""Rollouts as in production, under load: does any request fail, and is the verdict right?

    python -m benchmarks.rollouts_under_load [--requests 10000] [--only canary,loss]

The router, services and controller of an installation (`assay up` starts the same), the first
product with really fitted, sealed models whose truth is known: an equal one (the same trial on a
bootstrap of the same rows), one that loses 2 points of accuracy, one that is slow. Clients of three
kinds ask without retrying; what came of their requests is told 0.05 s later. An answer counts only
with status 200 and the probability that the release it names gives offline; afterwards it must be
in the prediction log. Goal: 0 failed of at least 10,000 requests in each phase.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import uvloop

from benchmarks.rollout_clients import Clients, Seen
from benchmarks.rollout_models import KINDS, Installation, Model
from benchmarks.stopping import leave_nothing_behind
from models.contracts.rollout import RolloutPlan, RolloutStep
from orchestration import operations, rollouts
from stores.ledger import LedgerError
from stores.router_process import RouterProcess
from stores.service_process import marked
from tests.service.spooled import bodies

#: As a product would plan it, but for the least time of a stage: there are 100 requests a second.
PLAN = RolloutPlan(min_seconds=10.0)
#: So long may a verdict take.
PATIENCE = 900.0
COLUMNS = (
    "phase", "requests", "failed", "by the ladder", "not logged", "ends", "s", "units", "weight",
    "share", "why", "p99 ms", "longest ms",
)  # fmt: skip
_CONTROLLER = (
    "import threading; from orchestration.admin_rollouts import drive; "
    "from orchestration.settings import Settings; drive(Settings(), threading.Event())"
)


class Trial:
    """One phase under load: the challenger's rollout, and what is done to it."""

    def __init__(self, site: Installation, clients: Clients) -> None:
        self.site, self.clients = site, clients
        self.product, self.settings = site.product, site.settings
        self.restored = 0.0

    def start(self, challenger: Model) -> RolloutStep:
        """Give it its first share."""
        version = self.site.release(challenger)
        step = rollouts.start(self.product, self.settings, version, PLAN, "benchmark")
        if step.phase != "running":
            raise SystemExit(f"{version} is {step.phase}: {step.reason}")
        return step

    def other(self) -> Model:
        """Of the two that are equally good the one that does not serve."""
        current = self.site.ledger.current()
        return "equal" if current and current.trial == "champion" else "champion"

    def verdict(self) -> RolloutStep:
        """Wait for the controller."""
        ends = time.monotonic() + PATIENCE
        while self.step().phase not in rollouts.ENDS:
            if time.monotonic() > ends:
                raise SystemExit(f"no verdict after {PATIENCE:.0f} s")
            time.sleep(0.5)
        while self.site.beside() is not None:  # what the verdict asks for is done, too
            time.sleep(0.2)
        return self.step()

    def step(self) -> RolloutStep:
        """Where it is."""
        found = self.site.ledger.rollout_step()
        assert found is not None
        return found

    def abort(self) -> None:
        """End what a phase left running."""
        with suppress(LedgerError):
            rollouts.abort(self.product, self.settings, "the phase is over", "benchmark")

    def kill(self, slot: str) -> None:
        """End every process of a service, as a machine that runs out of memory would."""
        for group in marked(self.site.home.root / "services" / slot).values():
            for process in group:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def canary(trial: Trial) -> RolloutStep:
    """An equal challenger."""
    trial.start(trial.other())
    return trial.verdict()


def loss(trial: Trial) -> RolloutStep:
    """A challenger that loses 2 points of accuracy."""
    trial.start("loss")
    return trial.verdict()


def slow(trial: Trial) -> RolloutStep:
    """A challenger that takes longer to answer."""
    trial.start("slow")
    return trial.verdict()


def back(trial: Trial) -> RolloutStep:
    """A person promotes at once, and rolls back."""
    trial.start(trial.other())
    time.sleep(3)
    rollouts.promote(trial.product, trial.settings, "a person", "benchmark")
    step = trial.verdict()
    operations.go_to(trial.product, trial.settings, None, "a person", lambda _: None)
    return step


def router(trial: Trial) -> RolloutStep:
    """The router is replaced twice while a canary runs."""
    trial.start(trial.other())
    for _ in range(2):
        time.sleep(4)
        RouterProcess(trial.site.home).start()
    step = trial.step()
    trial.abort()
    return step


def challenger_killed(trial: Trial) -> RolloutStep:
    """The challenger's processes are killed."""
    trial.start(trial.other())
    time.sleep(6)
    trial.kill(f"{trial.product.slug}--challenger")
    return trial.verdict()


def champion_killed(trial: Trial) -> RolloutStep:
    """The champion's processes are killed while a canary runs; five seconds later it is served."""
    trial.start(trial.other())
    time.sleep(4)
    trial.kill(trial.product.slug)
    time.sleep(5)
    begun = time.monotonic()
    trial.site.serve()
    trial.restored = time.monotonic() - begun
    step = trial.step()
    trial.abort()
    return step


PHASES: dict[str, Callable[[Trial], RolloutStep]] = {
    one.__name__: one
    for one in (canary, loss, slow, back, router, challenger_killed, champion_killed)
}


def run(site: Installation, name: str, requests: int) -> str:
    """One phase: its line of the table."""
    clients = Clients(site.url, site.path, site.cases, site.offline)
    with loaded(clients):
        begun = time.monotonic()
        trial = Trial(site, clients)
        step = PHASES[name](trial)
        took = time.monotonic() - begun
        while clients.seen.requests < requests:
            time.sleep(0.2)
    seen = clients.seen
    time.sleep(2.5)  # the last lines of the log
    lost = len(seen.ids - logged(site))
    return line(name, step, seen, lost, took)


def logged(site: Installation) -> set[str]:
    """Every prediction that is in the log, which its writers rename files of meanwhile."""
    while True:
        with suppress(FileNotFoundError):
            found = bodies(site.home.spool(site.product), "prediction")
            return {str(body["prediction_id"]) for body in found}


def line(name: str, step: RolloutStep, seen: Seen, lost: int, took: float) -> str:
    """The phase as a row."""
    share = "-" if step.share is None else f"{step.share:.1%}"
    longest, p99 = (f"{1_000 * seen.quantile(q):.0f}" for q in (1.0, 0.99))
    cells = (
        name, f"{seen.requests:,}", _counted(seen.failed), _counted(seen.fallback), lost,
        step.phase, f"{took:.0f}", f"{step.units:,}", f"{step.weight:.0%}", share,
        step.reason.replace("|", "/")[:90], p99, longest,
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _counted(found: Counter[str]) -> str:
    return f"{found.total()} {dict(found)}" if found else "0"


@contextmanager
def loaded(clients: Clients) -> Iterator[None]:
    """Clients that ask until the end of the block, in a thread."""
    thread = threading.Thread(target=lambda: uvloop.run(clients.ask()))
    thread.start()
    try:
        yield
    finally:
        clients.end()
        thread.join()


@contextmanager
def controller(home: Path) -> Iterator[None]:
    """What drives rollouts in the admin service, in a process of its own."""
    log = (home / "controller.log").open("wb")
    with log, subprocess.Popen([sys.executable, "-c", _CONTROLLER], stderr=log) as process:
        try:
            yield
        finally:
            process.kill()


def main() -> None:
    """Every phase, or those that are asked for."""
    leave_nothing_behind()
    parser = argparse.ArgumentParser(description="Rollouts under load.")
    parser.add_argument("--requests", type=int, default=10_000, help="of each phase, at least")
    parser.add_argument("--only", default=",".join(PHASES), help="phases, with commas")
    parser.add_argument("--folder", type=Path, help="home, kept; a temporary one if unset")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["ASSAY_HOME"] = str(folder)
        phases = given.only.split(",")
        site = Installation(folder, {"champion", "equal", *phases} & {*KINDS})
        for made in site.models.values():
            print(made, flush=True)
        with site.running(), controller(site.home.root):
            print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
            for name in phases:
                print(run(site, name, given.requests), flush=True)


if __name__ == "__main__":
    main()
