"""What a really served bento logs of real requests: every answer, every refusal, every outcome."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.contracts.traffic import OutcomeRecord, PredictionRecord, RefusalRecord
from models.risk.sync_conflict.product import PRODUCT
from stores.deployer import Rollout
from stores.golden import replay
from tests.service.site import Built, Site
from tests.service.spooled import bodies, segments, until

JSON = {"content-type": "application/json"}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def spool(site: Site, served: Rollout) -> Path:
    return site.root / "spool" / PRODUCT.slug


@pytest.fixture
def asked() -> dict[str, str]:
    """Headers with a request id of the test's own, to find the records by."""
    return JSON | {"x-request-id": uuid.uuid4().hex}


def logged(spool: Path, asked: dict[str, str], kind: str) -> list[dict[str, Any]]:
    return bodies(spool, kind, request_id=asked["x-request-id"])


def predicted(spool: Path, asked: dict[str, str]) -> list[PredictionRecord]:
    found = logged(spool, asked, "prediction")
    return [PredictionRecord.model_validate_json(json.dumps(body)) for body in found]


def now() -> datetime:
    return datetime.now(UTC)


# ---- predictions


def test_what_was_answered_is_in_the_log_when_the_answer_arrives(
    client: httpx.Client, first: Built, spool: Path, asked: dict[str, str]
):
    rows = [dict(row) for row in first.golden.rows[:7]]
    rows[2] |= {"event_id": "merge/αβ 7", "event_time": "2026-01-05T10:00:00+02:00"}
    before = now()
    answer = client.post("/predict", json={"rows": rows}, headers=asked)
    records = predicted(spool, asked)
    told = answer.json()["predictions"]
    assert [r.prediction_id for r in records] == [one["prediction_id"] for one in told]
    assert [r.score for r in records] == [one["probability"] for one in told]
    assert [r.tenant for r in records] == [row["tenant"] for row in rows]
    assert [r.inputs for r in records] == [
        tuple(row.get(name) for name in PRODUCT.data.names) for row in rows
    ]
    for record in records:
        assert (record.product, record.model_version) == (PRODUCT.key, "v20260101_000000")
        assert (record.purpose, record.rows) == ("traffic", 7)
        assert before <= record.answered_at <= now()
        assert 0 < record.latency_ms < 1000 * (now() - before).total_seconds()
    assert records[2].event_id == "merge/αβ 7"
    assert records[2].event_time == datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert (records[0].event_id, records[0].event_time) == (None, records[0].answered_at)


def test_a_request_without_an_id_is_logged_under_the_id_it_was_told(
    client: httpx.Client, row: Row, spool: Path
):
    answer = client.post("/predict", json={"rows": [row]})
    assert len(predicted(spool, {"x-request-id": answer.headers["x-request-id"]})) == 1


def test_golden_requests_are_told_apart_by_their_header(
    client: httpx.Client, first: Built, row: Row, spool: Path, asked: dict[str, str]
):
    count = len(bodies(spool, "prediction", purpose="golden"))
    replay(str(client.base_url).rstrip("/"), first.golden)
    assert len(bodies(spool, "prediction", purpose="golden")) == count + len(first.golden.rows)
    client.post("/predict", json={"rows": [row]}, headers=asked | {"x-assay-purpose": "other"})
    assert [record.purpose for record in predicted(spool, asked)] == ["traffic"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("event_time", "2026-01-05T10:00:00", "timezone"),
        ("event_time", "2026-01-05", "timezone"),
        ("event_time", "1767600000", "ISO 8601"),
        ("event_time", 1767600000, "ISO 8601"),
        ("event_time", "yesterday", "ISO 8601"),
        ("event_time", "1969-12-31T23:59:59Z", "before 1970"),
        ("event_time", "0001-01-01T00:00:00+10:00", "before 1970"),
        ("event_time", "9999-12-31T23:59:59-10:00", "future"),
        ("event_id", "", "at least 1 character"),
        ("event_id", "x" * 201, "at most 200 characters"),
        ("event_id", 7, "valid string"),
    ],
)
def test_a_wrong_key_or_time_is_400_and_named(
    client: httpx.Client, row: Row, field: str, value: Any, words: str
):
    answer = client.post("/predict", json={"rows": [{**row, field: value}]})
    assert answer.status_code == 400
    (detail,) = answer.json()["detail"]
    assert detail["loc"][:3] == ["rows", 0, field]
    assert words in detail["msg"]


