"""A home with a log to ingest: lines as a service writes them, dropped files, what has landed."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from models.contracts.traffic import OutcomeRecord, PredictionRecord, RefusalRecord
from models.core.journal import encode
from models.registry import products
from stores import spool_parts
from stores.files import sha256
from stores.home import Home
from stores.spool import acknowledge, ingest
from stores.spool_account import Arrived, Ingested

PRODUCT = products()[0]
SLUG = PRODUCT.slug
W1, W2 = "20260105T100000000000-11-aaaaaa", "20260106T100000000000-12-bbbbbb"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
NOW = datetime(2026, 1, 10, tzinfo=UTC)


def prediction(number: int, at: datetime = NOON, about: datetime | None = None) -> bytes:
    """A line; ``about`` is the event time, when it is not that of the answer."""
    record = PredictionRecord(
        prediction_id=f"p{number}", request_id="r", product=PRODUCT.key, tenant="t",
        model_version="v1", event_id=None, event_time=about or at, answered_at=at,
        purpose="traffic", score=0.5, inputs=(1.0, None), inputs_hash="00", latency_ms=1.5, rows=1,
    )  # fmt: skip
    return encode(number, "prediction", record.model_dump(mode="json"))


def outcome(number: int, tenant: str | None = None) -> bytes:
    record = OutcomeRecord(
        outcome_id=f"o{number}", product=PRODUCT.key, prediction_id="p1", event_id=None, label=1,
        known_at=NOON, received_at=NOON, source="http",
        tenant=tenant,
    )  # fmt: skip
    return encode(number, "outcome", record.model_dump(mode="json"))


def refusal(number: int) -> bytes:
    record = RefusalRecord(
        request_id=f"q{number}", product=PRODUCT.key, model_version="v1", answered_at=NOON,
        path="/predict", status=400, latency_ms=0.5,
    )  # fmt: skip
    return encode(number, "refusal", record.model_dump(mode="json"))


class Place:
    """A home with a spool."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.folder = self.home.spool(PRODUCT)
        self.folder.mkdir(parents=True)

    def write(self, index: int, *lines: bytes, writer: str = W1, state: str = ".log") -> Path:
        path = self.folder / f"{writer}-{index:06}{state}"
        path.write_bytes(b"".join(lines))
        return path

    def ingest(self, retention_days: int = 90) -> Ingested:
        return ingest(
            self.home, [PRODUCT], retention_days=retention_days, say=print, clock=lambda: NOW
        )

    def arrived(self) -> Arrived:
        """Of one ingestion that was reported."""
        ingested = self.ingest()
        acknowledge(self.home, ingested)
        return ingested.arrived[SLUG]

    def ids(self) -> Counter[str]:
        """How often each prediction is in the log."""
        found = (pq.read_table(part) for part in spool_parts.parts(self.home, "prediction"))
        return Counter(i for t in found for i in t["prediction_id"].to_pylist())

    def state(self) -> dict[str, str]:
        """Digest of every file but the locks."""
        root = self.home.root
        files = (p for p in root.rglob("*") if p.is_file() and p.name != "lock")
        return {str(p.relative_to(root)): sha256(p) for p in files}


def once(*numbers: int) -> Counter[str]:
    return Counter(f"p{number}" for number in numbers)


def outcomes(**changes: list[object]) -> pa.Table:
    rows = {"product": [PRODUCT.key], "event_id": ["e1"], "label": [1], "known_at": [NOON]}
    return pa.table(rows | changes)


def drop(place: Place, name: str, table: pa.Table | str) -> None:
    inbox = place.home.root / "inbox" / "outcomes"
    inbox.mkdir(parents=True, exist_ok=True)
    if isinstance(table, str):
        (inbox / name).write_text(table)
    else:
        pq.write_table(table, inbox / name)
