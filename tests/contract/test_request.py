"""Every product's request type: takes what was generated, refuses what is not a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from models.contracts.api import rows, to_matrix
from models.contracts.product import Contract, ModelProduct
from models.kinds import kind_of
from models.registry import products
from tests.contract.conftest import Bench
from tests.contract.rows import TENANTS, draw

#: Module of ``models.contracts.api`` that types a contract's requests.
API: Mapping[Contract, str] = MappingProxyType(
    {"row_scores": "rows", "text_labels": "texts", "ranked_items": "rankings"}
)
ROW_PRODUCTS = [product for product in products() if product.contract == "row_scores"]
of_rows = pytest.mark.parametrize("product", ROW_PRODUCTS, ids=lambda p: p.key, indirect=True)


def api(product: ModelProduct) -> Any:
    return import_module(f"models.contracts.api.{API[product.contract]}")


def parse(product: ModelProduct, body: object) -> Any:
    return api(product).request_model(product).model_validate_json(json.dumps(body))


def refused(product: ModelProduct, row: dict[str, Any]) -> list[tuple[str | int, ...]]:
    with pytest.raises(ValidationError) as caught:
        parse(product, {"rows": [row]})
    return [error["loc"] for error in caught.value.errors()]


@pytest.fixture(scope="module")
def asked(bench: Bench) -> tuple[dict[str, Any], ...]:
    """Valid request rows, as the roll-out would replay them."""
    kind, first = kind_of(bench.product.contract), bench.product.trials[0].name
    return kind.golden(bench.product, bench.sealed(first).served, bench.units(), 12).rows


def valid(product: ModelProduct) -> dict[str, Any]:
    """One row of columns."""
    inputs = draw(product.data.columns, 1, seed=8)
    return dict(rows.to_rows(product, inputs, TENANTS[:1])[0])


def test_what_the_roll_out_replays_is_taken(
    product: ModelProduct, asked: tuple[dict[str, Any], ...]
):
    parsed = parse(product, {"rows": asked}).rows
    assert [row.tenant for row in parsed] == [row["tenant"] for row in asked]
    assert len(asked) == 12


def test_an_unknown_field_and_too_many_rows_are_refused(
    product: ModelProduct, asked: tuple[dict[str, Any], ...]
):
    assert refused(product, {**asked[0], "label": 1}) == [("rows", 0, "label")]
    for rows_sent in ([], [asked[0]] * (product.serving.max_rows + 1)):
        with pytest.raises(ValidationError):
            parse(product, {"rows": rows_sent})


def test_what_must_be_there_is_named_when_it_is_not(
    product: ModelProduct, asked: tuple[dict[str, Any], ...]
):
    row: type[BaseModel] = api(product).row_model(product)
    must = [name for name, field in row.model_fields.items() if field.is_required()]
    assert "tenant" in must
    for name in must:
        without = {key: value for key, value in asked[0].items() if key != name}
        assert refused(product, without) == [("rows", 0, name)]
        assert refused(product, {**asked[0], name: None}) == [("rows", 0, name)]


@of_rows
def test_generated_rows_come_back_as_the_same_matrix(product: ModelProduct):
    inputs = draw(product.data.columns, 12, seed=8)
    tenants = [TENANTS[number % len(TENANTS)] for number in range(12)]
    parsed = parse(product, {"rows": rows.to_rows(product, inputs, tenants)}).rows
    np.testing.assert_array_equal(to_matrix(product, parsed), inputs)


@of_rows
def test_nan_is_refused_in_every_column_and_null_where_it_may_not_be(product: ModelProduct):
    row = valid(product)
    for column in product.data.columns:
        for value in (float("nan"), float("inf")):
            assert refused(product, {**row, column.name: value}) == [("rows", 0, column.name)]
        if column.nullable:
            without = {name: value for name, value in row.items() if name != column.name}
            assert getattr(parse(product, {"rows": [without]}).rows[0], column.name) is None
        else:
            assert refused(product, {**row, column.name: None}) == [("rows", 0, column.name)]


@of_rows
def test_a_value_out_of_bounds_is_refused(product: ModelProduct):
    row = valid(product)
    for column in product.data.columns:
        for bound, outside in ((column.minimum, -1), (column.maximum, 1)):
            if bound is not None:
                value = int(bound) + outside if column.kind == "int" else bound + outside
                assert refused(product, {**row, column.name: value}) == [("rows", 0, column.name)]
