"""What a ``row_scores`` service is asked and what it answers, built from a product's columns.

Types and the conversion between rows and matrix, nothing else: no framework, no model, no files.
The clock is read for one thing: a time that lies ahead of it is refused.
The service validates with these types, documents itself with them and the roll-out replays them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, Literal
from uuid import UUID

import numpy as np
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    JsonValue,
    create_model,
    model_validator,
)

from models.contracts.base import Frozen
from models.contracts.learner import Matrix
from models.contracts.product import EVENT_ID, EVENT_TIME, TENANT, Column, ModelProduct

RiskLevel = Literal["low", "medium", "high"]

#: Integers above this are not exact in the float64 matrix a predictor gets.
EXACT_INT = 2**53

#: How far a client's clock may be ahead of the service's.
MAX_AHEAD = timedelta(minutes=5)
MAX_OUTCOMES = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: A request is data from outside: no coercion, no unknown field, no NaN, no input in the errors.
STRICT = ConfigDict(
    strict=True,
    extra="forbid",
    allow_inf_nan=False,
    hide_input_in_errors=True,
    protected_namespaces=(),
)


def _as_text(value: object) -> object:
    """Only the written form: pydantic alone would also take seconds since 1970 in a string."""
    if isinstance(value, str) and value[4:5] == "-":
        return value
    raise ValueError("should be an ISO 8601 date and time with offset, 2026-01-31T12:00:00Z")


def _past(moment: datetime) -> datetime:
    """The moment in UTC.

    Raises:
        ValueError: It lies ahead of the clock, or before the days the log is divided into.
    """
    if moment > datetime.now(UTC) + MAX_AHEAD:
        raise ValueError("lies in the future; check the clock and the offset")
    if moment < _EPOCH:
        raise ValueError("lies before 1970")
    return moment.astimezone(UTC)


#: A time a client sends. Lax inside, because a strict type refuses what a validator passes on.
PastTime = Annotated[
    AwareDatetime, Field(strict=False), BeforeValidator(_as_text), AfterValidator(_past)
]


class Prediction(Frozen):
    """One answered row.

    Attributes:
        prediction_id: UUID to quote when the outcome becomes known.
        probability: Of the positive class.
        risk_level: ``high`` from the decision threshold on, ``medium`` from half of it.
        confidence: Probability of the likelier class, 0.5 to 1.
        model_version: Release that answered.
    """

    prediction_id: str
    probability: float = Field(ge=0, le=1)
    risk_level: RiskLevel
    confidence: float = Field(ge=0, le=1)
    model_version: str


class PredictResponse(Frozen, title="PredictResponse"):
    """One prediction per row of the request, in its order."""

    predictions: list[Prediction]


class OutcomeReport(BaseModel):
    """What came of one prediction, named by the answer's id or by the client's own key."""

    model_config = STRICT

    prediction_id: UUID | None = Field(default=None, description="As POST /predict answered it")
    event_id: str | None = Field(
        default=None, min_length=1, max_length=200, description="As it was sent to POST /predict"
    )
    label: int = Field(ge=0, le=1, description="1 when what was predicted happened, else 0")
    known_at: PastTime | None = Field(
        default=None, description="When the outcome became known; absent: now"
    )

    @model_validator(mode="after")
    def _one_name(self) -> OutcomeReport:
        if (self.prediction_id is None) == (self.event_id is None):
            raise ValueError("give exactly one of prediction_id and event_id")
        return self


class OutcomeRequest(BaseModel):
    """The body of ``POST /outcome``; only the first report with errors is named."""

    model_config = STRICT

    outcomes: Annotated[list[OutcomeReport], FailFast()] = Field(
        min_length=1, max_length=MAX_OUTCOMES, description="Outcomes to report"
    )


class OutcomeResponse(Frozen, title="OutcomeResponse"):
    """One id per reported outcome, in the order of the request; answered 202."""

    outcome_ids: list[str]


class GoldenSet(Frozen):
    """Requests with the answers the released model gave offline.

    Attributes:
        rows: Request rows of one product.
        expected: Probability per row, from the predictor called without any service.
    """

    rows: tuple[dict[str, JsonValue], ...] = Field(min_length=1)
    expected: tuple[float, ...]

    @model_validator(mode="after")
    def _one_answer_per_row(self) -> GoldenSet:
        if len(self.rows) != len(self.expected):
            raise ValueError(f"{len(self.rows)} rows but {len(self.expected)} expected answers")
        return self


def row_model(product: ModelProduct) -> type[BaseModel]:
    """The type of one request row: the tenant, one field per column, and what the log may be told.

    Args:
        product: Its columns give names, kinds, bounds, descriptions; a nullable one may be absent.

    Returns:
        A strict model; its OpenAPI schema carries descriptions and an example.

    Raises:
        ValueError: A column is called like a field of every row or a method of pydantic's models.
    """
    reserved = {TENANT, EVENT_ID, EVENT_TIME, *dir(BaseModel)} & set(product.data.names)
    if reserved:
        raise ValueError(f"{product.key}: rename column {sorted(reserved)}; the API reserves it")
    tenant = Field(min_length=1, max_length=200, description="Owner of the row, as in training")
    fields: dict[str, Any] = {TENANT: (str, tenant)}
    fields |= {column.name: _field(column) for column in product.data.columns}
    fields |= {EVENT_ID: _KEY_FIELD, EVENT_TIME: _TIME_FIELD}
    example: dict[str, Any] = {TENANT: "example-tenant"}
    example |= {column.name: _example(column) for column in product.data.columns}
    made: type[BaseModel] = create_model(
        f"{_title(product)}Row",
        __config__=STRICT | ConfigDict(json_schema_extra={"example": example}),
        __doc__=f"{product.title}: one row to predict.",
        **fields,
    )
    return made


_KEY_FIELD: Any = (
    Annotated[str, Field(min_length=1, max_length=200)] | None,
    Field(default=None, description="Your key of the row; its outcome can be reported by it"),
)
_TIME_FIELD: Any = (
    PastTime | None,
    Field(default=None, description="When the decision is for, with offset; absent: now"),
)


def request_model(product: ModelProduct) -> type[BaseModel]:
    """The body of ``POST /predict``: between one and ``serving.max_rows`` rows.

    Only the first row with errors is reported: a thousand wrong rows would make megabytes of them.

    Raises:
        ValueError: See `row_model`.
    """
    row: Any = row_model(product)
    rows = Field(min_length=1, max_length=product.serving.max_rows, description="Rows to predict")
    return create_model(
        "PredictRequest",
        __config__=STRICT | ConfigDict(title="PredictRequest"),
        __doc__=f"Up to {product.serving.max_rows} rows.",
        rows=(Annotated[list[row], FailFast()], rows),
    )


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


def _title(product: ModelProduct) -> str:
    return product.name.title().replace("_", "")
