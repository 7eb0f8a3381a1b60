"""The services that ``serving_speed`` compares, all over one fitted model, and the bare loop.

Belongs here: fitting and sealing once, starting each service. Does not belong here: asking them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np

from assets.sources import comments_generator
from benchmarks.baselines import prepared
from models.contracts.learner import FitContext, TextRows
from models.contracts.product import Trial
from models.core.text import dispatch
from models.registry import get
from tests.service.site import TENANTS, Site
from tests.service.small import text_golden

PRODUCT = get("moderation/text_toxicity")
VERSION = "v20260101_000000"
#: Texts the model is fitted on: its answers are not judged here, only how soon they come.
FITTED, EPOCHS = 256, 1
LOOP_ROWS, LOOP_THREADS = 16, 2
_START_SECONDS = 180.0
#: What this process was told of threads is not for the services.
_OWN = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM")


class System(NamedTuple):
    """A service that runs.

    Attributes:
        url: Of its ``/predict``.
        pid: Its first process.
        version: That its answers name.
    """

    name: str
    url: str
    pid: int
    version: str


class Forms(NamedTuple):
    """One fitted model: as torch computes it, and in its forms."""

    torch: Any
    int8: Any
    int8_fixed: Any


def texts(count: int, seed: int = 7) -> list[str]:
    """What the generator of comments writes, the answered text with its answer."""
    drawn = comments_generator.generate(seed, count).to_pandas()
    return [str(text) for text in drawn.drop_duplicates("event_id")["text"]]


def fitted(seed: int = 1) -> Forms:
    """The packaged backbone with a head, fitted on some texts, and its forms."""
    drawn = comments_generator.generate(seed, FITTED).to_pandas().drop_duplicates("event_id")
    names = PRODUCT.data.labels
    labels = np.column_stack([drawn[name].astype(float) for name in names])
    rows = TextRows(tuple(drawn["text"].astype(str)), labels, names)
    original = next(trial for trial in PRODUCT.trials if trial.name == "minilm")
    params = {**original.params, "max_epochs": EPOCHS, "patience": EPOCHS}
    bases = {"minilm": dispatch.fit(Trial(name="minilm", params=params), rows, FitContext(), ())}

    def form(precision: str) -> Any:
        asked = {"model": "onnx", "precision": precision}
        trial = Trial(name=precision, params=asked, after=("minilm",), form=True)
        return dispatch.fit(trial, rows, FitContext(bases=bases), ())

    return Forms(bases["minilm"], form("int8"), form("int8_fixed"))


@contextmanager
def ours(name: str, root: Path, predictor: Any, **environment: str) -> Iterator[System]:
    """Our service of a fitted model, log on, as in production; cache off unless told."""
    site = Site(root, PRODUCT)
    folder, loaded = site.seal(VERSION, predictor, Trial(name="speed", params={"model": "speed"}))
    golden = text_golden(PRODUCT, loaded, texts(8, seed=8))
    built = site.pack(VERSION, folder, loaded, golden)
    deployer = site.deployer()
    try:
        with surroundings(**{"ASSAY_CACHE_MB": "0", **environment}):
            done = deployer.roll_out(PRODUCT, built.ref.tag, golden)
        record = deployer.current(PRODUCT)
        assert record is not None
        yield System(name, f"{done.url}/predict", record.pid, VERSION)
    finally:
        site.end()


@contextmanager
def baseline(
    name: str, module: str, folder: Path, *more: str, threads: int = 0
) -> Iterator[System]:
    """A service of ``benchmarks.baselines``, started as its module says."""
    port = free_port()
    line = [sys.executable, "-m", "uvicorn", f"benchmarks.baselines.{module}:app",
            "--port", str(port), *more]  # fmt: skip
    given = {prepared.FOLDER: str(folder), **({prepared.THREADS: str(threads)} if threads else {})}
    with (folder / f"{name.replace(' ', '_')}.log").open("wb") as log, surroundings(**given):
        process = subprocess.Popen(line, stdout=log, stderr=log)
    try:
        wait(f"http://127.0.0.1:{port}/docs", process)
        yield System(name, f"http://127.0.0.1:{port}/predict", process.pid, module)
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def surroundings(**told: str) -> Iterator[None]:
    """The environment of what is started meanwhile: with these, without our own thread counts."""
    before = dict(os.environ)
    for name in _OWN:
        os.environ.pop(name, None)
    os.environ.update(told)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers.

    Raises:
        RuntimeError: It ended, or does not.
    """
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer; see its log")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Loop:
    """The network alone: two threads, each tokenises sixteen texts and asks, again and again.

    Args:
        predictor: In the form our service has.
        asked: Texts, in their order.
    """

    def __init__(self, predictor: Any, asked: Sequence[str]) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        encoding = predictor.encoding
        self._tokenizer = Tokenizer.from_str(encoding.tokenizer.to_str())
        self._tokenizer.enable_truncation(encoding.max_length)
        self._tokenizer.enable_padding(pad_id=encoding.pad)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            predictor.network.graph, options, providers=["CPUExecutionProvider"]
        )
        self._batches = [asked[i : i + LOOP_ROWS] for i in range(0, len(asked), LOOP_ROWS)]

    def run(self, seconds: float) -> Mapping[str, float]:
        """Rows per second, and CPU ms of each."""
        began, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(LOOP_THREADS) as threads:
            rows = sum(threads.map(self._turn, range(LOOP_THREADS), [began + seconds] * 2))
        taken, used = time.perf_counter() - began, time.process_time() - cpu
        return {"rate": rows / taken, "cpu_ms": 1000 * used / rows}

    def _turn(self, place: int, until: float) -> int:
        rows = 0
        while time.perf_counter() < until:
            batch = self._batches[place % len(self._batches)]
            self._ask(batch)
            rows, place = rows + len(batch), place + LOOP_THREADS
        return rows

    def _ask(self, batch: Sequence[str]) -> Any:
        encoded = self._tokenizer.encode_batch(list(batch))
        ids = np.array([one.ids for one in encoded], np.int64)
        mask = np.array([one.attention_mask for one in encoded], np.int64)
        return self._session.run(None, {"ids": ids, "mask": mask})


def rows_of(asked: Sequence[str]) -> list[dict[str, str]]:
    """Texts as rows of a request."""
    return [{"tenant": TENANTS[0], "text": text} for text in asked]
