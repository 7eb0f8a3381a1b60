"""What a ``row_scores`` service is asked and what it answers, built from a product's columns.

Types and the conversion between rows and matrix, nothing else: no framework, no model, no files.
The service validates with these types, documents itself with them and the roll-out replays them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from models.contracts.api.common import ROW_FIELDS, STRICT, Explainable, RiskLevel, request_of
from models.contracts.base import Frozen
from models.contracts.learner import Matrix
from models.contracts.product import TENANT, Column, ModelProduct
from models.contracts.serving import Rung

#: Integers above this are not exact in the float64 matrix a predictor gets.
EXACT_INT = 2**53

Method = Literal["shap", "lime"]


class Part(Frozen):
    """A column that the model reads and its weight in the decision.

    Attributes:
        column: Of the product, or one that the model computes from some (``note`` says so).
        weight: Above 0 speaks for the positive class, below 0 against it.
    """

    column: str
    weight: float


class Explanation(Frozen):
    """Why a row got its probability.

    Attributes:
        method: How it was found.
        parts: In the order in which the model reads them; columns it does not read are left out.
        base: The answer when no column is known.
        value: The answer to the row: its probability, or the log-odds of it; ``note`` says which,
            and weights and base are of the same kind.
        fidelity: How well the weights predict the model near this row (R squared, at most 1); null
            where the method does not say.
        note: What a reader must know.
    """

    method: Method
    parts: list[Part]
    base: float
    value: float
    fidelity: float | None = Field(default=None, le=1)
    note: str


class Prediction(Frozen):
    """One answered row.

    Attributes:
        prediction_id: UUID to quote when the outcome becomes known.
        probability: Of the positive class.
        risk_level: ``high`` from the decision threshold on, ``medium`` from half of it.
        confidence: Probability of the likelier class, 0.5 to 1.
        explanations: Only when asked for.
        model_version: Release that answered.
    """

    prediction_id: str
    probability: float = Field(ge=0, le=1)
    risk_level: RiskLevel
    confidence: float = Field(ge=0, le=1)
    explanations: list[Explanation] | None = None
    model_version: str


class PredictResponse(Frozen, title="PredictResponse"):
    """One prediction per row of the request, in its order.

    Attributes:
        fallback: Who answered when the release that should could not; null: nobody had to.
    """

    predictions: list[Prediction]
    fallback: Rung | None = None


class _Request(Explainable):
    """What stands beside the rows."""

    method: Method = Field(default="shap", description="How to explain")


def row_model(product: ModelProduct) -> type[BaseModel]:
    """The type of one request row: the tenant, one field per column, and what the log may be told.

    Args:
        product: Its columns give names, kinds, bounds, descriptions; a nullable one may be absent.

    Returns:
        A strict model; its OpenAPI schema carries descriptions and an example.

    Raises:
        ValueError: A column is called like a field of every row or a method of pydantic's models.
    """
    reserved = {*ROW_FIELDS, *dir(BaseModel)} & set(product.data.names)
    if reserved:
        raise ValueError(f"{product.key}: rename column {sorted(reserved)}; the API reserves it")
    columns = {column.name: _field(column) for column in product.data.columns}
    fields: dict[str, Any] = {TENANT: ROW_FIELDS[TENANT], **columns, **ROW_FIELDS}
    example: dict[str, Any] = {TENANT: "example-tenant"}
    example |= {column.name: _example(column) for column in product.data.columns}
    made: type[BaseModel] = create_model(
        f"{product.name.title().replace('_', '')}Row",
        __config__=STRICT | ConfigDict(json_schema_extra={"example": example}),
        __doc__=f"{product.title}: one row to predict.",
        **fields,
    )
    return made


def request_model(product: ModelProduct) -> type[BaseModel]:
    """The body of ``POST /predict``: rows, and whether and how to explain.

    Raises:
        ValueError: See `row_model`.
    """
    return request_of(product, row_model(product), _Request)


def to_matrix(product: ModelProduct, rows: Sequence[BaseModel]) -> Matrix:
    """Validated rows as the predictor's input.

    Returns:
        Shape (n, d) float64 in the product's column order; null becomes NaN.
    """
    values = attrgetter(*product.data.names)
    if len(product.data.columns) == 1:  # attrgetter of one name gives the bare value
        return np.array([[values(row)] for row in rows], dtype=np.float64)
    return np.array([values(row) for row in rows], dtype=np.float64)


def to_rows(
    product: ModelProduct, inputs: Matrix, tenants: Sequence[str]
) -> tuple[dict[str, JsonValue], ...]:
    """The inverse of `to_matrix`: a matrix as request rows, e.g. for a `GoldenSet`.

    Args:
        product: Gives names and kinds.
        inputs: Shape (n, d) in the product's column order; NaN becomes null.
        tenants: n tenants.

    Raises:
        ValueError: The shapes do not fit together.
    """
    if inputs.shape != (len(tenants), len(product.data.columns)):
        raise ValueError(
            f"{product.key}: inputs of shape {inputs.shape} for {len(tenants)} tenants"
            f" and {len(product.data.columns)} columns"
        )
    as_row = partial(_row, product.data.columns)
    return tuple(as_row(line, str(tenant)) for line, tenant in zip(inputs, tenants, strict=True))


def _row(columns: Sequence[Column], line: Sequence[float], tenant: str) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = {TENANT: tenant}
    for column, value in zip(columns, line, strict=True):
        if np.isnan(value):
            row[column.name] = None
        else:
            whole = column.kind == "int" and float(value).is_integer()
            row[column.name] = int(value) if whole else float(value)
    return row


def _field(column: Column) -> tuple[Any, Any]:
    bounds = {"ge": column.minimum, "le": column.maximum}
    if column.kind == "int":
        bounds = {
            "ge": -EXACT_INT if column.minimum is None else column.minimum,
            "le": EXACT_INT if column.maximum is None else column.maximum,
        }
    kind: Any = int if column.kind == "int" else float
    given: Mapping[str, Any] = {name: bound for name, bound in bounds.items() if bound is not None}
    typed = Annotated[kind, Field(**given)]
    if column.nullable:
        return typed | None, Field(default=None, description=column.description)
    return typed, Field(description=column.description)


def _example(column: Column) -> float:
    low = max(column.minimum or 0.0, 0.0)
    if column.kind == "int":
        return int(low) + 1
    return low + 0.5 if column.maximum is None else (low + column.maximum) / 2
