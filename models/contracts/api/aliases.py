"""Routes whose bodies others defined: their types, and the way to a contract's row and back.

Pure: no HTTP, no file. Which path has which types, and whom it asks, is ``gateway.aliases``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from models.contracts.api.common import STRICT, RiskLevel
from models.contracts.api.rankings import MAX_K
from models.contracts.api.rows import EXACT_INT, row_model
from models.contracts.api.texts import MAX_TEXT
from models.contracts.base import Frozen
from models.contracts.product import TENANT, TEXT, USER, ModelProduct
from models.contracts.serving import Rung

_NAME = Annotated[str, Field(min_length=1, max_length=200)]
#: An id that some clients keep as a number.
_ID = _NAME | Annotated[int, Field(ge=0, le=2**63 - 1)]
Row = dict[str, Any]
#: Path of a field within a body.
Place = tuple[str, ...]


class _Answer(Frozen):
    """What every alias tells beside its own fields: whom to quote, and who answered."""

    model_version: str
    prediction_id: str
    fallback: Rung | None = None


# ---- will a synchronisation conflict?


def conflict_request(product: ModelProduct) -> type[BaseModel]:
    """The body of the conflict route; ``signals`` are columns of the product, as many as known."""
    fields: dict[str, Any] = {}
    row = row_model(product).model_fields
    for column in product.data.columns:
        kind: Any = row[column.name].annotation
        if row[column.name].metadata:
            kind = Annotated[(kind, *row[column.name].metadata)]
        fields[column.name] = (kind | None, Field(default=None, description=column.description))
    signals = create_model("Signals", __config__=STRICT, __doc__="What is known.", **fields)
    example: dict[str, Any] = {"domain": "example-tenant", "user_id": "u1", "entity_type": "file",
                               "entity_id": "e1"}  # fmt: skip
    made: type[BaseModel] = create_model(
        "ConflictRequest",
        __config__=STRICT | ConfigDict(json_schema_extra={"example": example}),
        __doc__="Who is about to synchronise what.",
        domain=(_NAME, Field(description="Owner of the data, as in training")),
        user_id=(_ID, Field(description="Who synchronises")),
        entity_type=(_NAME, Field(description="What kind of thing")),
        entity_id=(_ID, Field(description="Which one")),
        signals=(
            signals | None,
            Field(default=None, description="What is left out is looked up: the newest known"),
        ),
    )
    return made


class ConflictAnswer(_Answer):
    """How likely the edits conflict."""

    probability: float = Field(ge=0, le=1)
    risk_level: RiskLevel
    confidence: float = Field(ge=0, le=1)


def conflict_sent(request: Any) -> Row:
    """The columns that came with the request."""
    sent: Row = request.signals.model_dump(exclude_unset=True) if request.signals else {}
    return sent


def conflict_row(request: Any, tenant: str, known: Mapping[str, Any]) -> Row:
    """A row to predict; what was sent counts more than what is known."""
    return {**known, **conflict_sent(request), TENANT: tenant}


def conflict_place(column: str) -> Place:
    """Where the request says what a row's column holds."""
    return "signals", column


def conflict_answer(_: Any, told: Mapping[str, Any], fallback: Rung | None) -> ConflictAnswer:
    """The prediction in the words of the route."""
    names = ("probability", "risk_level", "confidence", "model_version", "prediction_id")
    return ConflictAnswer(**{name: told[name] for name in names}, fallback=fallback)


# ---- is a text harmful?

TextModel = Literal[
    "toxic-bert", "hate-bert", "offensive-bert", "light-toxicity-bert", "sentiment-bert"
]
#: The label that each of them stood for.
LABELS: Mapping[TextModel, str] = {
    "toxic-bert": "toxicity",
    "hate-bert": "hate",
    "offensive-bert": "offensive",
    "light-toxicity-bert": "toxicity",
    "sentiment-bert": "negative_sentiment",
}
#: A bad mood is no harm: it is told, and decides nothing.
_HARMLESS = frozenset({"sentiment-bert"})


class ClassifyRequest(BaseModel):
    """A text, and which models to ask; all when left out."""

    model_config = STRICT | ConfigDict(json_schema_extra={"example": {TEXT: "Have a nice day"}})

    text: str = Field(min_length=1, max_length=MAX_TEXT, description="What somebody wrote")
    models: Annotated[list[TextModel], Field(min_length=1, max_length=len(LABELS))] | None = Field(
        default=None, description="Absent: all"
    )


class ClassifyDetail(Frozen):
    """What one model says."""

    label: str
    probability: float = Field(ge=0, le=1)
    flagged: bool


class ClassifyAnswer(_Answer):
    """Whether any of the models flags the text.

    Attributes:
        confidence: Probability of what was decided.
        details: By model; null for a label that the release never learned.
    """

    is_harmful: bool
    confidence: float = Field(ge=0, le=1)
    details: dict[TextModel, ClassifyDetail | None]


