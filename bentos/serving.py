"""What the services of all contracts share; a service module adds its ``/predict``.

One source for all products: the build bakes the product's key and the exact model into a bento.
Importing this module therefore belongs to a service process only. BentoML itself adds ``/livez``,
``/readyz``, ``/metrics`` and ``/docs.json``. Nothing is answered that is not logged before; a log
that takes no more is a 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import bentoml
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bentos import quiet, runtime
from gateway import drain, logs, traffic_log
from gateway.asked import ASKED, Asked
from gateway.errors import StartError
from gateway.guard import Guard
from gateway.spool import SpoolError
from models import registry
from models.contracts.api import OutcomeReport, OutcomeRequest, OutcomeResponse
from models.contracts.learner import Matrix

T = TypeVar("T")


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

#: When a request that the log did not take may come again.
RETRY_SECONDS = 5


def artifact_folder() -> Path:
    """The sealed artifact inside the stored model."""
    return Path(MODEL.resolve().path_of(runtime.ARTIFACT))


async def health(request: Request) -> JSONResponse:
    """Which model answers here, and whether its answers are logged."""
    state = request.app.state
    return JSONResponse(state.runtime.health() | {"prediction_log": state.log.state})


HEALTH = Starlette(routes=[Route("/health", health)])

#: For ``bentoml.service``, which each module calls itself: BentoML notes who called.
OPTIONS: dict[str, Any] = {
    "name": PRODUCT.slug,
    "workers": 1,
    "traffic": {"timeout": PRODUCT.serving.timeout_s},
    "resources": runtime.resources(PRODUCT.serving.gpu),
    "tracing": quiet.TRACING,
}


class Serving:
    """A service but for its ``/predict``.

    Attributes:
        warm_up: Asks the loaded model once; each contract sets its own.
    """

    model = MODEL
    warm_up: runtime.WarmUp

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # mypy skips BentoML
    @staticmethod
    def check() -> None:
        """End the master before a worker starts: one that fails would be respawned for ever."""
        try:
            runtime.verify(PRODUCT, artifact_folder())
            traffic_log.verify()
        except StartError as error:
            raise SystemExit(f"cannot serve {MODEL.tag}: {error}") from None

    def __init__(self) -> None:
        quiet.install()
        logs.install(PRODUCT.key, ARGUMENTS.version)
        drain.install()
        self.runtime = runtime.load(
            PRODUCT, artifact_folder(), ARGUMENTS.version, type(self).warm_up
        )
        self.log = traffic_log.from_environment(PRODUCT, ARGUMENTS.version)
        HEALTH.state.runtime, HEALTH.state.log = self.runtime, self.log

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # see above
    def announce(self) -> None:
        """Tell the deployer; requests are accepted from now on."""
        runtime.announce_ready()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # see above
    def leave(self) -> None:
        """After the last answer: what was logged goes to the ingestion at once."""
        self.log.close()

    @bentoml.api(  # type: ignore[untyped-decorator]  # see above
        route="/outcome", input_spec=OutcomeRequest, output_spec=OutcomeResponse
    )
    async def outcome(self, outcomes: list[OutcomeReport]) -> Any:
        """Take what came of predictions; answered 202. Whether they exist is judged later."""
        try:
            taken = OutcomeResponse(outcome_ids=self.log.outcomes(outcomes))
        except SpoolError as error:
            return not_logged(error)
        return JSONResponse(taken.model_dump(), status_code=202)

    def logged(
        self, rows: Sequence[Any], inputs: Matrix, response: Any, digests: Any = None
    ) -> Any:
        """The response, once it is in the log; else a 503.

        Args:
            rows: n validated rows.
            inputs: Shape (n, d), the product's columns.
            response: With n ``predictions``.
            digests: See ``records.predictions``.
        """
        try:
            self.log.answered(ASKED.get(), rows, inputs, response.predictions, digests)
        except SpoolError as error:
            return not_logged(error)
        return response


class ThreadedServing(Serving):
    """For models that take milliseconds: one thread computes, the event loop goes on answering.

    One, because the model itself may use several cores; calls queue in the order they come.

    Attributes:
        threads: That the model computes on, see ``runtime.bound_threads``.
    """

    threads: int

    def __init__(self) -> None:
        runtime.bound_threads(self.threads)
        self.thread = ThreadPoolExecutor(1, "model")
        super().__init__()

    async def compute(
        self, call: Callable[..., T], *given: Any, thread: ThreadPoolExecutor | None = None
    ) -> T:
        """Run a call on the model's thread, or on another."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(thread or self.thread, call, *given)


def guard(service: Any) -> Any:
    """Put the guard before a service; the last step of every service module."""
    service.add_asgi_middleware(Guard, refused=_refused)
    return service


def bad_request(message: str, **more: Any) -> JSONResponse:
    """A 400 of our own, in the form of all others."""
    return JSONResponse({"error": message, **more}, status_code=400)


def wrong_rows(positions: Sequence[int], field: str, message: str) -> JSONResponse:
    """A 400 that names the first ten rows it is about."""
    detail = [{"loc": ["rows", position, field], "msg": message} for position in positions[:10]]
    return bad_request(message, detail=detail)


def unknown_tenants(strangers: Sequence[int]) -> JSONResponse:
    """The rows whose tenant the model does not know; no known one is told."""
    return wrong_rows(strangers, "tenant", "unknown tenant: the model was not trained for it")


def not_logged(error: SpoolError) -> JSONResponse:
    """The answer to what the log did not take."""
    return JSONResponse(
        {"error": f"not answered, because it could not be logged: {error}"},
        status_code=503,
        headers={"retry-after": str(RETRY_SECONDS)},
    )


def _refused(asked: Asked, path: str, status: int) -> None:
    HEALTH.state.log.refused(asked, path, status)
