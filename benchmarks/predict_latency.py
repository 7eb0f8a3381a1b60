"""`/predict` against an empty BentoML endpoint, same machine, same run, alternating rounds.

    python -m benchmarks.predict_latency [--rounds 10] [--product risk/sync_conflict]
    python -m benchmarks.predict_latency --product moderation/text_toxicity --trials minilm_int8

Trials of a product (all, or those named) are fitted on seeded rows or texts, sealed, built and
rolled out as in production, with the prediction log on, and asked directly and through the router,
beside a service whose only endpoint does nothing. One client, one kept connection: latency without
queueing. Every figure is the median over the rounds of that round's quantile, so a burst of
something else on the machine does not decide.
Goals: p95 of one row within the product's gate, and for rows of numbers at most 1.5 times the empty
endpoint's. Recommenders: ``benchmarks.recommend_latency``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.request import urlopen

from benchmarks.stopping import leave_nothing_behind
from models.contracts.product import ModelProduct, Trial
from models.registry import get
from stores.gateway_store import acknowledged, read_table
from stores.home import Home
from stores.router_process import RouterProcess
from tests.service import small
from tests.service.site import Built, Site

WARM_UP, ONE_ROUND = 50, 200
VERSION = "v20260101_000000"
GOAL_RATIO = 1.5

EMPTY = '''
import bentoml
from pydantic import BaseModel


class Nothing(BaseModel):
    pass


@bentoml.service(workers=1)
class Empty:
    @bentoml.api(route="/predict", input_spec=Nothing)
    {kind}def predict(self) -> {answer}:
        return {value}
'''  # fmt: skip


@dataclass
class Case:
    """One line of the table: where to send what, and what was measured (seconds)."""

    name: str
    port: int
    body: bytes
    path: str = "/predict"
    rounds: list[list[float]] = field(default_factory=list)

    def ask(self, count: int) -> list[float]:
        """Send the body ``count`` times over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        taken = []
        for _ in range(count):
            begun = time.perf_counter()
            connection.request("POST", self.path, self.body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            taken.append(time.perf_counter() - begun)
            assert answer.status == 200, answer.status
        connection.close()
        return taken

    def quantile_ms(self, share: float) -> float:
        """Median over the rounds of the round's quantile, in milliseconds."""
        return median(sorted(one)[int(len(one) * share)] for one in self.rounds) * 1000


@contextmanager
def empty_endpoint(folder: Path, kind: str, answer: str, value: str) -> Iterator[int]:
    """Serve an endpoint that does nothing; gives its port."""
    folder.mkdir()
    (folder / "empty.py").write_text(EMPTY.format(kind=kind, answer=answer, value=value))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = {"BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", "empty:Empty", "--host", "127.0.0.1",
             "--port", str(port)],
            cwd=folder, env=os.environ | home, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        for _ in range(600):
            try:
                Case("", port, b"{}").ask(1)
                break
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(30)


@contextmanager
def our_service(
    product: ModelProduct, root: Path, trial: Trial
) -> Iterator[tuple[int, int, list[object]]]:
    """Fit, seal, build and roll out one trial; gives its port, its router's, and valid rows."""
    site = Site(root, product)
    built = site.make(VERSION, trial) if product.contract == "row_scores" else texts(site, trial)
    router = RouterProcess(Home(site.root))
    try:
        done = site.deployer().roll_out(product, built.ref.tag, built.golden)
        with urlopen(f"{done.url}/health") as answer:
            assert json.load(answer)["prediction_log"] == "on"
        ports = int(done.url.rpartition(":")[2]), router.start().port
        acknowledged(Home(site.root), read_table(Home(site.root)).generation, 10.0)
        yield *ports, list(built.golden.rows)
    finally:
        router.stop()
        site.deployer().stop(product)


def texts(site: Site, trial: Trial) -> Built:
    """A text model, fitted on short texts after the models it is made from."""
    fitted = small.fitted(site.product, trial.name, small.texts(site.product, seed=1))
    folder, predictor = site.seal(VERSION, fitted, trial)
    asked = small.texts(site.product, seed=2, count=40).texts
    golden = small.text_golden(site.product, predictor, asked)
    return site.pack(VERSION, folder, predictor, golden)


def measure(cases: Sequence[Case], rounds: int) -> None:
    """Alternate the cases, so that a slow minute of the machine hits all of them."""
    for case in cases:
        case.ask(WARM_UP)
    for _ in range(rounds):
        for case in cases:
            case.rounds.append(case.ask(ONE_ROUND))


def table(cases: Sequence[Case]) -> str:
    """Markdown; ratios are to the first case."""
    lines = ["| endpoint | p50 ms | p95 ms | p95 / empty |", "| --- | --- | --- | --- |"]
    base = cases[0].quantile_ms(0.95)
    for case in cases:
        p50, p95 = case.quantile_ms(0.5), case.quantile_ms(0.95)
        lines.append(f"| {case.name} | {p50:.2f} | {p95:.2f} | {p95 / base:.2f} |")
    return "\n".join(lines)


def main() -> None:
    leave_nothing_behind()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--product", default="risk/sync_conflict")
    parser.add_argument("--trials", nargs="*", help="names; all when none is given")
    given = parser.parse_args()
    rounds, product = given.rounds, get(given.product)
    if product.contract == "ranked_items":
        parser.error("a recommender is measured by benchmarks.recommend_latency")
    trials = [t for t in product.trials if t.name in (given.trials or [t.name])]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        typed = stack.enter_context(
            empty_endpoint(root / "typed", "async ", "Nothing", "Nothing()")
        )
        plain = stack.enter_context(empty_endpoint(root / "plain", "", "dict", "{}"))
        cases = [
            Case("empty (async, typed)", typed, b"{}"),
            Case("empty (sync, dict)", plain, b"{}"),
        ]
        for trial in trials:
            ours = our_service(product, root / trial.name, trial)
            port, front, rows = stack.enter_context(ours)
            for count in (1, 16):
                body = json.dumps({"rows": rows[:count]}).encode()
                name = f"{trial.name}, {count} row{'s' * (count > 1)}"
                path = f"/v1/{product.key}/predict"
                cases += [Case(name, port, body), Case(f"router, {name}", front, body, path)]
        measure(cases, rounds)
    print(f"{rounds} rounds of {ONE_ROUND} requests each, {os.cpu_count()} cores\n")
    print(table(cases))
    base = cases[0].quantile_ms(0.95)
    single = [case for case in cases if case.name.endswith("1 row")]
    most, words = product.gate.max_latency_ms, f"<= {product.gate.max_latency_ms} ms"
    if product.contract == "row_scores":  # a network takes what it takes
        most, words = min(GOAL_RATIO * base, most), f"<= {GOAL_RATIO} x empty and {words}"
    met = all(case.quantile_ms(0.95) <= most for case in single)
    print(f"\ngoal p95 {words}: {'met' if met else 'missed'}")


if __name__ == "__main__":
    main()
