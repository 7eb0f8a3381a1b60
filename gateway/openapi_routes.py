"""OpenAPI 3.1 of one product's routes: what may be sent, and everything that is answered.

Belongs here: ``/predict``, ``/outcome``, ``/health`` and the probes, from the contract's types,
with the statuses that guard and lane really give. Not here: what else a front door has. BentoML's
own document knows neither the statuses nor the errors' form, and calls itself 3.0.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from models import registry
from models.contracts.api import OutcomeRequest, OutcomeResponse
from models.contracts.product import Contract, ModelProduct

Document = dict[str, Any]

OPENAPI = "3.1.0"
#: Module of each contract's types.
API: Mapping[Contract, str] = MappingProxyType(
    {
        "row_scores": "models.contracts.api.rows",
        "text_labels": "models.contracts.api.texts",
        "ranked_items": "models.contracts.api.rankings",
    }
)
_REF = "#/components/schemas/{}"
#: Names of the schemas that all routes share.
ERROR, HEALTH = "Error", "Health"
#: What guard and lane answer besides, on any route and on those with a body.
_ANY: Mapping[int, str] = MappingProxyType(
    {
        401: "No key, or no valid one",
        403: "The key is not for this product, role or tenant",
        429: "Too fast; retry-after says when to come again",
        431: "Path and headers are too long",
        500: "It failed here; quote the answer's x-request-id",
        503: "Not now: overloaded, starting or the log is full; retry-after says when",
        504: "Not answered in time",
    }
)
_BODY: Mapping[int, str] = MappingProxyType(
    {
        400: "The body is not as described here; detail names the first fields",
        408: "The body did not arrive in time",
        413: "The body is too large",
        415: "The body is no JSON",
    }
)
_RETRY = frozenset({429, 503})
_PROBES: Mapping[str, str] = MappingProxyType(
    {
        "/livez": "Whether the process lives",
        "/readyz": "Whether it takes requests",
        "/metrics": "Figures, as Prometheus reads them",
    }
)


@lru_cache
def request_type(product: str) -> type[BaseModel]:
    """The body of a product's ``POST /predict``, by its key, as the code of this process has it."""
    found = registry.get(product)
    made: type[BaseModel] = importlib.import_module(API[found.contract]).request_model(found)
    return made


def paths(product: ModelProduct, at: str = "", named: str = "") -> Document:
    """The routes of a product's contract.

    Args:
        product: Whose types they take.
        at: Before each path.
        named: Before the name of each schema of the product; see `schemas`.
    """
    own = f"{product.slug}_" if at else ""
    return {
        f"{at}/predict": {
            "post": {
                "operationId": f"{own}predict",
                "summary": product.title,
                "parameters": [_explain()],
                "requestBody": body(_inline(product, named)),
                "responses": {
                    "200": answer(f"{named}PredictResponse", "One answer per row", _cache()),
                    **refusals(),
                },
            }
        },
        f"{at}/outcome": {
            "post": {
                "operationId": f"{own}outcome",
                "summary": "Report what came of predictions",
                "requestBody": body(_outcomes()),
                "responses": {"202": answer("OutcomeResponse", "Taken"), **refusals()},
            }
        },
        f"{at}/health": {
            "get": {
                "operationId": f"{own}health",
                "summary": "Which model answers",
                "responses": {"200": answer(HEALTH, "It answers"), **refusals(with_body=False)},
            }
        },
    }


def probes() -> Document:
    """What is answered to whoever watches over processes; no key is asked for."""
    return {
        path: {
            "get": {
                "operationId": path.strip("/"),
                "summary": summary,
                "responses": {
                    "200": {"description": "Yes", "content": {"text/plain": {}}},
                    **refusals(with_body=False),
                },
            }
        }
        for path, summary in _PROBES.items()
    }


def schemas(product: ModelProduct, named: str = "") -> Document:
    """What `paths` of the product refer to.

    Args:
        product: See `paths`.
        named: Before each name, where several products share a document.
    """
    api = importlib.import_module(API[product.contract])
    found = of_types([api.request_model(product), api.PredictResponse], named)
    return found | of_types([OutcomeRequest, OutcomeResponse]) | shared()


def service(product: ModelProduct, version: str) -> Document:
    """The document of a product's own service."""
    return {
        "openapi": OPENAPI,
        "info": {"title": product.title, "version": version},
        "paths": paths(product) | probes(),
        "components": {"schemas": schemas(product)},
    }


def body(schema: Document) -> Document:
    """A required JSON body."""
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def answer(schema: str, description: str, headers: Document | None = None) -> Document:
    """A JSON answer of a named schema."""
    return {
        "description": description,
        "headers": _request_id() | (headers or {}),
        "content": {"application/json": {"schema": {"$ref": _REF.format(schema)}}},
    }


def refusals(with_body: bool = True, *more: int) -> Document:
    """Every status above 399 that a route may answer.

    Args:
        with_body: Whether it takes one.
        more: Further statuses, e.g. 404.
    """
    told = dict(_BODY) if with_body else {}
    told |= dict(_ANY) | dict.fromkeys(more, "See error")
    return {
        str(status): answer(ERROR, told[status], _retry() if status in _RETRY else None)
        for status in sorted(told)
    }


def of_types(types: Iterable[type[BaseModel]], named: str = "") -> Document:
    """Schemas of types and of all they hold, by name."""
    template = _REF.format(named + "{model}")
    _, found = models_json_schema([(one, "validation") for one in types], ref_template=template)
    return {f"{named}{name}": schema for name, schema in found["$defs"].items()}


def shared() -> Document:
    """Schemas that every document has."""
    place = {"type": "array", "items": {"type": ["string", "integer"]}}
    fault = {"type": "object", "required": ["loc", "msg"],
             "properties": {"loc": place, "msg": {"type": "string"}}}  # fmt: skip
    return {
        ERROR: {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {"type": "string", "description": "What is wrong and what to do"},
                "detail": {"type": "array", "items": fault, "description": "Where, at most ten"},
            },
        },
        HEALTH: {"type": "object", "additionalProperties": {"type": "string"}},
    }


def _inline(product: ModelProduct, named: str) -> Document:
    """The request itself, not a name of it: all products call it the same."""
    made: Document = schemas(product, named)[f"{named}PredictRequest"]
    return made


def _outcomes() -> Document:
    made: Document = of_types([OutcomeRequest])["OutcomeRequest"]
    return made


def _explain() -> Document:
    return {
        "name": "explain",
        "in": "query",
        "description": "As in the body, which wins",
        "schema": {"type": "boolean"},
    }


def _request_id() -> Document:
    said = "Of the request, or made for it; quote it when something is wrong"
    return {"x-request-id": {"description": said, "schema": {"type": "string"}}}


def _cache() -> Document:
    said = {"type": "string", "enum": ["hit", "part", "miss"]}
    return {"x-assay-cache": {"description": "Whether rows were said before", "schema": said}}


def _retry() -> Document:
    return {"retry-after": {"description": "Seconds", "schema": {"type": "string"}}}
