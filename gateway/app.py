"""The gateway: one ASGI application before all products.

A request passes the guard (size, caller, id), finds its route, and is answered by a product's
releases, by an alias of theirs, or by the gateway itself. Which releases there are says the routing
table; how one is reached, the backend: another process or this one.

What is refused here (no key, too large, too fast, switched off) was asked of no release: it is
counted (``assay_requests_total`` by product, route and status) and not logged. The log's refusals
are those of a release, written where it answers, for they judge it; and whoever has no key must not
be able to fill a product's log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

from gateway import aliases, traffic_log, versions
from gateway.aliases import Alias, Unfit
from gateway.asked import ASKED, Asked
from gateway.door import Door, for_gateway
from gateway.errors import Refused
from gateway.exposure import Exposures
from gateway.guard import App, Guard, Message, Receive, Send
from gateway.lane import Lane, body_of, write
from gateway.limits import Limits, from_environment
from gateway.meters import METERS
from gateway.mirror import Mirror
from gateway.online import Online, path_of
from gateway.own import Own
from gateway.ports import FAULT_HEADER, Backend, Reply
from gateway.products import Arrived, Products, reply
from gateway.routes import Match, Routes
from gateway.rules import Rules
from gateway.table import Follower, Places
from gateway.versions import Versions
from models import registry
from models.contracts.metrics import OTHER
from models.contracts.routing import Rule

#: Of what was answered behind it, what goes out: the rest says how we are built.
_INSIDE = frozenset({b"x-request-id", FAULT_HEADER, b"server", b"date"})


#: ``ASSAY_ADMIN_URL`` where it is said.
ADMIN_URL = "http://127.0.0.1:3900"


class GatewaySettings(NamedTuple):
    """How one gateway is set up.

    Attributes:
        url: Where it is reached, for who lists gateways.
        door: None: that of the environment; likewise ``limits``.
        admin_url: Of the admin service, which answers the version routes.
    """

    kind: Literal["router", "single"]
    url: str
    places: Places
    door: Door | None = None
    limits: Limits | None = None
    admin_url: str = ADMIN_URL


class Gateway:
    """The application behind the guard; `build` makes one.

    Args:
        settings: Of the deployment.
        backend: Reaches releases.
        door: Lets callers in.
        more: Gets ``/metrics`` and the life of the process, where another server has its own.
        problems: What the backend could not do, in words.
    """

    def __init__(
        self, settings: GatewaySettings, backend: Backend, door: Door, more: App | None,
        problems: Callable[[], Sequence[str]],
    ) -> None:  # fmt: skip
        places = settings.places
        self._exposures = Exposures(places.rollouts, Mirror(backend))
        self.follower = Follower(
            places, backend, settings.kind, settings.url,
            problems=lambda: [*problems(), *self._exposures.problems()],
            also=self._exposures.follow,
        )  # fmt: skip
        self._known = {product.key: product for product in registry.products()}
        self.routes = Routes(self._known.values(), (*aliases.EXTRAS, *versions.EXTRAS))
        self._rules = Rules(self._rule, traffic_log.of_gateway)
        self._products = Products(
            self.follower, backend, Lane(self._rules), door, exposures=self._exposures
        )
        self._own = Own(self.follower, self._known)
        self._versions = Versions(settings.admin_url)
        self._online = {
            alias.path: Online(path_of(self._known[alias.product].slug))
            for alias in aliases.ALIASES
            if alias.known and alias.product in self._known
        }
        self._backend, self._more = backend, more
        self._following: asyncio.Task[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request that the guard let in, or the life of the process."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        try:
            match = self.routes.match(scope["method"], scope["path"])
        except Refused as refusal:
            await write(send, refused(refusal))
            return
        if match.name == "/metrics" and self._more is not None:
            await self._more(scope, receive, send)
            return
        METERS.inc("assay_in_flight")
        try:
            answer = await self._answer(match, scope, receive)
        except Refused as refusal:
            answer = refused(refusal)
        finally:
            METERS.inc("assay_in_flight", -1)
        await write(send, answer)

    def ended(self, asked: Asked, _: str, path: str, status: int) -> None:
        """Count an answer; told by the guard."""
        match = self.routes.find(path)
        product, template = (match.product or "", match.template) if match else ("", OTHER)
        METERS.request(product, template, status, asked.seconds)

    async def _answer(self, match: Match, scope: Message, receive: Receive) -> Reply:
        if match.kind == "system":
            return self._own.answer(match.name)
        # the guard bounded the body of a POST, and nobody wants another
        body = await body_of(receive) if scope["method"] == "POST" else b""
        arrived = Arrived(ASKED.get(), dict(scope["headers"]), scope["query_string"], body)
        if match.kind == "contract":
            return _outside(await self._of_product(match, arrived))
        try:
            if match.product is None:
                return await self._versions.ask(match.name, arrived)
            return _outside(await self._alias(aliases.BY_PATH[match.name], arrived))
        except Unfit as unfit:
            return unfit.reply

    async def _alias(self, alias: Alias, arrived: Arrived) -> Reply:
        """Ask a contract in the words of another route."""
        request = aliases.parse(aliases.request_type(alias.path), arrived.body)
        tenant = aliases.tenant_of(alias, request, arrived.asked, arrived.headers)
        found = aliases.known(alias, request, tenant, self._online.get(alias.path))
        row = alias.row(request, tenant, found.features)
        inner = arrived._replace(body=aliases.body_of(row))
        answer = await self._products.predict(self._known[alias.product], inner)
        return aliases.answered(alias, request, answer, found)

    async def _of_product(self, match: Match, arrived: Arrived) -> Reply:
        product = self._known[match.product or ""]
        match match.name:
            case "predict":
                return await self._products.predict(product, arrived)
            case "outcome":
                return await self._products.outcome(product, arrived)
            case "health":
                return await self._products.health(product, arrived)
            case _:
                return self._products.models(product, match.version)

    def _rule(self, product: str) -> Rule | None:
        routes = self.follower.current.products.get(product)
        return routes.rule if routes else None

    async def _live(self, scope: Message, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":  # of the application behind
                self._begin()
            await send(message)

        try:
            await (self._more or _wait)(scope, receive, told)
        finally:
            await self._end()

    def _begin(self) -> None:
        """Take the table that is there already, then follow."""
        self.follower.take()
        self._following = asyncio.create_task(self.follower.run())

    async def _end(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        await self._backend.close()
        self._exposures.close()
        self._rules.close()
        for online in self._online.values():
            online.close()


def build(
    settings: GatewaySettings,
    backend: Backend,
    more: App | None = None,
    problems: Callable[[], Sequence[str]] = tuple,
) -> Guard:
    """The whole gateway, to be served by any ASGI server.

    Args:
        settings: Of the deployment.
        backend: Reaches releases.
        more: See `Gateway`.
        problems: What the backend could not do, in words.

    Raises:
        StartError: The environment asks for what cannot be.
    """
    door = settings.door or for_gateway()
    gateway = Gateway(settings, backend, door, more, problems)
    return Guard(
        gateway, settings.limits or from_environment(), door, gateway.routes.wanted, gateway.ended
    )


def refused(refusal: Refused) -> Reply:
    """A refusal as an answer."""
    answer = reply({"error": str(refusal)}, refusal.status)
    return answer._replace(headers=(*answer.headers, *refusal.headers))


def _outside(answer: Reply) -> Reply:
    """An answer without what is nobody's business outside."""
    return answer._replace(headers=tuple([h for h in answer.headers if h[0] not in _INSIDE]))


async def _wait(_: Message, receive: Receive, send: Send) -> None:
    """The life of a process that has no other application."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