def test_a_clock_may_be_ahead_by_minutes_not_more(client: httpx.Client, row: Row):
    for minutes, status in ((4, 200), (6, 400)):
        sent = {**row, "event_time": (now() + timedelta(minutes=minutes)).isoformat()}
        assert client.post("/predict", json={"rows": [sent]}).status_code == status


# ---- refusals


@pytest.mark.parametrize(
    ("path", "content", "headers", "status"),
    [
        ("/predict", "{}", {}, 400),
        ("/predict", "no json", {}, 400),
        ("/predict", "x", {"content-type": "text/plain"}, 415),
        ("/predict", "x" * 2_000_001, {}, 413),
        ("/outcome", '{"outcomes": []}', {}, 400),
    ],
)
def test_every_refusal_is_logged_without_what_was_sent(
    client: httpx.Client, spool: Path, asked: dict[str, str], path: str, content: str,
    headers: dict[str, str], status: int,
):  # fmt: skip
    assert client.post(path, content=content, headers=asked | headers).status_code == status
    (body,) = logged(spool, asked, "refusal")
    record = RefusalRecord.model_validate_json(json.dumps(body))
    assert (record.product, record.model_version) == (PRODUCT.key, "v20260101_000000")
    assert (record.path, record.status) == (path, status)
    assert record.latency_ms > 0


def test_a_stranger_is_a_refusal_and_no_prediction(
    client: httpx.Client, row: Row, spool: Path, asked: dict[str, str]
):
    client.post("/predict", json={"rows": [row, {**row, "tenant": "x"}]}, headers=asked)
    assert [body["status"] for body in logged(spool, asked, "refusal")] == [400]
    assert predicted(spool, asked) == []


def test_other_paths_and_methods_are_not_logged(
    client: httpx.Client, spool: Path, asked: dict[str, str]
):
    assert client.get("/predict", headers=asked).status_code == 405
    assert client.post("/nothing", json={}, headers=asked).status_code == 404
    assert logged(spool, asked, "refusal") == []


# ---- outcomes


def test_outcomes_are_taken_and_logged(client: httpx.Client, spool: Path):
    named, key = str(uuid.uuid4()), uuid.uuid4().hex
    sent = [
        {"prediction_id": named.upper(), "label": 1, "known_at": "2026-01-05T10:00:00.5+02:00"},
        {"event_id": key, "label": 0},
    ]
    before = now()
    answer = client.post("/outcome", json={"outcomes": sent})
    assert answer.status_code == 202, answer.text
    assert answer.headers["x-request-id"]
    found = [bodies(spool, "outcome", outcome_id=one) for one in answer.json()["outcome_ids"]]
    one, other = (OutcomeRecord.model_validate_json(json.dumps(body)) for (body,) in found)
    assert (one.prediction_id, one.event_id, one.label) == (named, None, 1)
    assert one.known_at == datetime(2026, 1, 5, 8, 0, 0, 500_000, tzinfo=UTC)
    assert (other.prediction_id, other.event_id, other.label) == (None, key, 0)
    assert before <= other.known_at == other.received_at <= now()
    assert {one.product, other.product} == {PRODUCT.key}


