"""What a ``text_labels`` service is asked and what it answers.

Types, and how a text joins its context: no framework, no model, no files. Any Unicode text is
taken, control characters too: what is written to hide from a moderator must reach the model. Only
half of a surrogate pair, which is no text, is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from models.contracts.api.common import ROW_FIELDS, STRICT, Explainable, RiskLevel, request_of
from models.contracts.base import Frozen
from models.contracts.product import TENANT, TEXT, ModelProduct
from models.contracts.serving import Rung

#: Longest text and longest context, in characters. Models read less: they cut at their own length.
MAX_TEXT = 20_000

Method = Literal["lime", "shap", "gradients", "attention"]

_TEXT = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
_ROW: dict[str, Any] = {
    TENANT: ROW_FIELDS[TENANT],
    TEXT: (_TEXT, Field(description="What somebody wrote")),
    "context": (
        _TEXT | None,
        Field(default=None, description="What it replies to, e.g. the parent comment"),
    ),
    **ROW_FIELDS,
}
_EXAMPLE: dict[str, Any] = {
    TENANT: "example-tenant",
    TEXT: "You are a lovely person",
    "context": "Who am I?",
}


def join_context(text: str, context: str | None) -> str:
    """A text with what it replies to, as one text: the same way for training and for serving.

    The text comes first, so that a model that cuts at its length loses context and not text; the
    context is quoted as in a mail.
    """
    return f"{text}\n> {context}" if context else text


class Confidence(Frozen):
    """How sure the model is of its answer to the first label, 0 to 1.

    Attributes:
        prediction: Probability of the likelier class.
        model: How sure the members of an ensemble are, each of its own answer, on average; null
            where there are none.
        ensemble: Their consensus; null where there are none.
    """

    prediction: float = Field(ge=0, le=1)
    model: float | None = Field(default=None, ge=0, le=1)
    ensemble: float | None = Field(default=None, ge=0, le=1)


class Piece(Frozen):
    """A part of the text and its weight in the decision.

    Attributes:
        text: The part.
        weight: Above 0 speaks for the label, below 0 against it.
    """

    text: str
    weight: float


class Explanation(Frozen):
    """Why one label got its probability.

    Attributes:
        method: How it was found.
        pieces: In the order of the text.
        base: The answer to the text without any of them.
        value: The answer to the text: a probability, or log-odds where ``note`` says so.
        fidelity: How well the weights predict the model near this text (R squared, at most 1);
            null where the method does not say.
        note: What a reader must know.
    """

    label: str
    method: Method
    pieces: list[Piece]
    base: float
    value: float
    fidelity: float | None = Field(default=None, le=1)
    note: str = ""


class TextPrediction(Frozen):
    """One answered text.

    Attributes:
        prediction_id: UUID to quote when the outcome becomes known.
        probability: Of the product's first label.
        labels: Probability of every label; null for one the model never learned.
        flagged: Labels at or above their threshold.
        risk_level: Of the first label: ``high`` from its threshold on, ``medium`` from half of it.
        review: Whether a person should look: the decision is close, or the members disagree.
        explanations: Only when asked for.
        model_version: Release that answered.
    """

    prediction_id: str
    probability: float = Field(ge=0, le=1)
    labels: dict[str, Annotated[float, Field(ge=0, le=1)] | None]
    flagged: list[str]
    risk_level: RiskLevel
    confidence: Confidence
    review: bool
    explanations: list[Explanation] | None = None
    model_version: str


class PredictResponse(Frozen, title="PredictResponse"):
    """One prediction per row of the request, in its order.

    Attributes:
        fallback: Who answered when the release that should could not; null: nobody had to.
    """

    predictions: list[TextPrediction]
    fallback: Rung | None = None


class _Request(Explainable):
    """What stands beside the rows."""

    method: Method = Field(default="lime", description="How to explain")


def row_model(product: ModelProduct) -> type[BaseModel]:
    """The type of one request row: tenant, text, its context, and what the log may be told."""
    made: type[BaseModel] = create_model(
        f"{product.name.title().replace('_', '')}Row",
        __config__=STRICT | ConfigDict(json_schema_extra={"example": _EXAMPLE}),
        __doc__=f"{product.title}: one text.",
        **_ROW,
    )
    return made


def request_model(product: ModelProduct) -> type[BaseModel]:
    """The body of ``POST /predict``: rows, and whether and how to explain."""
    return request_of(product, row_model(product), _Request)
