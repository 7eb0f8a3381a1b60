"""What a gateway answers about one product: predictions, outcomes, health, releases.

Belongs here: flags, assignment, the ladder, and what of an answer is counted. Does not belong here:
paths and HTTP (``app``), how a release is reached (`Backend`), aliases.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from gateway import ladder
from gateway.asked import CHAMPION, DEADLINE_HEADER, Asked
from gateway.assign import Asking, Assigned, assign, is_on, unit_of
from gateway.door import Door
from gateway.errors import Refused
from gateway.exposure import Exposures
from gateway.headers import RELEASE
from gateway.ladder import Step, Told
from gateway.lane import JSON, Lane
from gateway.meters import METERS
from gateway.peek import NOTHING, Peeked, peek
from gateway.ports import Backend, Call, Reply
from gateway.rules import RULE
from gateway.table import Follower
from models.contracts.keys import OPEN
from models.contracts.product import ModelProduct
from models.contracts.routing import ProductRoutes

FALLBACK_HEADER = b"x-assay-fallback"
_OK, _TAKEN = 200, 202
_RETRY = ((b"retry-after", b"30"),)
_LOG = logging.getLogger("assay.gateway")


class Arrived(NamedTuple):
    """A request as it reached a product's route."""

    asked: Asked
    headers: Mapping[bytes, bytes]
    query: bytes
    body: bytes


