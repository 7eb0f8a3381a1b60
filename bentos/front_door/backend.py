"""The gateway's way to releases whose models are in its own process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bentos import runtime
from bentos.host import EngineHost
from bentos.loading import Found
from gateway import traffic_log
from gateway.errors import StartError
from gateway.lane import Lane
from gateway.ports import BASELINE, Call, Reply
from models import registry
from models.contracts.routing import RoutingTable


class LocalBackend:
    """Asks engines; a `gateway.ports.Backend`.

    Args:
        budget_bytes: Memory for engines together; None has no bound.
    """

    def __init__(self, budget_bytes: int | None = None) -> None:
        self._folders: dict[tuple[str, str], Path] = {}
        self.host = EngineHost(self._find, budget_bytes)
        self._lane = Lane(self.host)

    async def ask(self, call: Call) -> Reply:
        """The release's answer; what it refuses of traffic is logged, as a service does."""
        reply = await self._lane.ask(call)
        known = (call.product, call.version) in self._folders
        if reply.status >= 400 and call.path != "health" and known:
            log = self.host.log(call.product, call.version)
            log.refused(call.asked, f"/{call.path}", reply.status)
        return reply

    def follow(self, table: RoutingTable) -> None:
        """Take a new table: what it names is loaded behind the answers of before."""
        self._folders = {
            (key, version): Path(member.artifact)
            for key, routes in table.products.items()
            for version, member in routes.members.items()
            if member.artifact
        }
        self.host.follow(table)

    def problems(self) -> Sequence[str]:
        """Releases that are wanted and could not be loaded."""
        return self.host.problems

    async def close(self) -> None:
        """Let go of every model, and finish the logs."""
        await self.host.close()

    def _find(self, product: str, version: str) -> Found:
        """A release of the table, or the simpler model beside it."""
        folder = self._folders.get((product, version.removesuffix(BASELINE)))
        if folder is None:
            raise StartError(f"{version} of {product} has no model here; `assay serve` packs it")
        if version.endswith(BASELINE):
            folder = folder.parent / runtime.SPARE
        known = registry.get(product)
        return Found(known, folder, lambda: traffic_log.of_gateway(known, version))
