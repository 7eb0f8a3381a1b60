"""A gateway of all products in this process, with API keys and small really fitted models.

What it is asked goes through the guard, the routes, the host and the engines as in a deployment;
only sockets are left out. Asserts nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from bentos.host import EngineHost
from bentos.kept import process_tiers
from bentos.loading import Found
from gateway import traffic_log
from gateway.app import GatewaySettings, build
from gateway.door import Door
from gateway.guard import Guard
from gateway.keys import KeyRing
from gateway.lane import Lane
from gateway.meters import METERS, Meters
from gateway.ports import Call, Reply
from gateway.table import Places
from models import registry
from models.contracts.routing import Member, ProductRoutes, RoutingTable
from stores.files import write_atomic
from stores.key_store import KeyStore
from tests.service.each import seal
from tests.service.site import Site
from tests.service.spooled import bodies

VERSION = "v20260101_000000"


class Answer(NamedTuple):
    """One answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Sealed(NamedTuple):
    """Sealed models of all products, by key."""

    root: Path
    folders: Mapping[str, Path]
    public_key: Path


def seal_all(root: Path) -> Sealed:
    """Fit and seal a small model of every product."""
    sites = {product.key: Site(root, product) for product in registry.products()}
    folders = {key: seal(site, VERSION)[0] for key, site in sites.items()}
    return Sealed(root, folders, next(iter(sites.values())).keys[1])


class _Local:
    """The models of this process as a gateway's backend."""

    def __init__(self, host: EngineHost) -> None:
        self._host, self._lane = host, Lane(host)

    async def ask(self, call: Call) -> Reply:
        return await self._lane.ask(call)

    def follow(self, table: RoutingTable) -> None:
        self._host.follow(table)

    async def close(self) -> None:
        await self._host.close()


class Front:
    """A gateway that runs.

    Args:
        app: As served.
        runner: Its event loop.
        store: Its keys.
        spool: Its logs.
    """

    def __init__(self, app: Guard, runner: asyncio.Runner, store: KeyStore, spool: Path) -> None:
        self._app, self._runner, self._store, self._spool = app, runner, store, spool

    def ids(self, tenant: str) -> list[str]:
        """Of the keys of one tenant."""
        return [one.id for one in self._store.keys() if one.tenants == (tenant,)]  # noqa: SIM118

    def logged(self, kind: str) -> list[dict[str, Any]]:
        """What the logs of all products hold of one kind."""
        folders = [self._spool, *(one for one in self._spool.rglob("*") if one.is_dir())]
        return [body for folder in folders for body in bodies(folder, kind)]

    def key(self, tenants: Sequence[str], **changes: Any) -> str:
        """A new key, as its holder presents it."""
        given = {"products": ["*"], "roles": ["predict", "outcome"], "by": "Ada",
                 "rate": 1e6, "burst": 10**6}  # fmt: skip
        return self._store.add(tenants=tenants, **(given | changes)).presented

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        key: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; the query may stand in the path, a body is sent as JSON."""
        told = {"content-type": "application/json"} if body is not None else {}
        told |= {"authorization": f"Bearer {key}"} if key else {}
        sent = json.dumps(body).encode() if body is not None else b""
        return self._runner.run(self._asked(method, path, sent, told | dict(headers or {})))

    async def _asked(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        where, _, query = path.partition("?")
        given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": where, "raw_path": where.encode(),
                 "query_string": query.encode(), "headers": given}  # fmt: skip
        waiting, sent = [body], []

        async def receive() -> dict[str, Any]:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], told, b"".join(part["body"] for part in sent[1:]))


@contextmanager
def front(sealed: Sealed, folder: Path) -> Iterator[Front]:
    """A gateway with logs, keys and a table of its own in a new folder."""
    places = Places(folder / "table.json", folder / "instances")
    store = KeyStore(folder / "keys" / "api-keys.json")
    store.add(tenants=["*"], products=["*"], roles=["admin"], by="Ada")  # from now on all need one
    write_atomic(places.table, _table(sealed).model_dump_json())
    environment = {
        "ASSAY_PUBLIC_KEY": str(sealed.public_key), "ASSAY_SPOOL": str(folder / "spool"),
        "ASSAY_CACHE_MB": "8",
    }  # fmt: skip
    figures = vars(Meters("single"))  # those of this process may be a service's already
    process_tiers.cache_clear()  # what another one was told is not known here
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.dict(vars(METERS), figures),
        asyncio.Runner() as runner,
    ):
        settings = GatewaySettings(
            "single", "http://127.0.0.1:3100", places, Door(_EveryTime(store.path))
        )
        app = build(settings, _Local(EngineHost(_finder(sealed))))
        leave = runner.run(_enter(app))
        try:
            yield Front(app, runner, store, folder / "spool")
        finally:
            runner.run(leave())


class _EveryTime(KeyRing):
    """Looks at its file for every request: nobody waits for two seconds here."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, clock=iter(range(0, 10**9, 10)).__next__)


def _finder(sealed: Sealed) -> Any:
    def find(key: str, version: str) -> Found:
        product = registry.get(key)
        return Found(
            product, sealed.folders[key], lambda: traffic_log.from_environment(product, version)
        )

    return find


def _table(sealed: Sealed) -> RoutingTable:
    def routes(key: str, folder: Path) -> ProductRoutes:
        member = Member(version=VERSION, semver="1.0.0", url=None, artifact=str(folder))
        return ProductRoutes(
            product=key, champion=VERSION, previous=None, members={VERSION: member}
        )

    products = {key: routes(key, folder) for key, folder in sealed.folders.items()}
    return RoutingTable(generation=1, written_at=datetime.now(UTC), products=products)


async def _enter(app: Guard) -> Any:
    """Begin the life of the application; what ends it."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, told.get, said.put))
    await told.put({"type": "lifespan.startup"})
    await said.get()

    async def leave() -> None:
        await told.put({"type": "lifespan.shutdown"})
        await life

    return leave
