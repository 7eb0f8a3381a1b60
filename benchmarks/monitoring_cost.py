"""What does it cost to judge a window of a million logged predictions with 40 inputs?

A synthetic product with 40 columns, a released profile and one day of traffic in the shape dbt
writes it: drift of every column, quality, label-free estimates and realised metrics with intervals
overall and per tenant, latency, digest, decisions and both pages. Monitoring runs in a process of
its own, whose wall time and peak memory (RSS) are the result; making the data is not in it.

    python benchmarks/monitoring_cost.py [--rows 1000000] [--columns 40]

Exit code 1 when it took more than 60 s or 4 GiB.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import expit

from assets.stages.kept import candidate_file, write_watched
from assets.stages.monitoring import monitor
from models.contracts.product import (
    EVENT_TIME,
    JUDGED,
    KNOWN_TIME,
    LABEL,
    TENANT,
    Column,
    Data,
    Gate,
    Guardrail,
    ModelProduct,
    Monitoring,
    Trial,
)
from models.contracts.results import Estimate, Release, Snapshot
from models.core.profile import build_profile
from models.core.realised import realised
from models.kinds import Watched
from stores.home import Home
from stores.ledger import Ledger

SECONDS, GIB = 60.0, 4.0
HOLDOUT, TENANTS, BATCH = 20_000, 20, 100_000
START = datetime(2024, 3, 1, tzinfo=UTC)
THRESHOLD = 0.5
MICRO = "datetime64[us]"


class Cost(NamedTuple):
    """What one run of monitoring took."""

    wall_s: float
    cpu_s: float
    peak_gib: float
    windows: int


def spec(columns: int) -> ModelProduct:
    """A product like any other, with that many inputs."""
    return ModelProduct(
        key="bench/monitored",
        title="Synthetic product",
        contract="row_scores",
        owner="team:bench",
        cadence="daily",
        learner="models.risk.sync_conflict.learner:SyncConflictLearner",
        data=Data(
            features="features/bench/rows",
            columns=tuple(
                Column(name=f"x{i:02d}", description="synthetic", nullable=True, minimum=-9.0)
                for i in range(columns)
            ),
        ),
        trials=(Trial(name="one"),),
        gate=Gate(
            metric="roc_auc",
            floor=0.6,
            guardrails=(Guardrail(metric="average_precision"), Guardrail(metric="brier")),
        ),
        monitoring=Monitoring(window_hours=24),
    )


def draw(
    generator: np.random.Generator, rows: int, columns: int, shift: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs (rows, columns) with 2 % nulls, calibrated scores and labels."""
    inputs = generator.standard_normal((rows, columns))
    inputs[:, : columns // 4] += shift
    scores = expit(2 * inputs[:, -1] + inputs[:, -2] - 1)
    labels = (generator.random(rows) < scores).astype(float)
    inputs[generator.random((rows, columns)) < 0.02] = np.nan
    return inputs, scores, labels


def release(product: ModelProduct, home: Home, generator: np.random.Generator) -> str:
    """A released model's holdout, profile and ledger entry; returns its version."""
    inputs, scores, labels = draw(generator, HOLDOUT, len(product.data.names))
    times = np.datetime64(START.replace(tzinfo=None), "us") - np.arange(HOLDOUT)[::-1] * 60_000_000
    whole = {"overall": np.ones(HOLDOUT, bool)}
    names = ("roc_auc", "average_precision", "brier")
    promised = realised(names, labels, scores, whole, THRESHOLD, alpha=0.05)["overall"]
    snapshot, evaluation = home.dataset(product, "s"), home.evaluation(product, "e")
    for folder in (snapshot, evaluation, home.table(product.data.features).parent):
        folder.mkdir(parents=True)
    frame = pd.DataFrame(inputs, columns=list(product.data.names)).assign(
        **{EVENT_TIME: times, KNOWN_TIME: times, TENANT: "t", LABEL: labels, JUDGED: True}
    )
    frame.to_parquet(snapshot / "holdout.parquet")
    frame.to_parquet(home.table(product.data.features))
    write_watched(product, evaluation, "c", Watched(inputs, scores, labels, times))
    (snapshot / "manifest.json").write_text(manifest(product).model_dump_json())
    profile = build_profile(
        product.key, "e", "c", inputs, product.data.names, scores, labels, times,
        dict[str, Estimate](promised), THRESHOLD,
    )  # fmt: skip
    candidate_file(evaluation, "profile", "c").write_text(profile.model_dump_json())
    ledger = Ledger(home.ledger(product))
    made = Release(
        product=product.key, version=ledger.new_version(), candidate_id="c", snapshot_id="s",
        evaluation_id="e", trial="one", mlflow_version="1", artifact="-",
    )  # fmt: skip
    ledger.append("release", made)
    return made.version


def manifest(product: ModelProduct) -> Snapshot:
    """The snapshot the release was fitted on."""
    return Snapshot(
        product=product.key, snapshot_id="s", content_hash="-", definition="-", as_of=START,
        split_at=START, gap_hours=24, rows=HOLDOUT, train_rows=0, gap_rows=0, holdout_rows=HOLDOUT,
        judged_rows=HOLDOUT, positives=1, tenants=("t",), columns=product.data.names,
        source="benchmark", files={},
    )  # fmt: skip


def write_traffic(
    product: ModelProduct, home: Home, version: str, rows: int, generator: np.random.Generator
) -> None:
    """One day of predictions, 90 % with outcomes, in parts as dbt's COPY writes row groups."""
    time_type = pa.timestamp("us")  # UTC, as DuckDB holds it
    home.traffic.mkdir()
    writer, begun = None, np.datetime64(START.replace(tzinfo=None), "us")
    for first in range(0, rows, BATCH):
        count = min(BATCH, rows - first)
        numbers = np.arange(first, first + count)
        inputs, scores, labels = draw(generator, count, len(product.data.names), shift=0.3)
        flat = pa.array(inputs.ravel(), mask=np.isnan(inputs.ravel()))
        offsets = np.arange(count + 1, dtype=np.int32) * inputs.shape[1]
        times = begun + (numbers * (86_400_000_000 // rows)).astype("timedelta64[us]")
        table = pa.table({
            "prediction_id": [f"{n * 2654435761 % 2**32:08x}-0000-4000-8000-{n:012d}"
                              for n in numbers],
            "request_id": [f"{n // 4:036d}" for n in numbers],
            "product": np.full(count, product.key),
            "tenant": np.char.add("tenant", (numbers % TENANTS).astype(str)),
            "model_version": np.full(count, version),
            "event_time": pa.array(times, time_type),
            "score": scores,
            "inputs": pa.ListArray.from_arrays(offsets, flat),
            "inputs_hash": [f"{n:016x}" for n in numbers],
            "latency_ms": generator.gamma(4, 1.5, count),
            "rows": np.full(count, 4),
            "label": pa.array(labels.astype(np.int8), mask=generator.random(count) < 0.1),
            "contradicted": np.zeros(count, bool),
        })  # fmt: skip
        writer = writer or pq.ParquetWriter(home.traffic / "predictions.parquet", table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    words, times = pa.string(), time_type
    refusals = {"request_id": words, "product": words, "model_version": words,
                "answered_at": times, "path": words, "status": pa.int64()}  # fmt: skip
    for name, columns in (("refusals", refusals),
                          ("orphans", {"product": words, "received_at": times})):  # fmt: skip
        pq.write_table(pa.schema(columns).empty_table(), home.traffic / f"{name}.parquet")


def judge(
    root: str, columns: int, answers: multiprocessing.Queue[tuple[float, float, str]]
) -> None:
    """The measured process: one run of monitoring from start to finish."""
    product, home = spec(columns), Home(Path(root))
    begun = time.perf_counter()
    now = START + timedelta(days=2)
    result = monitor(product, home, now=now, cost_per_hour=0.05, say=print)
    took = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss / 2**20  # kB on Linux
    answers.put(Cost(took, used.ru_utime + used.ru_stime, peak, len(result.windows)))


def main() -> int:
    """Make the data, judge it in a fresh process, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=40)
    given = parser.parse_args()
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as root:
        product, home = spec(given.columns), Home(Path(root))
        version = release(product, home, generator)
        write_traffic(product, home, version, given.rows, generator)
        size = (home.traffic / "predictions.parquet").stat().st_size / 1e6
        print(f"{given.rows:,} predictions x {given.columns} inputs, {size:.0f} MB of Parquet")
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        child = context.Process(target=judge, args=(root, given.columns, answers))
        child.start()
        child.join()
        if child.exitcode != 0:
            print(f"monitoring failed with exit code {child.exitcode}")
            return 1
        cost = answers.get()
        pages = sum(p.stat().st_size for p in home.monitoring(product).glob("*.html")) / 1e6
    print("| | measured | goal |\n|---|---|---|")
    print(f"| wall | {cost.wall_s:.1f} s | {SECONDS:.0f} s |")
    print(f"| CPU, all threads, imports too | {cost.cpu_s:.1f} s | |")
    print(f"| peak RSS | {cost.peak_gib:.2f} GiB | {GIB:.0f} GiB |")
    print(f"| windows judged | {cost.windows} | |")
    print(f"| pages | {pages:.1f} MB | |")
    return int(cost.wall_s > SECONDS or cost.peak_gib > GIB)


if __name__ == "__main__":
    sys.exit(main())
