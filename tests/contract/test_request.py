"""Every product's request type: takes what was generated, refuses what is not a row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from models.contracts.api import request_model, to_matrix, to_rows
from models.contracts.product import ModelProduct
from tests.contract.rows import TENANTS, draw


def rows(product: ModelProduct, count: int = 12) -> list[dict[str, Any]]:
    tenants = [TENANTS[number % len(TENANTS)] for number in range(count)]
    return list(to_rows(product, draw(product, count, seed=8), tenants))


def parse(product: ModelProduct, body: object) -> Any:
    return request_model(product).model_validate_json(json.dumps(body))


def refused(product: ModelProduct, row: dict[str, Any]) -> list[tuple[str | int, ...]]:
    with pytest.raises(ValidationError) as caught:
        parse(product, {"rows": [row]})
    return [error["loc"] for error in caught.value.errors()]


def test_generated_rows_pass_and_come_back_as_the_same_matrix(product: ModelProduct):
    inputs = draw(product, 12, seed=8)
    parsed = parse(product, {"rows": rows(product)}).rows
    np.testing.assert_array_equal(to_matrix(product, parsed), inputs)


def test_nan_is_refused_in_every_column(product: ModelProduct):
    valid = rows(product, 1)[0]
    for name in product.data.names:
        for value in (float("nan"), float("inf")):
            assert refused(product, {**valid, name: value}) == [("rows", 0, name)]


def test_a_missing_column_is_named_unless_it_may_be_null(product: ModelProduct):
    valid = rows(product, 1)[0]
    for column in product.data.columns:
        without = {name: value for name, value in valid.items() if name != column.name}
        if column.nullable:
            assert getattr(parse(product, {"rows": [without]}).rows[0], column.name) is None
            continue
        assert refused(product, without) == [("rows", 0, column.name)]
        assert refused(product, {**valid, column.name: None}) == [("rows", 0, column.name)]


def test_a_value_out_of_bounds_is_refused(product: ModelProduct):
    valid = rows(product, 1)[0]
    for column in product.data.columns:
        for bound, outside in ((column.minimum, -1), (column.maximum, 1)):
            if bound is not None:
                value = int(bound) + outside if column.kind == "int" else bound + outside
                assert refused(product, {**valid, column.name: value}) == [("rows", 0, column.name)]


def test_an_unknown_field_a_missing_tenant_and_too_many_rows_are_refused(product: ModelProduct):
    valid = rows(product, 1)[0]
    assert refused(product, {**valid, "label": 1}) == [("rows", 0, "label")]
    without = {name: value for name, value in valid.items() if name != "tenant"}
    assert refused(product, without) == [("rows", 0, "tenant")]
    with pytest.raises(ValidationError):
        parse(product, {"rows": [valid] * (product.serving.max_rows + 1)})