class Products:
    """Answers for all products of the table.

    Args:
        follower: Has the table, and counts what was answered.
        backend: Reaches releases.
        rules: Answers by rules.
        door: Takes the rows of a request from its caller's account.
        exposures: Writes down what rollouts have to know.
    """

    def __init__(
        self, follower: Follower, backend: Backend, rules: Lane, door: Door, *, exposures: Exposures
    ) -> None:
        self._follower, self._backend = follower, backend
        self._rules, self._door, self._exposures = rules, door, exposures

    async def predict(self, product: ModelProduct, arrived: Arrived) -> Reply:
        """Answer by the release that the request belongs to, or by the first rung below that can.

        Raises:
            Refused: No release serves, it is switched off, or the caller asks too much.
        """
        table, routes = self._follower.current, self.routes(product)
        asked = arrived.asked.within(
            product.serving.timeout_s, arrived.headers.get(DEADLINE_HEADER, b"")
        )
        seen = self._peek(routes, arrived)
        await self._door.charge(asked.principal, seen.rows - 1)
        release = arrived.headers.get(RELEASE)
        asking = Asking(
            tenant=seen.tenant,
            unit=unit_of(arrived.headers.get(b"x-assay-key", b""), seen.first, asked.principal.id),
            caller=asked.principal.id,
            release=release.decode("latin-1") if release else None,
        )
        assigned = assign(routes, table.flags, asking)
        flagged = (product.key, assigned.version, seen.tenant)
        if seen.explain and not is_on(table.flags, "explain", *flagged):
            raise Refused(403, "explain: explanations are switched off here")
        fallback = release is None and is_on(table.flags, "fallback", *flagged)
        rungs = ladder.steps(product, routes, assigned.version, fallback=fallback)
        if not rungs:
            raise _nobody(product)
        call = Call(product.key, rungs[0].version, "predict", arrived.query, arrived.body, asked)
        exposed = self._exposures.begin(product, routes, assigned, call)
        told = await ladder.climb(rungs, self._asker(product, arrived), asked)
        if exposed is not None:
            exposed.answered(told)
        return self._noted(product, assigned, told, asked)

    async def outcome(self, product: ModelProduct, arrived: Arrived) -> Reply:
        """Have outcomes logged by the champion's process; by this one when that is gone."""
        routes = self.routes(product)
        asked = arrived.asked.within(
            product.serving.timeout_s, arrived.headers.get(DEADLINE_HEADER, b"")
        )
        rungs = [Step("rule", RULE)]
        if routes.champion:
            rungs.insert(0, Step(CHAMPION, routes.champion))

        async def ask(step: Step, limited: Asked) -> Reply:
            call = Call(product.key, step.version, "outcome", b"", arrived.body, limited)
            return await (self._rules if step.rung == "rule" else self._backend).ask(call)

        answer = (await ladder.climb(rungs, ask, asked)).reply
        if answer.status == _TAKEN:
            self._exposures.outcomes(product, asked.principal, arrived.body)
        return answer

    async def health(self, product: ModelProduct, arrived: Arrived) -> Reply:
        """What the champion's process says of itself, or that no more than the rule answers."""
        routes = self.routes(product)
        rungs = ladder.steps(product, routes, routes.champion, fallback=True)
        rungs = tuple(step for step in rungs if step.rung != "baseline")
        if not rungs:
            raise _nobody(product)
        asked = arrived.asked.within(product.serving.timeout_s)

        async def ask(step: Step, limited: Asked) -> Reply:
            call = Call(product.key, step.version, "health", b"", b"", limited)
            return await (self._rules if step.rung == "rule" else self._backend).ask(call)

        return (await ladder.climb(rungs, ask, asked)).reply

    def models(self, product: ModelProduct, version: str | None = None) -> Reply:
        """The releases that can be asked, or one of them, and the part that each has.

        Raises:
            Refused: 404, no such release runs here.
        """
        routes = self._follower.current.products.get(product.key)
        told = described(routes) if routes else []
        if version is None:
            return reply({"product": product.key, "models": told})
        found = [one for one in told if one["version"] == version]
        if not found:
            raise Refused(404, "this release does not run here; GET .../models lists those that do")
        return reply({"product": product.key, **found[0]})

    def routes(self, product: ModelProduct) -> ProductRoutes:
        """Of the product.

        Raises:
            Refused: 503, it has none yet.
        """
        routes = self._follower.current.products.get(product.key)
        if routes is None:
            raise _nobody(product)
        return routes

    def _peek(self, routes: ProductRoutes, arrived: Arrived) -> Peeked:
        table = self._follower.current
        hangs = routes.placement or routes.overrides or table.flags
        if hangs or arrived.asked.principal is not OPEN:
            return peek(arrived.body, arrived.query)
        return NOTHING

    def _asker(self, product: ModelProduct, arrived: Arrived) -> Any:
        async def ask(step: Step, limited: Asked) -> Reply:
            call = Call(product.key, step.version, "predict", arrived.query, arrived.body, limited)
            return await (self._rules if step.rung == "rule" else self._backend).ask(call)

        return ask

    def _noted(self, product: ModelProduct, assigned: Assigned, told: Told, asked: Asked) -> Reply:
        """Count who answered; mark what a lower rung did."""
        rung, version = told.step
        if told.reply.status != _OK:
            return told.reply
        if asked.purpose == "traffic":
            kept = version == assigned.version and rung == CHAMPION
            counted = version if rung in (CHAMPION, "previous") else rung
            self._follower.answered(product.key, counted, assigned.variant if kept else None)
        if rung == CHAMPION:
            return told.reply
        METERS.inc("assay_fallback_total", product=product.key, rung=rung)
        failed = ", ".join(f"{one.rung} {one.version}" for one in told.failed)
        _LOG.warning("%s: answered by %s, after %s", product.key, rung, failed or "no champion")
        mark = (FALLBACK_HEADER, rung.encode())
        return told.reply._replace(headers=(*told.reply.headers, mark))


def described(routes: ProductRoutes) -> list[dict[str, Any]]:
    """The releases of a product, newest first."""
    placement = routes.placement
    parts = {
        routes.champion: "champion",
        routes.previous: "previous",
        placement.challenger if placement else None: "challenger",
    }
    return [
        {"version": version, "semver": routes.members[version].semver, "part": parts.get(version)}
        for version in sorted(routes.members, reverse=True)
    ]


def reply(content: Any, status: int = _OK) -> Reply:
    """A JSON answer of the gateway's own."""
    return Reply(status, JSON, orjson.dumps(content))


def _nobody(product: ModelProduct) -> Refused:
    return Refused(503, f"no release of {product.key} serves yet; see `assay run`", _RETRY)