ID = str(uuid.UUID(int=7))


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"label": 1}, "exactly one of prediction_id and event_id"),
        ({"label": 1, "prediction_id": ID, "event_id": "a"}, "exactly one"),
        ({"label": 1, "prediction_id": "not-a-uuid"}, "UUID"),
        ({"label": 2, "prediction_id": ID}, "less than or equal to 1"),
        ({"label": True, "prediction_id": ID}, "valid integer"),
        ({"label": 1.0, "prediction_id": ID}, "valid integer"),
        ({"label": "1", "prediction_id": ID}, "valid integer"),
        ({"prediction_id": ID}, "Field required"),
        ({"label": 1, "event_id": ""}, "at least 1 character"),
        ({"label": 1, "event_id": "a", "team": "acme"}, "not permitted"),
        ({"label": 1, "event_id": "a", "known_at": "2026-01-05T10:00:00"}, "timezone"),
        ({"label": 1, "event_id": "a", "known_at": "2999-01-05T10:00:00Z"}, "future"),
    ],
)
def test_a_wrong_outcome_is_400_and_none_of_the_request_is_logged(
    client: httpx.Client, spool: Path, report: dict[str, Any], words: str
):
    good = {"event_id": uuid.uuid4().hex, "label": 1}
    answer = client.post("/outcome", json={"outcomes": [good, report]})
    assert answer.status_code == 400
    assert words in answer.json()["detail"][0]["msg"]
    assert answer.json()["detail"][0]["loc"][:2] == ["outcomes", 1]
    assert bodies(spool, "outcome", event_id=good["event_id"]) == []


def test_between_one_and_a_thousand_outcomes(client: httpx.Client):
    one = {"event_id": uuid.uuid4().hex, "label": 1}
    for count, status in ((0, 400), (1000, 202), (1001, 400)):
        assert client.post("/outcome", json={"outcomes": [one] * count}).status_code == status


def test_openapi_describes_outcomes(client: httpx.Client):
    docs = client.get("/docs.json").json()
    body = docs["paths"]["/outcome"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["outcomes"]["maxItems"] == 1000
    report = docs["components"]["schemas"]["OutcomeReport"]["properties"]
    assert set(report) == {"prediction_id", "event_id", "label", "known_at", "tenant"}
    assert all(field["description"] for field in report.values())


# ---- figures and lines


def figures(client: httpx.Client) -> dict[str, float]:
    """Our own metrics by name with labels."""
    lines = client.get("/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("assay_"))
    return {name: float(value) for name, value in pairs}


def test_metrics_count_rows_scores_outcomes_and_bytes(
    client: httpx.Client, first: Built, row: Row, spool: Path
):
    before = figures(client)
    told = client.post("/predict", json={"rows": first.golden.rows[:9]}).json()["predictions"]
    client.post("/predict", json={"rows": [row]}, headers={"x-assay-purpose": "golden"})
    client.post("/outcome", json={"outcomes": [{"event_id": "a", "label": 1}] * 3})
    after = figures(client)
    release = f'product="{PRODUCT.key}",version="v20260101_000000"'

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    for level in ("low", "medium", "high"):
        name = f'assay_predictions_total{{product="{PRODUCT.key}",risk_level="{level}",'
        expected = sum(one["risk_level"] == level for one in told)
        assert grown(f'{name}version="v20260101_000000"}}') == expected
    assert grown(f"assay_score_count{{{release}}}") == 9
    assert grown(f"assay_score_sum{{{release}}}") == pytest.approx(
        sum(one["probability"] for one in told)
    )
    assert grown(f"assay_outcomes_total{{{release}}}") == 3
    assert grown(f"assay_spool_refused_total{{{release}}}") == 0
    waiting = f'assay_spool_bytes{{product="{PRODUCT.key}"}}'
    size = sum(segment.stat().st_size for segment in segments(spool))
    until(lambda: abs(figures(client)[waiting] - size) < 1_000)


def test_our_log_lines_are_json_with_context_and_no_payload(client: httpx.Client, site: Site):
    record = site.deployer().current(PRODUCT)
    assert record is not None
    text = (Path(record.folder) / "service.log").read_text()
    ours = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (started,) = [line for line in ours if line["message"].startswith("predictions are logged")]
    assert started | {"time": ""} == {
        "time": "", "level": "INFO", "logger": "assay.traffic",
        "message": "predictions are logged, up to 512 MB", "product": PRODUCT.key,
        "version": "v20260101_000000",
    }  # fmt: skip
    assert datetime.fromisoformat(started["time"]).tzinfo is not None
    assert "acme" not in text
