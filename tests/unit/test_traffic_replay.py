"""Replay of feature rows over real HTTP against a small server that keeps what it was asked.

A whole chapter of events is tested with a real service in ``tests/flow/test_loop.py``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from models.contracts.api import OutcomeRequest, request_model
from models.contracts.product import Column, ModelProduct
from models.risk.sync_conflict.product import PRODUCT
from orchestration.loop import Site
from orchestration.rehearsal import Chapter, RehearsalError, happen, was_dropped
from orchestration.settings import Settings
from orchestration.traffic import TrafficError, replay, report_outcomes

COLUMNS = (
    Column(name="count", kind="int", description="How many", minimum=0),
    Column(name="share", description="Part of all", nullable=True),
)


class Service(HTTPServer):
    """Answers rightly unless ``spoil`` says otherwise; ``asked`` holds (path, body)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.spoil = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, body))
        status, answer = (202, _taken(body)) if "outcomes" in body else (200, _predicted(body))
        if self.server.spoil == "full":
            status, answer = 503, {"error": "the prediction log is full; run the ingestion."}
        elif self.server.spoil == "short":
            answer = {name: rows[1:] for name, rows in answer.items()}
        elif self.server.spoil == "other":
            answer = {"hello": []}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def _predicted(body: dict[str, Any]) -> dict[str, list[Any]]:
    version = {"birch": "v2"}
    one = {"probability": 0.5, "risk_level": "low", "confidence": 0.5}
    return {
        "predictions": [
            {**one, "prediction_id": str(n), "model_version": version.get(row["tenant"], "v1")}
            for n, row in enumerate(body["rows"])
        ]
    }


def _taken(body: dict[str, Any]) -> dict[str, list[Any]]:
    return {"outcome_ids": [str(n) for n, _ in enumerate(body["outcomes"])]}


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def product() -> ModelProduct:
    data = PRODUCT.data.model_copy(update={"columns": COLUMNS})
    return PRODUCT.model_copy(update={"data": data})


@pytest.fixture
def rows() -> pd.DataFrame:
    times = pd.to_datetime(
        ["2024-05-01 10:00:00", "2024-05-01 11:00:00.250", "2024-05-02"], format="ISO8601"
    )
    return pd.DataFrame(
        {
            "event_id": ["a", "b", "c"],
            "tenant": ["aster", "birch", "aster"],
            "event_time": times,
            "known_time": times + pd.Timedelta(hours=5),
            "label": [1, 0, 1],
            "count": [3, 0, 7],
            "share": [0.25, None, 1.0],
        }
    )


def test_rows_are_asked_with_id_time_and_null(
    service: Service, product: ModelProduct, rows: pd.DataFrame
) -> None:
    found = replay(service.url, product, rows, batch=2)
    assert (found.requests, found.rows, found.versions) == (2, 3, {"v1": 2, "v2": 1})
    assert [path for path, _ in service.asked] == ["/predict", "/predict"]
    assert service.asked[0][1]["rows"] == [
        {"event_id": "a", "event_time": "2024-05-01T10:00:00+00:00", "tenant": "aster",
         "count": 3, "share": 0.25},
        {"event_id": "b", "event_time": "2024-05-01T11:00:00.250000+00:00", "tenant": "birch",
         "count": 0, "share": None},
    ]  # fmt: skip
    for _, body in service.asked:
        request_model(product).model_validate_json(json.dumps(body))


def test_outcomes_are_reported_by_event_as_known_then(service: Service, rows: pd.DataFrame) -> None:
    found = report_outcomes(service.url, rows, batch=2)
    assert (found.requests, found.outcomes) == (2, 3)
    assert {path for path, _ in service.asked} == {"/outcome"}
    assert service.asked[1][1]["outcomes"] == [
        {"event_id": "c", "label": 1, "known_at": "2024-05-02T05:00:00+00:00"}
    ]
    for _, body in service.asked:
        OutcomeRequest.model_validate_json(json.dumps(body))


def test_times_with_an_offset_are_sent_as_the_same_moment(
    service: Service, product: ModelProduct, rows: pd.DataFrame
) -> None:
    local = rows["event_time"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    replay(service.url, product, rows.assign(event_time=local))
    assert service.asked[0][1]["rows"][0]["event_time"] == "2024-05-01T10:00:00+00:00"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("full", "answered 503: .*log is full; run the ingestion.*replay the rows from there on"),
        ("short", "answered 2 rows of 3; look into the service's log"),
        ("other", "no PredictResponse .*another service on this port"),
    ],
)
def test_any_other_answer_is_an_error(
    service: Service, product: ModelProduct, rows: pd.DataFrame, spoil: str, said: str
) -> None:
    service.spoil = spoil
    with pytest.raises(TrafficError, match=said):
        replay(service.url, product, rows)


def test_outcomes_that_were_not_all_taken_are_an_error(
    service: Service, rows: pd.DataFrame
) -> None:
    service.spoil = "short"
    with pytest.raises(TrafficError, match="2 rows of 3"):
        report_outcomes(service.url, rows)


def test_without_a_service_the_error_says_how_to_start_one(
    product: ModelProduct, rows: pd.DataFrame
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    server.server_close()
    with pytest.raises(TrafficError, match=f"{url}/predict: .*`assay serve` starts it"):
        replay(url, product, rows)


def test_rows_of_another_table_are_refused(product: ModelProduct, rows: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"\['event_time'\] are not in the rows"):
        replay("http://127.0.0.1:9", product, rows.drop(columns="event_time"))
    with pytest.raises(ValueError, match=r"\['known_time'\] are not in the rows"):
        report_outcomes("http://127.0.0.1:9", rows.drop(columns="known_time"))


def test_a_chapter_that_is_yet_to_come_does_not_happen(tmp_path: Path) -> None:
    """A service refuses outcomes that are known in the future; nothing is dropped before."""
    chapter = Chapter(1, 100, "none", after=1_000_000)
    with dg.DagsterInstance.ephemeral() as instance:
        site = Site(dg.Definitions(), instance, Settings(home=tmp_path))
        with pytest.raises(RehearsalError, match=r"reach to 2138-.*ASSAY_GENERATOR_ROWS"):
            happen(site, PRODUCT, chapter, "http://127.0.0.1:9", print)
    assert not was_dropped(site.settings.home_paths(), chapter)
