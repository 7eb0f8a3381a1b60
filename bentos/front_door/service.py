"""The front door and the models of all products in one service, for one small machine.

The bento holds code only: which releases there are, and where, says the routing table, as it does
for a router. BentoML starts the process and has its ``/metrics``; everything else is the gateway's.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml

from bentos import engine, kept, quiet, runtime
from bentos.front_door.backend import LocalBackend
from bentos.lane_service import wrap
from gateway import connections, door, drain, logs, shedding, table, tracing, traffic_log
from gateway.app import ADMIN_URL, GatewaySettings, build
from gateway.errors import StartError
from gateway.guard import App, Message, Receive, Send
from gateway.limits import from_environment as client_limits
from gateway.meters import METERS

#: Of a product, its own `Serving.timeout_s` counts; this is only what BentoML stops at.
_SECONDS = 120
#: The start waits no longer for models, and whoever started it somewhat longer than this.
_LOADING_SECONDS = 60.0


@bentoml.service(name="front_door", workers=1, traffic={"timeout": _SECONDS}, tracing=quiet.TRACING)
class FrontDoor:
    """Every product, behind one address."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # mypy skips BentoML
    @staticmethod
    def check() -> None:
        """End the master before a worker starts: one that fails would be respawned for ever."""
        try:
            runtime.public_key()
            table.places()
            traffic_log.verify()
            door.for_gateway()
            client_limits()
            tracing.verify()
            engine.lanes()
            shedding.longest_wait()
            engine.model_bytes()
            kept.process_tiers()
        except StartError as error:
            raise SystemExit(f"the front door does not start: {error}") from None

    def __init__(self) -> None:
        runtime.bound_threads()
        quiet.install()
        logs.install("", "")
        METERS.become("single")
        tracing.become("assay-front-door")
        drain.install()
        connections.install(client_limits())
        kept.take_over()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # see above
    def leave(self) -> None:
        """After the last answer."""
        kept.hand_on()


def _front(app: App) -> App:
    host, port = os.environ.get("ASSAY_HOST", "127.0.0.1"), os.environ.get("ASSAY_PORT", "3100")
    backend = LocalBackend(engine.model_bytes())
    settings = GatewaySettings(
        "single", f"http://{host}:{port}", table.places(), door.for_gateway(), client_limits(),
        os.environ.get("ASSAY_ADMIN_URL", ADMIN_URL),
    )  # fmt: skip

    gateway = build(settings, backend, app, backend.problems)

    async def front(scope: Message, receive: Receive, send: Send) -> None:
        """Accepts requests, and lets its predecessor go, when the models of the table are here."""
        if scope["type"] != "lifespan":
            await gateway(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await backend.host.settled(_LOADING_SECONDS)
                runtime.announce_ready()
            await send(message)

        await gateway(scope, receive, told)

    return front


SERVICE: Any = wrap(FrontDoor, _front)
