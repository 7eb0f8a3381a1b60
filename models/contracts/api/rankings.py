"""What a ``ranked_items`` service is asked and what it answers.

Types and the conversion from a row to a query: no framework, no model, no files. Ids the catalogue
does not have are ignored wherever they appear: a client's list is often newer than a model.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from models.contracts.api.common import ROW_FIELDS, STRICT, Explainable, request_of
from models.contracts.base import Frozen
from models.contracts.learner import Query
from models.contracts.product import TENANT, USER, ModelProduct
from models.contracts.serving import Rung

MAX_K = 100
#: Longest history, and longest list of items to leave out.
MAX_ITEMS = 500
#: Longest list of items to choose from.
MAX_ONLY = 10_000
MAX_CATEGORIES = 50

Method = Literal["history", "attention"]
How = Literal["sum", "left_out", "attention", "none"]

_ID = Annotated[str, Field(min_length=1, max_length=200)]
_Items = Annotated[list[_ID], Field(max_length=MAX_ITEMS)]
_ROW: dict[str, Any] = {
    TENANT: ROW_FIELDS[TENANT],
    USER: (
        _ID | None,
        Field(default=None, description="Whom to recommend to; absent or unknown: by the history"),
    ),
    "k": (int, Field(default=10, ge=1, le=MAX_K, description="How many items")),
    "history": (
        _Items,
        Field(default=[], description="What the user took since the model was fitted, newest last"),
    ),
    "exclude": (_Items, Field(default=[], description="What must not be recommended")),
    "only": (
        Annotated[list[_ID], Field(min_length=1, max_length=MAX_ONLY)] | None,
        Field(default=None, description="When given: nothing else is recommended"),
    ),
    "categories": (
        Annotated[list[_ID], Field(min_length=1, max_length=MAX_CATEGORIES)] | None,
        Field(default=None, description="When given: only items of any of these categories"),
    ),
    "seen": (
        bool,
        Field(default=False, description="Whether what the user knows may be recommended again"),
    ),
    "algorithm": (
        _ID | None,
        Field(default=None, description="Member of the model to ask; absent: its first"),
    ),
    **ROW_FIELDS,
}
_EXAMPLE: dict[str, Any] = {TENANT: "example-tenant", USER: "example-user", "k": 5}


class RankedItem(Frozen):
    """One recommended item; its score is comparable within one answer only."""

    item: str
    score: float


class Part(Frozen):
    """An item of the user's history and its share in a recommendation.

    Attributes:
        share: Of all shares without their signs; above 0 speaks for what was recommended.
    """

    item: str
    share: float = Field(ge=-1, le=1)


class Explanation(Frozen):
    """Why an item was recommended.

    Attributes:
        item: The recommended one.
        method: ``sum``: the score is exactly the sum of what the items of the history add;
            ``left_out``: how much it falls without each; ``attention``: where the model looked;
            ``none``: it comes from no history, ``note`` says from what.
        parts: At most five, the largest first.
        note: What a reader must know.
    """

    item: str
    method: How
    parts: list[Part]
    note: str


class RankingPrediction(Frozen):
    """One answered ranking.

    Attributes:
        prediction_id: UUID to quote when the outcome becomes known.
        items: At most k, best first; fewer where no more may be recommended.
        algorithm: Who ranked: the member asked, or the fallback for a user nobody knows.
        known: Whether the model was fitted on this user.
        probability: Estimated probability that the user takes one of the items: the logged score.
        explanations: Only when asked for; of the first ten items.
        model_version: Release that answered.
    """

    prediction_id: str
    items: list[RankedItem]
    algorithm: str
    known: bool
    probability: float = Field(ge=0, le=1)
    explanations: list[Explanation] | None = None
    model_version: str


class PredictResponse(Frozen, title="PredictResponse"):
    """One ranking per row of the request, in its order.

    Attributes:
        fallback: Who answered when the release that should could not; null: nobody had to.
    """

    predictions: list[RankingPrediction]
    fallback: Rung | None = None


class _Request(Explainable):
    """What stands beside the rows."""

    method: Method = Field(default="history", description="How to explain")


def row_model(product: ModelProduct) -> type[BaseModel]:
    """The type of one request row: whom to recommend what, and what the log may be told."""
    made: type[BaseModel] = create_model(
        f"{product.name.title().replace('_', '')}Row",
        __config__=STRICT | ConfigDict(json_schema_extra={"example": _EXAMPLE}),
        __doc__=f"{product.title}: one ranking.",
        **_ROW,
    )
    return made


def request_model(product: ModelProduct) -> type[BaseModel]:
    """The body of ``POST /predict``: rows, and whether and how to explain."""
    return request_of(product, row_model(product), _Request)


def to_query(row: Any, of_categories: frozenset[str] | None = None) -> Query:
    """A validated row as the recommender's question.

    Args:
        row: See `row_model`.
        of_categories: Items of the row's categories; None where it names none.
    """
    only = None if row.only is None else frozenset(row.only)
    if of_categories is not None:
        only = of_categories if only is None else only & of_categories
    return Query(
        user=row.user,
        k=row.k,
        history=tuple(row.history),
        exclude=frozenset(row.exclude),
        only=only,
        seen=row.seen,
        algorithm=row.algorithm,
    )
