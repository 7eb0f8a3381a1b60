"""A gateway without a server before releases that say what they are told to. Asserts nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway import app as app_module
from gateway import own as own_module
from gateway import products as products_module
from gateway import table as table_module
from gateway.app import GatewaySettings, build
from gateway.door import Door
from gateway.limits import Limits
from gateway.meters import Meters
from gateway.ports import Call, Reply, Unreachable
from gateway.table import Places
from models.contracts.api import to_rows
from models.contracts.routing import Member, ProductRoutes, RoutingTable, Rule
from models.risk.sync_conflict.product import PRODUCT
from tests.service.site import draw

KEY = PRODUCT.key
AT = f"/v1/{KEY}"
(ROW,) = to_rows(PRODUCT, draw(PRODUCT, 1, 1), ["acme"])
JSON = (b"content-type", b"application/json")
RULE = Rule(product=KEY, probability=0.2, threshold=0.5)
Say = Callable[[Call], Reply]


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def says(status: int = 200, *headers: tuple[bytes, bytes], **body: Any) -> Say:
    """A release that answers this, with who was asked."""

    def say(call: Call) -> Reply:
        told = {"by": call.version, "rung": call.asked.rung, **body}
        return Reply(status, (JSON, *headers), json.dumps(told).encode())

    return say


def gone(call: Call) -> Reply:
    """A release that is not there."""
    raise Unreachable(call.version)


class Scripted:
    """A backend: what each release says, by its version; the others are gone."""

    def __init__(self, **say: Say) -> None:
        self.say = say
        self.calls: list[Call] = []
        self.closed = False

    async def ask(self, call: Call) -> Reply:
        self.calls.append(call)
        return self.say.get(call.version, gone)(call)

    def follow(self, table: RoutingTable) -> None:
        return

    async def close(self) -> None:
        self.closed = True


def routes(*versions: str, **changed: Any) -> ProductRoutes:
    """The first is the champion, the second the release before."""
    members = {v: Member(version=v, semver="1.0.0", url=None, artifact=None) for v in versions}
    own: dict[str, Any] = {
        "product": KEY, "champion": versions[0] if versions else None,
        "previous": versions[1] if len(versions) > 1 else None, "members": members, "rule": RULE,
    }  # fmt: skip
    return ProductRoutes(**(own | changed))


class World:
    """A gateway over a table and a scripted backend."""

    def __init__(
        self, root: Path, backend: Scripted, of: ProductRoutes | None, **more: Any
    ) -> None:
        self.places = Places(root / "table.json", root / "instances")
        self.backend = backend
        products = {of.product: of} if of else {}
        table = RoutingTable(generation=1, written_at=datetime.now(UTC), products=products, **more)
        if of is not None:
            self.places.table.write_text(table.model_dump_json())

    def asks(self, *requests: tuple[Any, ...], door: Door | None = None) -> list[Got]:
        """Start, ask one after the other, stop.

        Args:
            requests: Method, path with query, and for POST what to send, and headers.
            door: Open if left out.
        """
        return asyncio.run(self._asks(self._app(door or Door(), "http://127.0.0.1:1"), requests))

    def beside(self, admin: Any, *requests: tuple[Any, ...]) -> list[Got]:
        """The same while another server runs, as the admin service."""

        async def within() -> list[Got]:
            async with admin:
                return await self._asks(self._app(Door(), admin.url), requests)

        return asyncio.run(within())

    def _app(self, door: Door, admin_url: str) -> Any:
        settings = GatewaySettings(
            "router", "http://127.0.0.1:1", self.places, door, Limits(), admin_url
        )
        return build(settings, self.backend)

    async def _asks(self, app: Any, requests: tuple[tuple[Any, ...], ...]) -> list[Got]:
        told: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        heard: asyncio.Queue[Any] = asyncio.Queue()
        life = asyncio.create_task(app({"type": "lifespan"}, told.get, heard.put))
        await told.put({"type": "lifespan.startup"})
        await heard.get()
        try:
            return [await _ask(app, *request) for request in requests]
        finally:
            await told.put({"type": "lifespan.shutdown"})
            await life


async def _ask(app: Any, method: str, target: str, body: Any = None, *headers: Any) -> Got:
    path, _, query = target.partition("?")
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    waiting = [{"type": "http.request", "body": content, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": query.encode(), "headers": list(headers),
    }  # fmt: skip
    await app(scope, receive, send)
    return Got(sent[0]["status"], dict(sent[0]["headers"]), b"".join(m["body"] for m in sent[1:]))


def figures(monkeypatch: pytest.MonkeyPatch) -> Meters:
    """The meters of a router, for one test."""
    made = Meters("router")
    for module in (app_module, own_module, products_module, table_module):
        monkeypatch.setattr(module, "METERS", made)
    return made
