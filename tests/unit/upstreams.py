"""A backend before one small server, on the loop that the router has; calls, and its failures."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from gateway.asked import Asked
from gateway.meters import Meters
from gateway.ports import Call
from gateway.upstream import HttpBackend
from models.contracts.routing import Member, ProductRoutes, RoutingTable
from tests.service.scripted import Server

PRODUCT = "risk/sync_conflict"


def table(generation: int = 1, **urls: str) -> RoutingTable:
    members = {
        name: Member(version=name, semver="", url=url, artifact=None) for name, url in urls.items()
    }
    routes = ProductRoutes(product=PRODUCT, champion="v1", previous=None, members=members)
    return RoutingTable(
        generation=generation, written_at="2026-01-01T00:00:00Z", products={PRODUCT: routes}
    )


def call(body: bytes = b'{"rows": []}', seconds: float = math.inf, **changed: Any) -> Call:
    asked = Asked("r1", time.monotonic_ns(), "traffic", deadline=time.monotonic() + seconds)
    fields = {"product": PRODUCT, "version": "v1", "path": "predict", "query": b"", "body": body}
    return Call(**(fields | {"asked": asked} | changed))


def asking(
    server: Server, use: Callable[[HttpBackend, Server], Awaitable[None]], **options: Any
) -> None:
    """Run ``use`` with a backend whose v1 is the server."""

    async def within() -> None:
        async with server:
            backend = HttpBackend("t" * 32, **options)
            backend.follow(table(v1=server.url))
            try:
                await use(backend, server)
            finally:
                await backend.close()

    on_uvloop(within())


def on_uvloop(work: Coroutine[Any, Any, None]) -> None:
    """As the router runs; its transports are not asyncio's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def failures(meters: Meters, kind: str) -> float:
    lines = meters.exposition().decode().splitlines()
    mine = [line for line in lines if line.startswith("assay_upstream") and f'"{kind}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in mine)
