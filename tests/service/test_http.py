"""A really served bento over real HTTP: good requests, and every bad one a clear 4xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest

from bentos.guard import MAX_BODY_BYTES
from models.contracts.api import EXACT_INT, PredictResponse
from models.risk.sync_conflict.product import PRODUCT
from stores.golden import replay
from tests.service.site import Built

JSON = {"content-type": "application/json"}
Row = dict[str, Any]


def send(client: httpx.Client, *rows: Row) -> httpx.Response:
    """Rows as JSON; NaN and infinity as the literals a careless client sends."""
    return client.post("/predict", content=json.dumps({"rows": rows}), headers=JSON)


def check_refusal(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) <= {"error", "detail"}
    assert body["error"]
    for word in words:
        assert word in answer.text
    assert answer.headers["x-request-id"]


# ---- what works


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
    send(client, row)
    send(client, {**row, "merge_bases": "x"})
    lines = [
        line for line in client.get("/metrics").text.splitlines()
        if line.startswith("bentoml_service_request_total") and 'endpoint="/predict"' in line
    ]  # fmt: skip
    assert all('service_version="v20260101_000000"' in line for line in lines)
    counts = {line.split('http_response_code="')[1][:3]: float(line.split()[-1]) for line in lines}
    assert counts["200"] >= 1
    assert counts["400"] >= 1


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


# ---- what is refused


def test_few_rows_can_be_explained_at_once(client: httpx.Client, row: Row):
    answer = client.post("/predict", json={"rows": [row] * 5, "explain": True})
    check_refusal(answer, 400, "explain=true takes at most 4 rows, not 5")


@pytest.mark.parametrize("method", ["gradients", "attention", 3, None])
def test_a_method_that_rows_have_not_is_400_and_names_those_they_have(
    client: httpx.Client, row: Row, method: Any
):
    body = {"rows": [row], "explain": True, "method": method}
    check_refusal(client.post("/predict", json=body), 400, "method", "'shap' or 'lime'")


@pytest.mark.parametrize(
    "value", ["3", 2.5, True, [1], {}, -1, None, float("nan"), 10**30], ids=repr
)
def test_a_wrong_count_is_400_and_names_the_field(client: httpx.Client, row: Row, value: Any):
    check_refusal(send(client, {**row, "merge_bases": value}), 400, "merge_bases", "rows")


@pytest.mark.parametrize(
    "value", ["0.5", "NaN", float("nan"), float("inf"), float("-inf"), 1.5, True, None], ids=repr
)
def test_a_wrong_share_is_400_and_names_the_field(client: httpx.Client, row: Row, value: Any):
    check_refusal(send(client, {**row, "field_overlap_score": value}), 400, "field_overlap_score")


def test_a_missing_field_is_400_and_named(client: httpx.Client, row: Row):
    del row["files_overlap"]
    check_refusal(send(client, row), 400, "files_overlap", "Field required")


def test_the_wrong_row_of_a_batch_is_named(client: httpx.Client, row: Row):
    answer = send(client, row, row, {**row, "merge_bases": "x"})
    check_refusal(answer, 400)
    assert answer.json()["detail"][0]["loc"] == ["rows", 2, "merge_bases"]


def test_an_unknown_field_is_400_and_named(client: httpx.Client, row: Row):
    check_refusal(send(client, {**row, "n_conflicted_files": 2}), 400, "n_conflicted_files")


def test_an_unknown_tenant_is_400_and_no_known_one_is_told(client: httpx.Client, row: Row):
    answer = send(client, row, {**row, "tenant": "initech-confidential"})
    check_refusal(answer, 400, "unknown tenant")
    assert answer.json()["detail"] == [
        {"loc": ["rows", 1, "tenant"], "msg": "unknown tenant: the model was not trained for it"}
    ]
    assert "initech-confidential" not in answer.text
    assert "acme" not in answer.text


@pytest.mark.parametrize(
    "body",
    ["[]", '{"rows": []}', '{"rows": {}}', "{}", '{"rows": null}', '{"rows": [[]]}',
     '{"rows": ["x"]}', "7", "null", '""', ""],
)  # fmt: skip
def test_a_body_of_another_shape_is_400(client: httpx.Client, body: str):
    check_refusal(client.post("/predict", content=body, headers=JSON), 400)


@pytest.mark.parametrize(
    "body",
    [b"{", b"rows", b'{"rows": [}', b"\xff\xfe", b"\0", b"[" * 50_000, b"1" * 100_000,
     b'{"rows": [{"tenant": "\\ud800"}]}'],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_what_is_no_json_is_400(client: httpx.Client, body: bytes):
    check_refusal(client.post("/predict", content=body, headers=JSON), 400)


def test_too_many_rows_are_400(client: httpx.Client, row: Row):
    answer = send(client, *[row] * (PRODUCT.serving.max_rows + 1))
    check_refusal(answer, 400, f"at most {PRODUCT.serving.max_rows}")


def test_a_thousand_wrong_rows_are_refused_in_few_bytes(client: httpx.Client):
    answer = send(client, *[{}] * PRODUCT.serving.max_rows)
    check_refusal(answer, 400)
    assert len(answer.content) < 10_000


def test_a_huge_field_name_does_not_come_back(client: httpx.Client, row: Row):
    answer = send(client, {**row, "x" * 1_000_000: 1})
    check_refusal(answer, 400)
    assert len(answer.content) < 1_000


def test_values_do_not_come_back_in_refusals(client: httpx.Client, row: Row):
    answer = send(client, {**row, "merge_bases": "a-secret", "tenant": "another-secret"})
    check_refusal(answer, 400, "merge_bases")
    assert "secret" not in answer.text


def test_ten_megabytes_are_413_announced_or_chunked(client: httpx.Client):
    body = b'{"rows": "' + b"x" * 10_000_000 + b'"}'

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    announced = client.post("/predict", content=body, headers=JSON)
    check_refusal(announced, 413, str(MAX_BODY_BYTES))
    chunked = client.post("/predict", content=chunks(), headers=JSON)
    assert "content-length" not in chunked.request.headers
    check_refusal(chunked, 413, str(MAX_BODY_BYTES))


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "multipart/form-data; boundary=x", "application/vnd.bentoml+pickle",
     "application/x-www-form-urlencoded"],
)  # fmt: skip
def test_another_content_type_is_415(client: httpx.Client, kind: str):
    answer = client.post("/predict", content=b"--x\r\nbroken", headers={"content-type": kind})
    check_refusal(answer, 415, "application/json")


def test_another_method_is_405_and_another_path_404(client: httpx.Client):
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = client.request(method, "/predict")
        check_refusal(answer, 405)
        assert answer.headers["allow"] == "POST"
    for path in ("/predictions", "/predict/submit", "/models/../../etc/passwd", "/%00"):
        check_refusal(client.get(path), 404)
        check_refusal(client.post(path, json={}), 404)


def test_two_hundred_broken_requests_never_break_the_service(client: httpx.Client, row: Row):
    rng = np.random.default_rng(7)
    statuses = [client.post("/predict", content=_break(row, rng), headers=JSON).status_code
                for _ in range(200)]  # fmt: skip
    assert set(statuses) <= {200, 400}
    assert statuses.count(400) >= 150
    assert send(client, row).status_code == 200


VALUES = [None, True, -1, 0, 2**63, 10**60, 1e308, -1e308, float("nan"), float("inf"), "", "NaN",
          "1", "\u0000", "😀" * 50, [], [[]], {}, {"a": {}}, 0.1]  # fmt: skip


def _break(row: Row, rng: np.random.Generator) -> bytes:
    """One of: strange values, fields gone, a renamed field, bytes changed, the end cut off."""
    broken = dict(row)
    kind = rng.integers(5)
    for name in rng.choice(list(row), size=rng.integers(1, 4), replace=False):
        if kind == 1:
            del broken[name]
        elif kind == 2:
            broken[f"{name}\u00e9"] = broken.pop(name)
        else:
            broken[name] = VALUES[rng.integers(len(VALUES))]
    body = bytearray(json.dumps({"rows": [broken] * int(rng.integers(1, 4))}).encode())
    if kind == 3:
        for position in rng.integers(0, len(body), size=3):
            body[position] = rng.integers(256)
    return bytes(body[: rng.integers(len(body))] if kind == 4 else body)
