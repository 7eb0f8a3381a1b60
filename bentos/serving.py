"""What the services of all contracts share; a service module adds its ``/predict``.

One source for all products: the build bakes the product's key and the exact model into a bento.
Importing this module therefore belongs to a service process only. The routes are answered by
``gateway.lane``, before BentoML's own application; ``ASSAY_FAST_LANE=0`` asks the same engine by
way of BentoML's. BentoML itself adds ``/livez``, ``/readyz`` and ``/metrics``.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import bentoml
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bentos import engine, kept, limits, quiet, runtime
from bentos.host import EngineHost
from bentos.lane_service import PASSED, wrap
from bentos.loading import Found, size_of
from gateway import (
    connections,
    door,
    drain,
    logs,
    openapi_routes,
    shedding,
    tracing,
    traffic_log,
)
from gateway.asked import ASKED, Asked
from gateway.errors import StartError
from gateway.guard import Guard
from gateway.lane import App, Lane, OneProduct
from gateway.limits import from_environment as client_limits
from gateway.meters import METERS
from gateway.ports import BASELINE, Call, Reply
from models import registry
from models.contracts.api import OutcomeReport, OutcomeRequest, OutcomeResponse


class Arguments(BaseModel):
    """What a bento fixes when it is built.

    Attributes:
        product: Key of the product.
        model: Exact tag in BentoML's model store.
        version: Release version, named in every answer.
    """

    model_config = ConfigDict(extra="forbid")

    product: str
    model: str
    version: str


ARGUMENTS = bentoml.use_arguments(Arguments)
PRODUCT = registry.get(ARGUMENTS.product)
MODEL = bentoml.models.BentoModel(ARGUMENTS.model)
LOGGED_PATHS = frozenset({"/predict", "/outcome"})
#: A baseline up to this size is in memory from the start.
SPARE_BYTES = 20_000_000
_LOG = logging.getLogger("assay.serving")
FAST_LANE = os.environ.get("ASSAY_FAST_LANE", "1") != "0"
WORKERS = runtime.workers(PRODUCT.serving.gpu)


def artifact_folder() -> Path:
    """The sealed artifact inside the stored model."""
    return Path(MODEL.resolve().path_of(runtime.ARTIFACT))


def _find(_: str, version: str) -> Found:
    """The one release of this bento, or the simpler model beside it."""
    folder = artifact_folder()
    if version.endswith(BASELINE):
        folder = folder.parent / runtime.SPARE
    return Found(PRODUCT, folder, lambda: traffic_log.from_environment(PRODUCT, version))


HOST = EngineHost(_find)
LANE = Lane(HOST)


async def health(_: Request) -> Response:
    """Which model answers here, and whether its answers are logged."""
    asked = ASKED.get()
    return response(await LANE.ask(Call(PRODUCT.key, ARGUMENTS.version, "health", b"", b"", asked)))


HEALTH = Starlette(routes=[Route("/health", health)])

#: For ``bentoml.service``, which each module calls itself: BentoML notes who called.
OPTIONS: dict[str, Any] = {
    "name": PRODUCT.slug,
    "workers": WORKERS,
    "traffic": {"timeout": PRODUCT.serving.timeout_s},
    "resources": runtime.resources(PRODUCT.serving.gpu),
    "tracing": quiet.TRACING,
}


def _load_spare() -> None:
    """Have the baseline ready where it takes little room; a larger one is loaded in need."""
    folder = artifact_folder().parent / runtime.SPARE
    if folder.is_dir() and size_of(folder) <= SPARE_BYTES:
        try:
            HOST.load(PRODUCT.key, f"{ARGUMENTS.version}{BASELINE}")
        except StartError as error:  # the champion answers all the same
            _LOG.error("the baseline cannot be used: %s", error)


class Serving:
    """A service but for its ``/predict``."""

    model = MODEL

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # mypy skips BentoML
    @staticmethod
    def check() -> None:
        """End the master before a worker starts: one that fails would be respawned for ever."""
        try:
            runtime.verify(PRODUCT, artifact_folder())
            traffic_log.verify()
            door.for_service()
            client_limits()
            tracing.verify()
            engine.lanes()
            shedding.longest_wait()
            kept.process_tiers()
        except StartError as error:
            raise SystemExit(f"cannot serve {MODEL.tag}: {error}") from None

    def __init__(self) -> None:
        self._index = max(0, (bentoml.server_context.worker_index or 1) - 1)
        limits.own_gpu(self._index)  # before anything imports torch
        runtime.bound_threads()
        quiet.install()
        logs.install(PRODUCT.key, ARGUMENTS.version)
        tracing.become(PRODUCT.slug)
        drain.install()
        connections.install(client_limits())
        HOST.load(PRODUCT.key, ARGUMENTS.version)
        _load_spare()
        kept.take_over(self._index)

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # see above
    def announce(self) -> None:
        """Tell the deployer; requests are accepted from now on."""
        runtime.announce_ready(self._index, WORKERS)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # see above
    def leave(self) -> None:
        """After the last answer: what was logged goes to the ingestion at once."""
        kept.hand_on(self._index)
        HOST.end()

    @bentoml.api(  # type: ignore[untyped-decorator]  # see above
        route="/outcome", input_spec=OutcomeRequest, output_spec=OutcomeResponse
    )
    async def outcome(self, outcomes: list[OutcomeReport]) -> Any:
        """Take what came of predictions; answered 202. Whether they exist is judged later."""
        taken = LANE.outcome(PRODUCT.key, ARGUMENTS.version, outcomes, ASKED.get())
        if isinstance(taken, Reply):
            return response(taken)
        return Response(taken.model_dump_json(), 202, media_type="application/json")


async def ask(kind: type[BaseModel], **fields: Any) -> Any:
    """The answer to a request that BentoML parsed: what ``/predict`` of every contract returns.

    Args:
        kind: Request type of the product.
        **fields: Its validated fields.
    """
    asked = ASKED.get().within(PRODUCT.serving.timeout_s)
    request = kind.model_construct(**fields)
    done = await LANE.predict(PRODUCT.key, ARGUMENTS.version, request, asked)
    return response(done) if isinstance(done, Reply) else done.response


def response(reply: Reply) -> Response:
    """A reply for a web framework."""
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, reply.status, headers)


def guard(service: Any) -> Any:
    """Put guard and lane before a service; the last step of every service module."""
    if FAST_LANE:
        return wrap(service, _front)
    service.add_asgi_middleware(_guarded)
    return service


def _front(app: App) -> App:
    release, seconds = (PRODUCT.key, ARGUMENTS.version), PRODUCT.serving.timeout_s
    document = openapi_routes.service(PRODUCT, ARGUMENTS.version)
    return _guarded(
        OneProduct(LANE, release, seconds=seconds, others=app, passed=PASSED, document=document)
    )


def _guarded(app: App) -> Guard:
    return Guard(app, client_limits(), door.for_service(), ended=_ended)


def _ended(asked: Asked, method: str, path: str, status: int) -> None:
    """Count what was asked of the model, and log what was refused; the rest are probes."""
    if method != "POST" or path not in LOGGED_PATHS:
        return
    METERS.request(PRODUCT.key, path, status, asked.seconds)
    if status >= 400:
        HOST.log(PRODUCT.key, ARGUMENTS.version).refused(asked, path, status)
