"""The request and response types of a text_labels service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from models.contracts.api.common import MAX_EXPLAINED
from models.contracts.api.texts import MAX_TEXT, TextPrediction, join_context, request_model
from models.risk.sync_conflict.product import PRODUCT

REQUEST = request_model(
    PRODUCT.model_copy(update={"serving": PRODUCT.serving.model_copy(update={"max_rows": 6})})
)
ROW: dict[str, Any] = {"tenant": "acme", "text": "you are kind"}


def parse(body: object) -> Any:
    return REQUEST.model_validate_json(body if isinstance(body, bytes) else json.dumps(body))


def refusal(body: object) -> list[tuple[Any, ...]]:
    with pytest.raises(ValidationError) as caught:
        parse(body)
    return [error["loc"] for error in caught.value.errors()]


def test_a_text_alone_is_enough():
    parsed = parse({"rows": [ROW]})
    assert (parsed.explain, parsed.method) == (False, "lime")
    (row,) = parsed.rows
    assert (row.tenant, row.text, row.context) == ("acme", "you are kind", None)
    assert (row.event_id, row.event_time) == (None, None)


@pytest.mark.parametrize(
    "text", [" ", "\0", "\x1b[31m", "\u202eabc", "e\u0301" * 50, "😀", "\ufeff", "x" * MAX_TEXT]
)
def test_any_text_is_taken_as_it_is(text: str):
    assert parse({"rows": [{**ROW, "text": text}]}).rows[0].text == text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", ""), ("text", None), ("text", 7), ("text", ["a"]), ("text", "x" * (MAX_TEXT + 1)),
        ("context", ""), ("context", 7), ("context", "x" * (MAX_TEXT + 1)), ("tenant", ""),
        ("tenant", "x" * 201), ("label", 1), ("event_time", "now"), ("event_id", ""),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_its_name(field: str, value: object):
    assert refusal({"rows": [{**ROW, field: value}]}) == [("rows", 0, field)]


def test_half_a_surrogate_pair_is_no_text():
    assert refusal(b'{"rows": [{"tenant": "a", "text": "\\ud800"}]}')
    pair = parse(b'{"rows": [{"tenant": "a", "text": "\\ud83d\\ude00"}]}')
    assert pair.rows[0].text == "😀"


def test_a_text_that_is_too_long_is_told_the_bound():
    with pytest.raises(ValidationError, match=f"at most {MAX_TEXT} characters"):
        parse({"rows": [{**ROW, "text": "x" * (MAX_TEXT + 1)}]})


def test_few_rows_can_be_explained_at_once():
    for rows in (1, MAX_EXPLAINED):
        assert parse({"rows": [ROW] * rows, "explain": True}).explain
    with pytest.raises(ValidationError, match="explain=true takes at most 4 rows, not 5; send"):
        parse({"rows": [ROW] * 5, "explain": True})
    assert len(parse({"rows": [ROW] * 6}).rows) == 6


@pytest.mark.parametrize(("field", "value"), [
    ("explain", 1), ("explain", "true"), ("explain", None), ("method", "guess"), ("method", None),
    ("more", 1),
])  # fmt: skip
def test_a_wrong_option_is_refused_by_its_name(field: str, value: object):
    assert refusal({"rows": [ROW], field: value}) == [(field,)]


def test_the_example_of_the_schema_is_valid():
    (row,) = [
        found for name, found in REQUEST.model_json_schema()["$defs"].items() if "Row" in name
    ]
    assert parse({"rows": [row["example"]]}).rows[0].context == "Who am I?"
    for name in ("text", "context", "event_id"):
        assert row["properties"][name]["description"]


def test_the_text_comes_before_its_context():
    assert join_context("no", None) == join_context("no", "") == "no"
    joined = join_context("no", "shall we?")
    assert joined.startswith("no\n")
    assert joined.endswith("shall we?")


def test_a_label_s_probability_is_one_or_unknown():
    fields: dict[str, Any] = {
        "prediction_id": "x", "probability": 0.2, "labels": {"a": 0.2, "b": None}, "flagged": [],
        "risk_level": "low", "confidence": {"prediction": 0.8}, "review": False,
        "model_version": "v",
    }  # fmt: skip
    made = TextPrediction(**fields)
    assert (made.confidence.model, made.confidence.ensemble, made.explanations) == (None,) * 3
    with pytest.raises(ValidationError, match="labels"):
        TextPrediction(**{**fields, "labels": {"a": 1.2}})
