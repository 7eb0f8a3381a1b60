"""A really served bento over real HTTP: every bad request is a clear 4xx that tells nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from gateway.limits import Limits
from models.risk.sync_conflict.product import PRODUCT
from tests.service.asking import JSON, Row, send


def check_refusal(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) <= {"error", "detail"}
    assert body["error"]
    for word in words:
        assert word in answer.text
    assert answer.headers["x-request-id"]


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
    check_refusal(announced, 413, str(Limits().body_bytes))
    chunked = client.post("/predict", content=chunks(), headers=JSON)
    assert "content-length" not in chunked.request.headers
    check_refusal(chunked, 413, str(Limits().body_bytes))


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
