"""The version routes: what the admin service answers, under the paths and bodies others defined.

Who may ask is judged there, by the same key or token; here a key needs the role ``admin`` too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson
from pydantic import BaseModel

from gateway.aliases import parse
from gateway.errors import Refused
from gateway.ports import Reply
from gateway.products import Arrived
from gateway.routes import Extra
from gateway.wire import Lost, Wire
from models.contracts.api import aliases as words

#: A rollback starts a service and replays its golden requests.
SECONDS = 120.0
READ = ("/models/versions", "/models/best")
WRITE: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "/models/rollback": words.RollbackRequest,
        "/models/performance": words.PerformanceRequest,
        "/models/auto-rollback": words.AutoRollbackRequest,
    }
)
EXTRAS = (
    *(Extra("GET", path, None, "admin") for path in READ),
    *(Extra("POST", path, None, "admin") for path in WRITE),
)
_CARRIED = frozenset({b"authorization", b"x-api-key"})


class Versions:
    """Asks the admin service.

    Args:
        url: Its address.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    async def ask(self, path: str, arrived: Arrived) -> Reply:
        """The admin service's answer.

        Raises:
            Refused: 404 for a type of model that no product has, 422 without one, 503 when the
                admin service does not answer.
            Unfit: The body is not as its type says.
        """
        if path in READ:
            given = {name: values[-1] for name, values in _query(arrived.query).items()}
            product = _product(given.pop("model_type", None), given.pop("product", None))
            query = urlencode({"product": product, **given})
            return await self._send(b"GET", f"{path}?{query}", b"", arrived)
        request = parse(WRITE[path], arrived.body)
        product = _product(request.model_type, request.product)
        body = orjson.dumps(words.admin_body(request, product))
        return await self._send(b"POST", path, body, arrived)

    async def _send(self, method: bytes, target: str, body: bytes, arrived: Arrived) -> Reply:
        host, port = self._url.hostname or "", self._url.port or 80
        head = [
            method + b" " + target.encode() + b" HTTP/1.1",
            b"host: " + self._url.netloc.encode(),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            b"x-request-id: " + arrived.asked.request_id.encode(),
            *[b"%b: %b" % pair for pair in arrived.headers.items() if pair[0] in _CARRIED],
            b"\r\n",
        ]
        try:
            async with asyncio.timeout(SECONDS):
                wire = await Wire.connect(host, port)
                return await wire.ask(b"\r\n".join(head) + body)
        except (Lost, TimeoutError):
            why = "the admin service does not answer; is `assay up` running?"
            raise Refused(503, why, [(b"retry-after", b"10")]) from None


def _query(query: bytes) -> dict[str, list[str]]:
    return parse_qs(query.decode("latin-1"))


def _product(model_type: str | None, product: str | None) -> str:
    """The product that a request is about.

    Raises:
        Refused: It is about none.
    """
    if product is not None:
        return product
    if model_type is None:
        raise Refused(422, "say which: model_type, or product")
    if model_type not in words.TYPES:
        known = ", ".join(words.TYPES)
        raise Refused(404, f"no product has this model_type yet; there is: {known}")
    return words.TYPES[model_type]
