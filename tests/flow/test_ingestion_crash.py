"""kill -9 of the ingestion at random moments: nothing acknowledged is missing, nothing doubled."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from models.contracts.traffic import PredictionRecord
from models.core.journal import encode
from models.registry import products
from stores import spool_parts
from stores.home import Home
from stores.spool import ingest

PRODUCT = products()[0]
SEGMENTS, LINES, KILLS = 80, 150, 6
#: Small batches, so that a kill meets every step many times.
INGEST = """
import sys
from pathlib import Path
import filelock, pyarrow.compute, pyarrow.parquet
from models.registry import products
from stores import spool
from stores.home import Home
spool.BATCH_BYTES = 100_000
spool.ingest(Home(Path(sys.argv[1])), products()[:1], retention_days=90,
             say=lambda text: print(text, flush=True))
"""


def _fill(folder: Path) -> Counter[str]:
    """Finished segments of one writer, of three days and each with all it needs."""
    folder.mkdir(parents=True)
    began = datetime(2026, 1, 5, tzinfo=UTC)
    for segment in range(SEGMENTS):
        numbers = range(segment * LINES + 1, (segment + 1) * LINES + 1)
        text = b"".join(_line(number, began + timedelta(seconds=20 * number)) for number in numbers)
        (folder / f"20260105T000000000000-1-abcdef-{segment + 1:06}.log").write_bytes(text)
    return Counter(f"p{number}" for number in range(1, SEGMENTS * LINES + 1))


def _line(number: int, at: datetime) -> bytes:
    record = PredictionRecord(
        prediction_id=f"p{number}", request_id=f"r{number}", product=PRODUCT.key, tenant="t",
        model_version="v1", event_id=None, event_time=at, answered_at=at, purpose="traffic",
        score=0.5, inputs=(float(number), None, 0.25), inputs_hash="00", latency_ms=1.0, rows=1,
    )  # fmt: skip
    return encode(number, "prediction", record.model_dump(mode="json"))


def _killed(root: Path, moments: random.Random) -> bool:
    """Run the ingestion and kill it after some batches and a moment; False when it was faster."""
    with subprocess.Popen(
        [sys.executable, "-c", INGEST, str(root)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for _ in range(moments.randint(1, 6)):
            process.stdout.readline()
        try:
            process.wait(moments.uniform(0, 0.03))
        except subprocess.TimeoutExpired:
            process.kill()
            return True
        assert process.returncode == 0
        return False


def test_killed_at_random_moments_nothing_is_missing_and_nothing_doubled(tmp_path: Path) -> None:
    home = Home(tmp_path)
    written = _fill(home.spool(PRODUCT))
    moments = random.Random()
    kills = sum(_killed(tmp_path, moments) for _ in range(KILLS))
    left = len(list(home.spool(PRODUCT).iterdir()))
    assert kills >= 2
    assert left < SEGMENTS
    told = ingest(home, [PRODUCT], retention_days=90, say=print)
    arrived = told.arrived[PRODUCT.slug]
    found = (pq.read_table(part) for part in spool_parts.parts(home, "prediction"))
    landed = Counter(key for table in found for key in table["prediction_id"].to_pylist())
    assert landed == written
    assert (arrived.answered, arrived.landed, arrived.complete) == (12_000, 12_000, True)
    assert list(home.spool(PRODUCT).iterdir()) == []
