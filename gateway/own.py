"""What a gateway answers by itself: whether it lives and is ready, what it serves, its document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property

from gateway import drain
from gateway.asked import ASKED
from gateway.lane import JSON
from gateway.meters import METERS
from gateway.openapi import document
from gateway.ports import Reply
from gateway.products import reply
from gateway.table import Follower
from models.contracts.product import ModelProduct

#: Of the routes and their types; models have versions of their own.
API_VERSION = "1.0.0"


class Own:
    """The routes that concern no one product.

    Args:
        follower: Has the table.
        known: Products by their key.
    """

    def __init__(self, follower: Follower, known: Mapping[str, ModelProduct]) -> None:
        self._follower, self._known = follower, known

    def answer(self, path: str) -> Reply:
        """The answer of one of ``routes.SYSTEM``."""
        match path:
            case "/livez":
                return _text(b"alive")
            case "/readyz":
                return self._ready()
            case "/metrics":
                return _text(METERS.exposition())
            case "/health":
                return reply(self._health())
            case "/docs.json":
                return Reply(200, JSON, self._document)
            case _:
                return reply({"products": self._listed()})

    @cached_property
    def _document(self) -> bytes:
        return json.dumps(document(self._known.values(), API_VERSION)).encode()

    def _ready(self) -> Reply:
        """Whether new requests are welcome."""
        if drain.leaving():
            return _text(b"leaving", 503)
        if not self._follower.current.generation:
            return _text(b"no routing table yet", 503)
        return _text(b"ready")

    def _health(self) -> dict[str, object]:
        """Which table is served, and which release of each product answers."""
        table = self._follower.current
        mine = ASKED.get().principal.may_ask
        return {
            "status": "ok" if table.generation else "starting",
            "generation": table.generation,
            "models": {key: routes.champion for key, routes in table.products.items() if mine(key)},
        }

    def _listed(self) -> list[dict[str, object]]:
        """The products that the caller may ask."""
        served = self._follower.current.products
        mine = ASKED.get().principal.may_ask
        return [
            {
                "product": key,
                "title": product.title,
                "contract": product.contract,
                "model_version": served[key].champion if key in served else None,
                "path": f"/v1/{key}",
            }
            for key, product in self._known.items()
            if mine(key)
        ]


def _text(content: bytes, status: int = 200) -> Reply:
    return Reply(status, ((b"content-type", b"text/plain; charset=utf-8"),), content)
