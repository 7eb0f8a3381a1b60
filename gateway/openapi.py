"""OpenAPI 3.1 of a gateway: one document over all products, the aliases and its own routes.

Made from the types that parse requests and write answers, so it says what is really taken; a client
in any language can be generated from it. What one product has is ``openapi_routes``'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from gateway import aliases, versions
from gateway.aliases import Alias
from gateway.openapi_routes import (
    OPENAPI,
    Document,
    answer,
    body,
    of_types,
    paths,
    probes,
    refusals,
    schemas,
    shared,
)
from models.contracts.product import ModelProduct

_VERSION = {
    "name": "version", "in": "path", "required": True, "schema": {"type": "string"},
}  # fmt: skip
_MODEL: Document = {
    "type": "object",
    "required": ["version", "semver", "part"],
    "properties": {
        "product": {"type": "string"},
        "version": {"type": "string"},
        "semver": {"type": "string"},
        "part": {"enum": ["champion", "previous", "challenger", None]},
    },
}
_TEXT = {"type": ["string", "null"]}
#: Schemas of the gateway's own answers.
_OWN: Document = {
    "Model": _MODEL,
    "Models": {
        "type": "object",
        "required": ["product", "models"],
        "properties": {
            "product": {"type": "string"},
            "models": {"type": "array", "items": _MODEL},
        },
    },
    "Products": {
        "type": "object",
        "required": ["products"],
        "properties": {
            "products": {
                "type": "array",
                "items": {"type": "object", "additionalProperties": _TEXT},
            }
        },
    },
    "Served": {
        "type": "object",
        "required": ["status", "generation", "models"],
        "properties": {
            "status": {"enum": ["ok", "starting"]},
            "generation": {"type": "integer"},
            "models": {"type": "object", "additionalProperties": _TEXT},
        },
    },
    "Told": {"description": "As the admin service says it"},
}
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def document(products: Iterable[ModelProduct], version: str) -> Document:
    """The whole document.

    Args:
        products: That the gateway may serve.
        version: Of the interface.
    """
    listed = tuple(products)
    keys = {product.key for product in listed}
    mounted = [alias for alias in aliases.ALIASES if alias.product in keys]
    routes, types = _own_paths(), _OWN | shared()
    for product in listed:
        at, named = f"/v1/{product.key}", f"{product.slug}_"
        routes |= paths(product, at, named) | _model_paths(product, at)
        types |= schemas(product, named)
    for alias in mounted:
        routes[alias.path] = {"post": _alias(alias)}
        types |= of_types([alias.answer])
    routes |= _version_paths() | probes()
    return {
        "openapi": OPENAPI,
        "info": {"title": "assay", "version": version},
        "security": [{}, *({name: []} for name in _KEYS)],
        "paths": routes,
        "components": {"schemas": types, "securitySchemes": _KEYS},
    }


def _own_paths() -> Document:
    told = {
        "/health": ("health", "Which release of each product answers", "Served"),
        "/v1/products": ("products", "The products that may be asked", "Products"),
    }
    return {path: {"get": _get(name, text, of)} for path, (name, text, of) in told.items()}


def _model_paths(product: ModelProduct, at: str) -> Document:
    one = _get(f"{product.slug}_model", "One of them", "Model", 404)
    return {
        f"{at}/models": {
            "get": _get(f"{product.slug}_models", "The releases that can be asked", "Models")
        },
        f"{at}/models/{{version}}": {"get": {**one, "parameters": [_VERSION]}},
    }


def _alias(alias: Alias) -> Document:
    tenant = {
        "name": "x-assay-tenant", "in": "header", "schema": {"type": "string"},
        "description": "Whose data it is; needed unless the key is of one tenant",
    }  # fmt: skip
    return {
        "operationId": _operation(alias.path),
        "summary": alias.summary,
        "parameters": [] if alias.tenant else [tenant],
        "requestBody": body(_inline(aliases.request_type(alias.path))),
        "responses": {"200": answer(alias.answer.__name__, "The answer"), **_refusals_of_types()},
    }


def _version_paths() -> Document:
    query = [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("model_type", "product", "metric")
    ]
    read = {
        path: {
            "get": _get(_operation(path), "Versions of a product", "Told", 400, 404, 409, 422)
            | {"parameters": query if path.endswith("best") else query[:2]}
        }
        for path in versions.READ
    }
    write = {
        path: {
            "post": {
                "operationId": _operation(path),
                "summary": (kind.__doc__ or "").splitlines()[0],
                "requestBody": body(_inline(kind)),
                "responses": {
                    "200": answer("Told", "Done"),
                    **_refusals_of_types(),
                    **refusals(True, 404, 409),
                },
            }
        }
        for path, kind in versions.WRITE.items()
    }  # fmt: skip
    return read | write


def _operation(path: str) -> str:
    return path.strip("/").replace("/", "_").replace("-", "_")


def _get(name: str, summary: str, schema: str, *more: int) -> Document:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": answer(schema, summary), **refusals(False, *more)},
    }


def _refusals_of_types() -> Document:
    """A wrong body is 422 here, and not 400."""
    told = refusals(True, 422)
    told.pop("400")
    return told


def _inline(kind: type[BaseModel]) -> Document:
    schema = kind.model_json_schema()
    made: Document = _flat(schema, schema.pop("$defs", {}))
    return made


def _flat(schema: Any, inner: Document) -> Any:
    """The schema with what it refers to in place of the reference."""
    if isinstance(schema, list):
        return [_flat(one, inner) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _flat(inner[schema["$ref"].rpartition("/")[2]], inner)
    return {name: _flat(one, inner) for name, one in schema.items()}
