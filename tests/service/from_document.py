"""Requests for every operation of an OpenAPI document, of one tenant and with marks of its own.

A new route is asked without a line here: bodies are made from schemas. Asserts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

TENANT_HEADER = "x-assay-tenant"
#: What bodies call the tenant.
TENANTS = frozenset({"tenant", "domain"})
#: Names by which clients call things of their own; the marks are there.
OWN = frozenset({"event_id", "user", "user_id", "entity_id", "text", "context"})
_NAMED = {"date-time": "2026-01-02T03:04:05Z", "uuid": "00000000-0000-4000-8000-000000000000"}


class Operation(NamedTuple):
    """One operation of a document.

    Attributes:
        path: With values in place of parameters.
        schema: Of its body, None where it takes none.
    """

    name: str
    method: str
    path: str
    schema: Mapping[str, Any] | None


class Maker:
    """Makes bodies from the schemas of a document.

    Args:
        document: OpenAPI.
        tenant: Whose rows.
        mark: Begins every string that a client chooses freely.
    """

    def __init__(self, document: Mapping[str, Any], tenant: str, mark: str) -> None:
        self._schemas = document["components"]["schemas"]
        self._tenant, self._mark = tenant, mark

    def bodies(self, schema: Mapping[str, Any]) -> Iterator[Any]:
        """Bodies that a service may take, those with most of the client's own words first."""
        wants: tuple[Callable[[str], bool], ...] = (
            lambda name: name != "explain",  # the address says that
            lambda name: name in OWN | TENANTS,
            lambda name: name in (OWN | TENANTS) - {"event_id"},
            lambda name: name in TENANTS,
            lambda _: False,
        )
        for want in wants:
            yield self._value(schema, "", want)

    def _value(self, schema: Mapping[str, Any], name: str, want: Callable[[str], bool]) -> Any:
        schema = self._resolved(schema)
        if name in TENANTS:
            return self._tenant
        for known in ("const", "example", "enum"):
            if known in schema and schema.get("type") != "object":
                return schema[known][0] if known == "enum" else schema[known]
        match schema.get("type"):
            case "object":
                return self._object(schema, want)
            case "array":
                return [self._value(schema.get("items", {}), name, want)]
            case "integer" | "number":
                return self._number(schema)
            case "boolean":
                return False
            case _:
                text = _NAMED.get(schema.get("format", ""), f"{self._mark}-{name or 'text'}")
                return text[: schema.get("maxLength", len(text))]

    def _object(self, schema: Mapping[str, Any], want: Callable[[str], bool]) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        return {
            name: self._value(part, name, want)
            for name, part in schema.get("properties", {}).items()
            if name in required or want(name)
        }

    def _number(self, schema: Mapping[str, Any]) -> float:
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        return max(low, min(1, schema.get("maximum", 1)))  # type: ignore[no-any-return]

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema that a reference names, or the first choice that is not null."""
        while True:
            if "$ref" in schema:
                schema = self._schemas[schema["$ref"].rpartition("/")[2]]
                continue
            choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
            if not choices:
                return schema
            schema = next(one for one in choices if one.get("type") != "null")


def operations(document: Mapping[str, Any], values: Mapping[str, str]) -> list[Operation]:
    """Every operation.

    Args:
        document: OpenAPI.
        values: Of the parameters in paths.
    """
    found = []
    for template, item in document["paths"].items():
        path = template.format_map(values)
        for method, told in item.items():
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            body = told.get("requestBody", {}).get("content", {}).get("application/json")
            schema = body["schema"] if body else None
            found.append(Operation(f"{method.upper()} {template}", method.upper(), path, schema))
    return found
