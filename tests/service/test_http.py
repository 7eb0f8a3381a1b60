"""A really served bento over real HTTP: what good requests are answered."""

from __future__ import annotations

import json
from uuid import UUID

import httpx
import numpy as np
import pytest

from models.contracts.api import EXACT_INT, PredictResponse
from models.risk.sync_conflict.product import PRODUCT
from stores.golden import replay
from tests.service.asking import JSON, Row, send
from tests.service.site import Built


def test_golden_requests_are_answered_as_offline(client: httpx.Client, first: Built):
    assert replay(str(client.base_url).rstrip("/"), first.golden) <= 1e-6


def test_a_batch_is_answered_in_order_and_as_documented(client: httpx.Client, first: Built):
    answer = send(client, *first.golden.rows[:5])
    assert answer.status_code == 200
    predictions = PredictResponse.model_validate_json(answer.content).predictions
    np.testing.assert_allclose(
        [p.probability for p in predictions], first.golden.expected[:5], atol=1e-6
    )
    assert len({UUID(p.prediction_id) for p in predictions}) == 5
    assert {p.model_version for p in predictions} == {"v20260101_000000"}
    for p in predictions:
        assert p.confidence == max(p.probability, 1 - p.probability)
        high, medium = p.probability >= 0.5, p.probability >= 0.25
        assert p.risk_level == ("high" if high else "medium" if medium else "low")


def test_a_row_alone_gets_the_answer_it_gets_in_a_batch(client: httpx.Client, first: Built):
    alone = [send(client, row).json()["predictions"][0] for row in first.golden.rows[:5]]
    np.testing.assert_allclose(
        [p["probability"] for p in alone], first.golden.expected[:5], atol=1e-6
    )


def test_null_and_absent_are_the_same_for_a_nullable_column(client: httpx.Client, row: Row):
    null = send(client, {**row, "user_conflict_rate": None})
    absent = send(client, {name: v for name, v in row.items() if name != "user_conflict_rate"})
    values = [answer.json()["predictions"][0]["probability"] for answer in (null, absent)]
    assert values[0] == values[1]


def test_the_largest_allowed_batch_is_answered(client: httpx.Client, row: Row):
    answer = send(client, *[row] * PRODUCT.serving.max_rows)
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == PRODUCT.serving.max_rows


def test_health_names_the_model(client: httpx.Client, first: Built):
    answer = client.get("/health")
    assert answer.status_code == 200
    told = answer.json()
    manifest = json.loads((first.folder / "manifest.json").read_text())
    assert told == {
        "status": "ok", "product": PRODUCT.key, "model_version": "v20260101_000000",
        "candidate_id": manifest["candidate_id"], "trial": "small",
        "prediction_log": "on",
    }  # fmt: skip


def test_probes_answer(client: httpx.Client):
    assert [client.get(path).status_code for path in ("/livez", "/readyz", "/healthz")] == [200] * 3


def test_metrics_count_answers_by_code_and_version(client: httpx.Client, row: Row):
    before = requests(client)
    send(client, row)
    send(client, {**row, "merge_bases": "x"})
    client.get("/nowhere")
    after = requests(client)
    assert after["200"] == before.get("200", 0) + 1
    assert after["400"] == before.get("400", 0) + 1
    metrics = client.get("/metrics").text
    assert 'assay_score_count{product="risk/sync_conflict",version="v20260101_000000"}' in metrics
    assert "nowhere" not in metrics  # whoever makes paths up makes no series


def requests(client: httpx.Client) -> dict[str, float]:
    """Requests to ``/predict`` so far, by status."""
    found = {}
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("assay_requests_total") and 'route="/predict"' in line:
            found[line.split('status="')[1][:3]] = float(line.split()[-1])
    return found


def test_openapi_shows_the_typed_row_with_descriptions_and_an_example(
    client: httpx.Client, row: Row
):
    docs = client.get("/docs.json").json()
    operation = docs["paths"]["/predict"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    name = body["properties"]["rows"]["items"]["$ref"].rpartition("/")[2]
    assert body["properties"]["rows"]["maxItems"] == PRODUCT.serving.max_rows
    shown = docs["components"]["schemas"][name]
    assert set(shown["properties"]) == {
        "tenant", "event_id", "event_time", *PRODUCT.data.names,
    }  # fmt: skip
    assert shown["properties"]["event_time"]["anyOf"][0]["format"] == "date-time"
    assert "outcome can be reported by it" in shown["properties"]["event_id"]["description"]
    for column in PRODUCT.data.columns:
        assert shown["properties"][column.name]["description"] == column.description
    assert send(client, shown["example"] | {"tenant": row["tenant"]}).status_code == 200
    answer = docs["components"]["schemas"]["Prediction"]["properties"]
    assert set(answer) == {
        "prediction_id", "probability", "risk_level", "confidence", "explanations",
        "model_version",
    }  # fmt: skip
    assert set(body["properties"]) == {"rows", "explain", "method"}
    assert docs["info"]["version"] == "v20260101_000000"


def test_the_request_id_comes_back(client: httpx.Client, row: Row):
    for content in (json.dumps({"rows": [row]}), "{}"):
        answer = client.post("/predict", content=content, headers=JSON | {"x-request-id": "my-7"})
        assert answer.headers["x-request-id"] == "my-7"


def test_the_largest_numbers_a_column_allows_are_answered(client: httpx.Client, row: Row):
    low, high = dict(row), dict(row)
    for column in PRODUCT.data.columns:
        number, far = (int, EXACT_INT) if column.kind == "int" else (float, 1e308)
        high[column.name] = number(far if column.maximum is None else column.maximum)
        low[column.name] = number(-far if column.minimum is None else column.minimum)
    assert send(client, low, high, row).status_code == 200


@pytest.mark.parametrize("method", ["shap", "lime"])
def test_reasons_name_the_columns_that_decided(client: httpx.Client, first: Built, method: str):
    rows = first.golden.rows[:2]
    answer = client.post("/predict", json={"rows": rows, "explain": True, "method": method})
    predictions = PredictResponse.model_validate_json(answer.content).predictions
    np.testing.assert_allclose(
        [p.probability for p in predictions], first.golden.expected[:2], atol=1e-6
    )
    for prediction in predictions:
        (why,) = prediction.explanations or ()
        weights = {part.column: part.weight for part in why.parts}
        law = {PRODUCT.data.names[0], PRODUCT.data.names[1]}  # what decides, see site.training_rows
        largest = sorted(weights, key=lambda name: -abs(weights[name]))[:3]
        assert law & set(largest)
        if method == "shap":
            assert why.note.startswith("log-odds")
            assert sum(weights.values()) == pytest.approx(why.value - why.base)
            assert 1 / (1 + np.exp(-why.value)) == pytest.approx(prediction.probability, abs=1e-5)
        else:
            assert why.note.startswith("probability")
            assert why.value == pytest.approx(prediction.probability)
    (plain,) = send(client, rows[0]).json()["predictions"]
    assert plain["explanations"] is None
