"""``<home>/traffic`` written by hand, and a look of monitoring at it. No assertion lives here."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assets.stages.kept import read_watched
from assets.stages.monitoring import monitor, read_reports
from models.contracts.monitoring import MonitoringResult, WindowReport
from models.contracts.product import KNOWN_TIME, TENANT, Monitoring
from tests.flow.chain import CHEAP, Place

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = START + 20 * DAY

POLICY = Monitoring(window_hours=24, min_rows=200, min_new_rows=300, cooldown_hours=0)
WATCHED = CHEAP.model_copy(update={"monitoring": POLICY})

TIME = pa.timestamp("us")  # UTC, as DuckDB holds it
PREDICTIONS = pa.schema({
    "prediction_id": pa.string(), "request_id": pa.string(), "product": pa.string(),
    "tenant": pa.string(), "model_version": pa.string(), "event_id": pa.string(),
    "event_time": TIME, "answered_at": TIME, "score": pa.float64(),
    "inputs": pa.list_(pa.float64()), "inputs_hash": pa.string(), "latency_ms": pa.float64(),
    "rows": pa.int64(), "label": pa.int8(), "outcome_known_at": TIME, "outcome_reports": pa.int64(),
    "contradicted": pa.bool_(), "outcome_state": pa.string(),
})  # fmt: skip
REFUSALS = pa.schema({
    "request_id": pa.string(), "product": pa.string(), "model_version": pa.string(),
    "answered_at": TIME, "path": pa.string(), "status": pa.int64(), "latency_ms": pa.float64(),
})  # fmt: skip
ORPHANS = pa.schema({"outcome_id": pa.string(), "product": pa.string(), "received_at": TIME})


class Rows(NamedTuple):
    """The champion's judged holdout rows, as a client would send them."""

    inputs: np.ndarray
    tenants: list[str]
    labels: np.ndarray
    scores: np.ndarray


class Traffic:
    """Writes ``<home>/traffic`` by hand, a day at a time."""

    def __init__(self, place: Place) -> None:
        self.place = place
        release = place.ledger.current()
        if release is None:
            raise ValueError("no champion: nobody could have asked")
        self.version = release.version
        folder = place.home.evaluation(place.product, release.evaluation_id)
        seen = read_watched(place.product, folder, release.candidate_id)
        tenants = pd.read_parquet(folder / "scores.parquet")[TENANT].tolist()
        # a unit whose label nobody knows is not in the watched view: whose row it was is no matter
        tenants = tenants[: len(seen.scores)]
        self.rows = Rows(seen.inputs, tenants, seen.labels, seen.scores)
        self.days: dict[int, list[dict]] = {}
        self.refused: list[dict] = []
        self.orphans: list[dict] = []

    def day(self, number: int, *, hidden: bool = False, **changed: np.ndarray) -> None:
        """A day of holdout rows, perhaps changed; two rows a request; hidden: no outcomes yet."""
        rows = self.rows._replace(**changed)
        begun = START + number * DAY
        self.days[number] = [
            {
                "prediction_id": f"p{number}-{i}", "request_id": f"r{number}-{i // 2}",
                "product": self.place.product.key, "tenant": rows.tenants[i],
                "model_version": self.version, "event_id": None,
                "event_time": begun + timedelta(minutes=i), "answered_at": NOW - DAY,
                "score": rows.scores[i], "inputs": [None if np.isnan(v) else v for v in values],
                "inputs_hash": hashlib.sha256(values.tobytes()).hexdigest()[:16],
                "latency_ms": 4.0 + i // 2 % 7, "rows": 2,
                "label": None if hidden else int(rows.labels[i]), "outcome_known_at": None,
                "outcome_reports": 0, "contradicted": i == 3,
                "outcome_state": "open" if hidden else "known",
            }
            for i, values in enumerate(rows.inputs)
        ]  # fmt: skip

    def write(self) -> None:
        files = {
            "predictions": ([r for n in sorted(self.days) for r in self.days[n]], PREDICTIONS),
            "refusals": (self.refused, REFUSALS),
            "orphans": (self.orphans, ORPHANS),
        }
        self.place.home.traffic.mkdir(exist_ok=True)
        for name, (rows, schema) in files.items():
            table = pa.Table.from_pylist(rows, schema=schema)
            pq.write_table(table, self.place.home.traffic / f"{name}.parquet", row_group_size=500)

    def harmed(self) -> np.ndarray:
        """Labels the scores know less of: half of them in disorder."""
        generator = np.random.default_rng(0)
        labels = self.rows.labels.copy()
        some = np.flatnonzero(generator.random(len(labels)) < 0.6)
        labels[some] = labels[generator.permutation(some)]
        return labels

    def drifted(self) -> np.ndarray:
        """Every count four times what it was."""
        return np.where(self.rows.inputs > 1, self.rows.inputs * 4 + 1, self.rows.inputs)

    def new_rows(self) -> None:
        """Outcomes that became known after the champion's snapshot."""
        place = self.place
        later = place.features().tail(place.product.monitoring.min_new_rows).copy()
        later[KNOWN_TIME] += pd.Timedelta(days=365)
        path = place.home.table(place.product.data.features)
        pd.concat([place.features(), later]).to_parquet(path)


def look(place: Place, now: datetime = NOW) -> MonitoringResult:
    return monitor(place.product, place.home, now=now, cost_per_hour=0.05, say=lambda _: None)


def newest(place: Place) -> WindowReport:
    return read_reports(place.product, place.home)[-1]