def classify_row(request: ClassifyRequest, tenant: str, _: Mapping[str, Any]) -> Row:
    """A row to predict."""
    return {TENANT: tenant, TEXT: request.text}


def classify_answer(
    request: ClassifyRequest, told: Mapping[str, Any], fallback: Rung | None
) -> ClassifyAnswer:
    """The labels of the models that were asked."""
    details: dict[TextModel, ClassifyDetail | None] = {}
    for model in request.models or LABELS:
        details[model] = _detail(LABELS[model], told)
    deciding = [one for name, one in details.items() if one and name not in _HARMLESS]
    harmful = [one.probability for one in deciding if one.flagged]
    sure = max(harmful) if harmful else 1 - max((one.probability for one in deciding), default=0.5)
    return ClassifyAnswer(
        is_harmful=bool(harmful), confidence=sure, details=details, fallback=fallback,
        model_version=told["model_version"], prediction_id=told["prediction_id"],
    )  # fmt: skip


def _detail(label: str, told: Mapping[str, Any]) -> ClassifyDetail | None:
    probability = told["labels"].get(label)
    if probability is None:
        return None
    return ClassifyDetail(label=label, probability=probability, flagged=label in told["flagged"])


# ---- what to recommend?


class RecommendRequest(BaseModel):
    """For whom, and how many."""

    model_config = STRICT | ConfigDict(json_schema_extra={"example": {"user_id": 123, "top_k": 5}})

    user_id: _ID = Field(description="A user nobody knows gets what is popular")
    top_k: int = Field(default=10, ge=1, le=MAX_K, description="How many items")


class Recommendation(Frozen):
    """One item; scores compare within one answer."""

    item_id: str
    score: float


class RecommendAnswer(_Answer):
    """The best items first."""

    user_id: str | int
    recommendations: list[Recommendation]


def recommend_row(request: RecommendRequest, tenant: str, _: Mapping[str, Any]) -> Row:
    """A row to predict."""
    return {TENANT: tenant, USER: str(request.user_id), "k": request.top_k}


def recommend_place(column: str) -> Place:
    """Where the request says what a row's column holds."""
    return ({USER: "user_id", "k": "top_k"}.get(column, column),)


def recommend_answer(
    request: RecommendRequest, told: Mapping[str, Any], fallback: Rung | None
) -> RecommendAnswer:
    """The items in the words of the route."""
    items = [Recommendation(item_id=one["item"], score=one["score"]) for one in told["items"]]
    return RecommendAnswer(
        user_id=request.user_id, recommendations=items, fallback=fallback,
        model_version=told["model_version"], prediction_id=told["prediction_id"],
    )  # fmt: skip


# ---- which versions are there? (answered by the admin service)

ModelType = Literal["anomaly", "clustering", "recommendation", "trend"]
#: The product behind a type of model; the others are not there yet.
TYPES: Mapping[str, str] = {"recommendation": "recommendation/films"}


class _Version(BaseModel):
    model_config = STRICT

    model_type: ModelType | None = Field(default=None, description="Or product")
    product: _NAME | None = Field(default=None, description="Key of the product")


class RollbackRequest(_Version):
    """The release to go to; absent: the one before."""

    version_id: str | None = Field(default=None, pattern=r"^v?\d{8}_\d{6}$")
    reason: str = Field(default="by request", max_length=500)


class PerformanceRequest(_Version):
    """What was measured of the serving release."""

    accuracy: float | None = Field(default=None, ge=0, le=1)
    precision: float | None = Field(default=None, ge=0, le=1)
    recall: float | None = Field(default=None, ge=0, le=1)
    f1: float | None = Field(default=None, ge=0, le=1)


class AutoRollbackRequest(_Version):
    """What traffic shows; the release before serves when the drop is large and proven."""

    current_accuracy: float = Field(ge=0, le=1)
    rows: int = Field(ge=1, le=EXACT_INT, description="How many rows it was measured on")
    degradation_threshold: float = Field(default=0.05, ge=0, lt=1)


def version_id(given: str | None) -> str | None:
    """The version as assay writes it, with or without the v."""
    return given if given is None or given.startswith("v") else f"v{given}"


def admin_body(request: _Version, product: str) -> Row:
    """What the admin service takes."""
    match request:
        case RollbackRequest():
            wanted = version_id(request.version_id)
            return {"product": product, "version_id": wanted, "reason": request.reason}
        case PerformanceRequest():
            given = request.model_dump(exclude_none=True, exclude={"model_type", "product"})
            return {"product": product, "metrics": given}
        case AutoRollbackRequest():
            return {
                "product": product, "metric": "accuracy", "current": request.current_accuracy,
                "rows": request.rows, "degradation_threshold": request.degradation_threshold,
            }  # fmt: skip
        case _:
            raise TypeError(type(request).__name__)
