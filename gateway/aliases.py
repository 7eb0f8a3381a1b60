"""Which path asks which product in other words, and the way there and back.

A line here is all that a further alias takes. A body that is not as its type says is 422, as those
who defined these routes want it; the routes of the contracts answer 400.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from gateway.asked import Asked
from gateway.errors import Refused
from gateway.lane import JSON, invalid
from gateway.online import Online
from gateway.ports import Reply
from gateway.routes import Extra
from models import registry
from models.contracts.api import aliases as words
from models.contracts.product import ModelProduct

TENANT_HEADER = b"x-assay-tenant"
#: Whose newest features stood in for what was not sent: of the entity, user or tenant, or nobody.
FEATURES_HEADER = b"x-assay-features"
Values = Mapping[str, Any]


class Alias(NamedTuple):
    """One path.

    Attributes:
        request: Type of the body, for the product as it is in this code.
        row: From request, tenant and what is known of it to the row that is asked.
        tell: From request, prediction and fallback to the answer.
        tenant: The body's field that names the tenant; None: it names none.
        known: Whether columns that were not sent are looked up.
        place: From a column of the row to where the body says it; the tenant's apart.
    """

    path: str
    product: str
    summary: str
    request: Callable[[ModelProduct], type[BaseModel]]
    row: Callable[[Any, str, Values], dict[str, Any]]
    tell: Callable[[Any, Values, Any], BaseModel]
    answer: type[BaseModel]
    tenant: str | None = None
    known: bool = False
    place: Callable[[str], words.Place] = lambda column: (column,)


ALIASES = (
    Alias(
        "/api/v2/predict/conflict/", "risk/sync_conflict",
        "Will this synchronisation conflict?", words.conflict_request,
        words.conflict_row, words.conflict_answer, words.ConflictAnswer,
        tenant="domain", known=True, place=words.conflict_place,
    ),
    Alias(
        "/api/ml/classify-text", "moderation/text_toxicity", "Is this text harmful?",
        lambda _: words.ClassifyRequest,
        words.classify_row, words.classify_answer, words.ClassifyAnswer,
    ),
    Alias(
        "/recommend", "recommendation/films", "What will this user like?",
        lambda _: words.RecommendRequest,
        words.recommend_row, words.recommend_answer, words.RecommendAnswer,
        place=words.recommend_place,
    ),
)  # fmt: skip

BY_PATH: Mapping[str, Alias] = {alias.path: alias for alias in ALIASES}
EXTRAS = tuple(Extra("POST", alias.path, alias.product, "predict") for alias in ALIASES)


@lru_cache
def request_type(path: str) -> type[BaseModel]:
    """The body that an alias takes."""
    alias = BY_PATH[path]
    return alias.request(registry.get(alias.product))


def parse(kind: type[BaseModel], body: bytes) -> Any:
    """A typed body.

    Raises:
        Unfit: 422, it is none.
    """
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise Unfit(invalid(error)) from None


class Unfit(Exception):  # noqa: N818 - the client's fault
    """A body that does not fit its type; ``reply`` is the answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply._replace(status=422)


def tenant_of(alias: Alias, request: Any, asked: Asked, headers: Mapping[bytes, bytes]) -> str:
    """Whose row an alias asks about: the body says so, or the key, or a header.

    Raises:
        Refused: 422 when nobody says so, 403 when the key is not for that tenant.
    """
    caller = asked.principal
    if alias.tenant is not None:
        tenant: str | None = getattr(request, alias.tenant)
    else:
        tenant = headers.get(TENANT_HEADER, b"").decode("latin-1") or caller.only_tenant
    if tenant is None:
        raise Refused(422, "say whose data this is: send the header x-assay-tenant")
    if caller.foreign([tenant]):
        raise Refused(403, "tenant: this key is not for it")
    return tenant


class Known(NamedTuple):
    """What is known of a request that brought less.

    Attributes:
        told: Value of `FEATURES_HEADER`; None where nothing is looked up.
    """

    features: Mapping[str, Any]
    told: str | None = None


def known(alias: Alias, request: Any, tenant: str, online: Online | None) -> Known:
    """The columns that a request did not bring."""
    if not alias.known or online is None:
        return Known({})
    product = registry.get(alias.product)
    if len(words.conflict_sent(request)) == len(product.data.columns):
        return Known({}, "sent")
    entity = f"{request.entity_type}:{request.entity_id}"
    found = online.row(tenant, str(request.user_id), entity)
    return Known(found.features, found.level) if found else Known({}, "sent")


def body_of(row: Mapping[str, Any]) -> bytes:
    """The body of the contract's ``/predict``."""
    return json.dumps({"rows": [row]}).encode()


def answered(alias: Alias, request: Any, reply: Reply, found: Known) -> Reply:
    """The contract's answer in the words of the alias."""
    if reply.status == 400:
        return reply._replace(status=422, body=_placed(alias, reply.body))
    if reply.status != 200:
        return reply
    told = json.loads(reply.body)
    answer = alias.tell(request, told["predictions"][0], told.get("fallback"))
    rest = [pair for pair in reply.headers if pair[0] != JSON[0][0]]
    if found.told:
        rest.append((FEATURES_HEADER, found.told.encode()))
    return Reply(200, (*JSON, *rest), answer.model_dump_json().encode())


def _placed(alias: Alias, body: bytes) -> bytes:
    """A refusal of the row that names what is wrong as the request called it."""
    told = json.loads(body)
    for fault in told.get("detail", ()):
        match fault.get("loc"):
            case ["rows", 0, "tenant"]:
                fault["loc"] = [alias.tenant or TENANT_HEADER.decode()]
            case ["rows", 0, str(column), *rest]:
                fault["loc"] = [*alias.place(column), *rest]
    return json.dumps(told).encode()
