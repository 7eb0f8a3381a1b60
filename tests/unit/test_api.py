"""The request and response types of a row_scores service."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from models.contracts.api import (
    EXACT_INT,
    MAX_AHEAD,
    GoldenSet,
    OutcomeRequest,
    PredictResponse,
    request_model,
    row_model,
    to_matrix,
    to_rows,
)
from models.contracts.product import Column, ModelProduct
from models.risk.sync_conflict.product import PRODUCT

COLUMNS = (
    Column(name="count", kind="int", description="How many", minimum=0),
    Column(name="share", description="Part of all", minimum=0, maximum=1, nullable=True),
    Column(name="hours", description="Since then, may be negative"),
    Column(name="offset", kind="int", description="Any whole number"),
)
VALID: dict[str, Any] = {"tenant": "acme", "count": 3, "share": 0.5, "hours": -2.5, "offset": -7}


def product(columns: tuple[Column, ...] = COLUMNS, max_rows: int = 3) -> ModelProduct:
    data = PRODUCT.data.model_copy(update={"columns": columns})
    serving = PRODUCT.serving.model_copy(update={"max_rows": max_rows})
    return PRODUCT.model_copy(update={"data": data, "serving": serving})


ROW = row_model(product())
REQUEST = request_model(product())


def parse(row: object, model: type[BaseModel] = ROW) -> BaseModel:
    return model.model_validate_json(row if isinstance(row, bytes) else json.dumps(row))


def refusal(row: object, model: type[BaseModel] = ROW) -> list[Any]:
    with pytest.raises(ValidationError) as caught:
        parse(row, model)
    return caught.value.errors(include_url=False, include_context=False)


def test_a_valid_row_keeps_its_values():
    assert parse(VALID).model_dump(exclude_unset=True) == VALID


def test_the_log_s_fields_are_optional_and_times_come_out_in_utc():
    absent, null = parse(VALID), parse({**VALID, "event_id": None, "event_time": None})
    assert (absent.event_id, absent.event_time) == (null.event_id, null.event_time) == (None, None)
    row = parse({**VALID, "event_id": "a", "event_time": "2026-01-05t10:00:00.5+02:00"})
    assert row.event_time == datetime(2026, 1, 5, 8, 0, 0, 500_000, tzinfo=UTC)
    assert row.event_time.tzinfo is UTC


def test_a_time_ahead_of_the_clock_is_refused_beyond_its_tolerance():
    near, far = (
        (datetime.now(UTC) + MAX_AHEAD + timedelta(seconds=s)).isoformat() for s in (-10, 10)
    )
    assert parse({**VALID, "event_time": near}).event_time > datetime.now(UTC)
    (error,) = refusal({**VALID, "event_time": far})
    assert (error["loc"], error["msg"]) == (
        ("event_time",), "Value error, lies in the future; check the clock and the offset",
    )  # fmt: skip


@pytest.mark.parametrize("value", ["2026-01-05T10:00", "1767600000", 1767600000, 1.5, True, "", {}])
def test_only_a_written_time_with_its_offset_is_taken(value):
    assert [error["loc"] for error in refusal({**VALID, "event_time": value})] == [("event_time",)]
    report = {"event_id": "a", "label": 1, "known_at": value}
    assert [e["loc"] for e in refusal({"outcomes": [report]}, OutcomeRequest)] == [
        ("outcomes", 0, "known_at")
    ]


def test_a_nullable_column_may_be_null_or_absent_and_others_may_not():
    assert parse({**VALID, "share": None}).share is None
    without = {name: value for name, value in VALID.items() if name != "share"}
    assert parse(without).share is None
    assert refusal({**VALID, "hours": None})[0]["loc"] == ("hours",)
    without = {name: value for name, value in VALID.items() if name != "hours"}
    assert refusal(without)[0] | {"input": 0} == {
        "type": "missing", "loc": ("hours",), "msg": "Field required", "input": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("count", "3"), ("count", 3.0), ("count", 2.5), ("count", True), ("count", -1),
        ("count", None), ("count", [3]), ("share", 1.01), ("share", "0.5"), ("share", "NaN"),
        ("share", False), ("share", float("nan")), ("hours", float("inf")),
        ("hours", float("-inf")), ("hours", 10**400), ("hours", {}), ("offset", EXACT_INT + 1),
        ("offset", -EXACT_INT - 1), ("offset", 10**400), ("tenant", ""), ("tenant", 7),
        ("tenant", "x" * 201), ("tenant", None), ("unheard_of", 1),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_its_name(column, value):
    found = refusal({**VALID, column: value})
    assert [error["loc"] for error in found] == [(column,)]


def test_infinity_by_overflow_is_refused():
    body = json.dumps(VALID).replace("-2.5", "1e400").encode()
    assert refusal(body)[0]["type"] == "finite_number"


def test_errors_do_not_quote_the_input():
    with pytest.raises(ValidationError) as caught:
        parse({**VALID, "count": "a secret"})
    assert "a secret" not in str(caught.value)


def test_a_request_has_between_one_and_max_rows_rows():
    assert len(parse({"rows": [VALID] * 3}, REQUEST).rows) == 3
    assert refusal({"rows": []}, REQUEST)[0]["type"] == "too_short"
    assert refusal({"rows": [VALID] * 4}, REQUEST)[0]["type"] == "too_long"
    assert refusal({"rows": VALID}, REQUEST)[0]["loc"] == ("rows",)
    assert refusal({"rows": [VALID], "more": 1}, REQUEST)[0]["loc"] == ("more",)
    assert refusal({}, REQUEST)[0]["loc"] == ("rows",)


def test_only_the_first_wrong_row_is_reported():
    found = refusal({"rows": [VALID, {**VALID, "count": "x", "hours": "x"}, {}]}, REQUEST)
    assert [error["loc"] for error in found] == [("rows", 1, "count"), ("rows", 1, "hours")]


def test_the_schema_documents_every_column_and_its_example_is_valid():
    schema = row_model(PRODUCT).model_json_schema()
    for column in PRODUCT.data.columns:
        assert schema["properties"][column.name]["description"] == column.description
    assert set(schema["required"]) == {
        "tenant", *(column.name for column in PRODUCT.data.columns if not column.nullable)
    }  # fmt: skip
    parse(schema["example"], row_model(PRODUCT))
    assert set(schema["example"]) == {"tenant", *PRODUCT.data.names}
    parse(ROW.model_json_schema()["example"])


@pytest.mark.parametrize(
    "name", ["tenant", "event_id", "event_time", "copy", "model_dump", "__class__"]
)
def test_a_column_name_the_api_needs_is_refused(name):
    with pytest.raises(ValueError, match=f"rename column .*{name}"):
        row_model(product((Column(name=name, description="x"),)))


def test_to_matrix_is_in_column_order_with_nan_for_null():
    rows = [parse(VALID), parse({**dict(reversed(VALID.items())), "share": None})]
    expected = [[3, 0.5, -2.5, -7], [3, np.nan, -2.5, -7]]
    np.testing.assert_array_equal(to_matrix(product(), rows), expected)


def test_to_matrix_of_one_column_is_still_a_matrix():
    single = product(COLUMNS[:1])
    row = parse({"tenant": "a", "count": 4}, row_model(single))
    np.testing.assert_array_equal(to_matrix(single, [row, row]), [[4.0], [4.0]])


FINITE = st.floats(-1e12, 1e12)
LINE = st.tuples(
    st.integers(0, EXACT_INT), st.floats(0, 1) | st.none(), FINITE, st.integers(-EXACT_INT, 0)
)


@settings(max_examples=100, deadline=None)
@given(st.lists(LINE, min_size=1, max_size=3))
def test_rows_through_json_give_the_matrix_they_came_from(lines):
    inputs = np.array(lines, dtype=np.float64)
    rows = to_rows(product(), inputs, ["acme"] * len(lines))
    parsed = parse(json.dumps({"rows": rows}, allow_nan=False).encode(), REQUEST)
    np.testing.assert_array_equal(to_matrix(product(), parsed.rows), inputs)


def test_to_rows_leaves_a_broken_count_for_the_service_to_refuse():
    (row,) = to_rows(product(), np.array([[2.5, 0.5, 1.0, 1.0]]), ["acme"])
    assert row["count"] == 2.5
    assert refusal(row)[0]["loc"] == ("count",)


def test_to_rows_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="2 tenants and 4 columns"):
        to_rows(product(), np.zeros((1, 4)), ["a", "b"])
    with pytest.raises(ValueError, match="4 columns"):
        to_rows(product(), np.zeros((1, 3)), ["a"])


def test_a_golden_set_has_one_answer_per_row_and_survives_json():
    golden = GoldenSet(rows=(VALID,), expected=(0.1 + 0.2,))
    assert GoldenSet.model_validate_json(golden.model_dump_json()) == golden
    with pytest.raises(ValidationError, match="1 rows but 2 expected"):
        GoldenSet(rows=(VALID,), expected=(0.1, 0.2))
    with pytest.raises(ValidationError):
        GoldenSet(rows=(), expected=())


def test_a_prediction_outside_zero_to_one_is_an_error():
    one = {"prediction_id": "x", "probability": 1.2, "risk_level": "low", "confidence": 0.5,
           "model_version": "v"}  # fmt: skip
    with pytest.raises(ValidationError, match="probability"):
        PredictResponse.model_validate({"predictions": [one]})
