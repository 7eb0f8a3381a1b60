"""What a record says, without a service."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from gateway import records
from gateway.asked import Asked
from gateway.errors import StartError
from gateway.metrics import Metrics
from gateway.records import Moment
from gateway.spool import Spool, SpoolError
from gateway.traffic_log import TrafficLog, from_environment, verify
from models.contracts.api import OutcomeRequest, Prediction, request_model, to_matrix
from models.contracts.product import Column, ModelProduct
from models.contracts.traffic import OutcomeRecord, PredictionRecord, RefusalRecord
from models.risk.sync_conflict.product import PRODUCT
from tests.service.spooled import bodies

COLUMNS = (
    Column(name="count", kind="int", description="How many"),
    Column(name="share", description="Part of all", nullable=True),
)
ASKED = Asked("request-7", 0, "golden")
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
MOMENT = Moment(NOW, 1.25)
ROWS = [
    {"tenant": "acme", "count": 3, "share": None},
    {"tenant": "globex", "count": -1, "share": 0.1, "event_id": "merge/1",
     "event_time": "2026-02-28T23:00:00+02:00"},
]  # fmt: skip


def product(log_inputs: str = "values") -> ModelProduct:
    data = PRODUCT.data.model_copy(update={"columns": COLUMNS})
    serving = PRODUCT.serving.model_copy(update={"log_inputs": log_inputs})
    return PRODUCT.model_copy(update={"data": data, "serving": serving})


def answer(probability: float) -> Prediction:
    return Prediction(
        prediction_id=str(UUID(int=1)), probability=probability, risk_level="low",
        confidence=0.9, model_version="v1",
    )  # fmt: skip


def predictions(of: ModelProduct) -> list[PredictionRecord]:
    rows = request_model(of).model_validate_json(json.dumps({"rows": ROWS})).rows
    made = records.predictions(
        of, ASKED, MOMENT, rows=rows, inputs=to_matrix(of, rows), answers=[answer(0.1), answer(0.2)]
    )
    return [PredictionRecord.model_validate_json(json.dumps(body)) for body in made]


def digest(*values: float) -> str:
    return sha256(struct.pack("<2d", *values)).hexdigest()[:16]


def test_a_prediction_says_what_was_asked_and_answered():
    first, second = predictions(product())
    assert second == PredictionRecord(
        prediction_id=str(UUID(int=1)), request_id="request-7", product=PRODUCT.key,
        tenant="globex", model_version="v1", event_id="merge/1",
        event_time=datetime(2026, 2, 28, 21, tzinfo=UTC), answered_at=NOW, purpose="golden",
        score=0.2, inputs=(-1.0, 0.1), inputs_hash=digest(-1.0, 0.1), latency_ms=1.25, rows=2,
    )  # fmt: skip
    assert (first.inputs, first.inputs_hash) == ((3.0, None), digest(3.0, np.nan))
    assert (first.event_id, first.event_time) == (None, NOW)


def test_a_product_that_logs_hashes_keeps_no_value():
    values, hashed = predictions(product()), predictions(product("hash"))
    assert [record.inputs for record in hashed] == [None, None]
    assert [r.inputs_hash for r in hashed] == [r.inputs_hash for r in values]


def test_an_outcome_keeps_the_client_s_time_and_gets_an_id_of_its_own():
    sent = [
        {"prediction_id": "00000000000000000000000000000001", "label": 1},
        {"event_id": "merge/1", "label": 0, "known_at": "2026-02-01T00:00:00-01:00"},
    ]
    reports = OutcomeRequest.model_validate_json(json.dumps({"outcomes": sent})).outcomes
    made = records.outcomes(PRODUCT, reports, NOW)
    one, other = (OutcomeRecord.model_validate_json(json.dumps(body)) for body in made)
    assert (one.prediction_id, one.event_id, one.label) == (str(UUID(int=1)), None, 1)
    assert (one.known_at, one.received_at, one.source) == (NOW, NOW, "http")
    assert (other.prediction_id, other.event_id, other.label) == (None, "merge/1", 0)
    assert other.known_at == datetime(2026, 2, 1, 1, tzinfo=UTC)
    assert UUID(one.outcome_id) != UUID(other.outcome_id)


def test_a_refusal_says_status_and_path():
    body = records.refusal(PRODUCT, "v1", ASKED, MOMENT, path="/predict", status=413)
    assert RefusalRecord.model_validate_json(json.dumps(body)) == RefusalRecord(
        request_id="request-7", product=PRODUCT.key, model_version="v1", answered_at=NOW,
        path="/predict", status=413, latency_ms=1.25,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("moment", "text"),
    [(NOW, "2026-03-01T12:30:00.000000Z"),
     (datetime.fromisoformat("2026-03-01T01:00:00.5+02:00"), "2026-02-28T23:00:00.500000Z")],
)  # fmt: skip
def test_moments_are_written_in_utc(moment: datetime, text: str):
    assert records.iso(moment) == text


def test_without_a_folder_nothing_is_logged_and_no_outcome_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.delenv("ASSAY_SPOOL", raising=False)
    log: TrafficLog = from_environment(product(), "v1")
    assert log.state == "off"
    assert "answered and not logged" in caplog.text
    rows: list[Any] = request_model(product()).model_validate({"rows": ROWS[:1]}).rows
    log.answered(ASKED, rows, to_matrix(product(), rows), [answer(0.5)])
    log.refused(ASKED, "/predict", 400)
    with pytest.raises(SpoolError, match="keeps no log; set ASSAY_SPOOL"):
        log.outcomes([])
    log.close()


def test_a_full_log_takes_golden_requests_and_no_traffic(tmp_path: Path):
    spool = Spool(tmp_path, 100)
    log = TrafficLog(product(), "v1", Metrics(product(), "v1"), spool)
    rows: list[Any] = request_model(product()).model_validate({"rows": ROWS[:1]}).rows
    asked = rows, to_matrix(product(), rows), [answer(0.5)]
    try:
        with pytest.raises(SpoolError, match="full"):
            log.answered(ASKED._replace(purpose="traffic"), *asked)
        log.answered(ASKED, *asked)
        with pytest.raises(SpoolError, match="full"):
            log.answered(ASKED._replace(purpose="traffic"), *asked)
    finally:
        log.close()
    assert [body["purpose"] for body in bodies(tmp_path, "prediction")] == ["golden"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("ASSAY_SPOOL", "{file}", "no prediction can be logged in .*; make ASSAY_SPOOL a folder"),
     ("ASSAY_SPOOL", "{file}/below", "no prediction can be logged in .*Not a directory"),
     ("ASSAY_SPOOL_MB", "many", "ASSAY_SPOOL_MB is 'many'"),
     ("ASSAY_SPOOL_MB", "0", "ASSAY_SPOOL_MB is '0'")],
)  # fmt: skip
def test_a_log_that_cannot_be_kept_is_named_before_a_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
):
    monkeypatch.setenv("ASSAY_SPOOL", str(tmp_path / "spool"))
    verify()
    (tmp_path / "file").touch()
    monkeypatch.setenv(name, value.format(file=tmp_path / "file"))
    with pytest.raises(StartError, match=words):
        verify()
