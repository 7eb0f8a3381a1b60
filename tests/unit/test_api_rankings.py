"""The request and response types of a ranked_items service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from models.contracts.api.rankings import MAX_ITEMS, MAX_K, MAX_ONLY, request_model, to_query
from models.contracts.learner import Query
from models.risk.sync_conflict.product import PRODUCT

REQUEST = request_model(PRODUCT)
ROW: dict[str, Any] = {"tenant": "acme"}


def parse(row: object) -> Any:
    return REQUEST.model_validate_json(json.dumps({"rows": [row]})).rows[0]


def test_a_stranger_may_ask_without_saying_anything():
    assert to_query(parse(ROW)) == Query(user=None)


def test_a_row_becomes_the_query_it_says():
    row = parse(
        {**ROW, "user": "u1", "k": 3, "history": ["b", "a", "b"], "exclude": ["c", "c"],
         "only": ["a", "d"], "seen": True, "algorithm": "ease", "event_id": "1"}
    )  # fmt: skip
    assert to_query(row) == Query(
        user="u1", k=3, history=("b", "a", "b"), exclude=frozenset({"c"}),
        only=frozenset({"a", "d"}), seen=True, algorithm="ease",
    )  # fmt: skip


def test_categories_narrow_what_only_allows():
    row = parse({**ROW, "only": ["a", "d"], "categories": ["drama"]})
    assert to_query(row, frozenset({"d", "e"})).only == {"d"}
    assert to_query(parse(ROW), frozenset({"d", "e"})).only == {"d", "e"}
    assert to_query(parse(ROW), frozenset()).only == frozenset()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user", ""), ("user", 7), ("user", "x" * 201), ("k", 0), ("k", MAX_K + 1), ("k", "3"),
        ("k", 3.0), ("k", True), ("k", None), ("history", "abc"), ("history", None),
        ("history", ["a"] * (MAX_ITEMS + 1)), ("exclude", ["a"] * (MAX_ITEMS + 1)),
        ("only", []), ("only", ["a"] * (MAX_ONLY + 1)), ("categories", []), ("seen", "yes"),
        ("seen", None), ("algorithm", ""), ("algorithm", 1), ("tenant", ""), ("item", "a"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_its_name(field: str, value: object):
    with pytest.raises(ValidationError) as caught:
        parse({**ROW, field: value})
    assert [error["loc"] for error in caught.value.errors()] == [("rows", 0, field)]


@pytest.mark.parametrize("field", ["history", "exclude", "only", "categories"])
@pytest.mark.parametrize("item", ["", 7, None, "x" * 201, ["a"]])
def test_a_wrong_item_is_refused_by_its_place(field: str, item: object):
    with pytest.raises(ValidationError) as caught:
        parse({**ROW, field: ["a", item]})
    assert caught.value.errors()[0]["loc"] == ("rows", 0, field, 1)


def test_defaults_are_not_shared_between_requests():
    one = parse(ROW)
    one.history.append("a")
    assert parse(ROW).history == []


def test_the_example_of_the_schema_is_valid():
    (row,) = [
        found for name, found in REQUEST.model_json_schema()["$defs"].items() if "Row" in name
    ]
    assert parse(row["example"]).k == 5
