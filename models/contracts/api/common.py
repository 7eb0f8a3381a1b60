"""What every service is asked and answers, whatever its contract: outcomes, golden requests, times.

Types only: no framework, no model, no files. The clock is read for one thing: a time that lies
ahead of it is refused. What a row holds is the affair of ``rows``, ``texts`` and ``rankings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, Literal, Protocol
from uuid import UUID

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
from models.contracts.product import EVENT_ID, EVENT_TIME, TENANT, ModelProduct

RiskLevel = Literal["low", "medium", "high"]

#: How far a client's clock may be ahead of the service's.
MAX_AHEAD = timedelta(minutes=5)
MAX_OUTCOMES = 1000
#: Rows of a request that asks for explanations: each costs hundreds of predictions.
MAX_EXPLAINED = 4
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


def risk_level(probability: float, threshold: float) -> RiskLevel:
    """``high`` where the answer is "yes", ``medium`` from half of that on, else ``low``."""
    if probability >= threshold:
        return "high"
    return "medium" if probability >= threshold / 2 else "low"


class OutcomeReport(BaseModel):
    """What came of one prediction, named by the answer's id or by the client's own key."""

    model_config = STRICT

    prediction_id: UUID | None = Field(default=None, description="As POST /predict answered it")
    event_id: str | None = Field(
        default=None, min_length=1, max_length=200, description="As it was sent to POST /predict"
    )
    tenant: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Owner of the row; needed beside event_id when your key is of several tenants",
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
        expected: Per row what the predictor says without any service: a probability
            (``row_scores``), ``{label: probability or null}`` (``text_labels``) or the items in
            their order (``ranked_items``).
        tolerance: How far a number may be off; None: what its kind of answer allows.
    """

    rows: tuple[dict[str, JsonValue], ...] = Field(min_length=1)
    expected: tuple[JsonValue, ...]
    tolerance: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_answer_per_row(self) -> GoldenSet:
        if len(self.rows) != len(self.expected):
            raise ValueError(f"{len(self.rows)} rows but {len(self.expected)} expected answers")
        return self


class Answer(Protocol):
    """What log and figures need of one answered row, whatever its contract."""

    @property
    def prediction_id(self) -> str:
        """UUID to quote when the outcome becomes known."""
        ...

    @property
    def probability(self) -> float:
        """The watched score, 0 to 1."""
        ...

    @property
    def model_version(self) -> str:
        """Release that answered."""
        ...


class Explainable(BaseModel):
    """Base of the requests whose answers can be explained, a few rows at a time."""

    model_config = STRICT | ConfigDict(title="PredictRequest")

    explain: bool = Field(default=False, description="Also say why, part by part")

    @model_validator(mode="after")
    def _few_explained(self) -> Explainable:
        if self.explain and (rows := len(self.rows)) > MAX_EXPLAINED:  # type: ignore[attr-defined]  # of every model made from this one
            raise ValueError(
                f"explain=true takes at most {MAX_EXPLAINED} rows, not {rows}; send the rows to"
                " explain in requests of their own"
            )
        return self


_NAME = Annotated[str, Field(min_length=1, max_length=200)]
#: Fields of every request row, whatever the contract.
ROW_FIELDS: Mapping[str, Any] = MappingProxyType(
    {
        TENANT: (_NAME, Field(description="Owner of the row, as in training")),
        EVENT_ID: (
            _NAME | None,
            Field(
                default=None, description="Your key of the row; its outcome can be reported by it"
            ),
        ),
        EVENT_TIME: (
            PastTime | None,
            Field(default=None, description="When the decision is for, with offset; absent: now"),
        ),
    }
)


def request_of(
    product: ModelProduct, row: type[BaseModel], base: type[BaseModel] | None = None, **more: Any
) -> type[BaseModel]:
    """The body of ``POST /predict``: between one and ``serving.max_rows`` rows, and what else.

    Only the first row with errors is reported: a thousand wrong rows would make megabytes of them.

    Args:
        product: Bounds the rows.
        row: Type of one row.
        base: A strict model with validators over the whole request.
        **more: Further fields, as pydantic's ``create_model`` takes them.
    """
    most = product.serving.max_rows
    rows = Field(min_length=1, max_length=most, description="Rows to predict")
    fields: dict[str, Any] = {"rows": (Annotated[list[row], FailFast()], rows), **more}  # type: ignore[valid-type]
    how: dict[str, Any] = {"__base__": base} if base else {"__config__": STRICT}
    made: type[BaseModel] = create_model(
        "PredictRequest", **how, __doc__=f"Up to {most} rows.", **fields
    )
    return made
