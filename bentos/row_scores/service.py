"""The service of every product that scores rows: ``/predict``, ``/outcome`` and ``/health``.

One source for all of them: the build bakes the product's key and the exact model into a bento.
BentoML itself adds ``/livez``, ``/readyz``, ``/metrics`` and ``/docs.json``. Nothing is answered
that is not logged before; a log that takes no more is a 503.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bentoml
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bentos import drain, logs, quiet, runtime, traffic_log
from bentos.guard import ASKED, Guard
from bentos.records import Asked
from bentos.spool import SpoolError
from models import registry
from models.contracts.api import (
    OutcomeReport,
    OutcomeRequest,
    OutcomeResponse,
    PredictResponse,
    request_model,
    to_matrix,
)


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


@bentoml.service(
    name=PRODUCT.slug,
    workers=1,
    traffic={"timeout": PRODUCT.serving.timeout_s},
    resources=runtime.resources(PRODUCT.serving.gpu),
    tracing=quiet.TRACING,
)
@bentoml.asgi_app(HEALTH, path="/")
class RowScores:
    """Scores rows of one product."""

    model = MODEL

    @bentoml.on_deployment  # type: ignore[untyped-decorator]  # mypy skips BentoML
    @staticmethod
    def check() -> None:
        """End the master before a worker starts: one that fails would be respawned for ever."""
        try:
            runtime.verify(PRODUCT, artifact_folder())
            traffic_log.verify()
        except runtime.StartError as error:
            raise SystemExit(f"cannot serve {MODEL.tag}: {error}") from None

    def __init__(self) -> None:
        quiet.install()
        logs.install(PRODUCT.key, ARGUMENTS.version)
        drain.install()
        self.runtime = runtime.load(PRODUCT, artifact_folder(), ARGUMENTS.version)
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
        route="/predict", input_spec=request_model(PRODUCT), output_spec=PredictResponse
    )
    async def predict(self, rows: list[Any]) -> Any:
        """Probability of the positive class for every row, in the order of the request."""
        # inline, without a thread hop: a prediction takes less than the hop costs
        if strangers := self.runtime.unknown_tenants(rows):
            return _unknown_tenant(strangers)
        inputs = to_matrix(PRODUCT, rows)
        response = self.runtime.answer(inputs)
        try:
            self.log.answered(ASKED.get(), rows, inputs, response.predictions)
        except SpoolError as error:
            return _not_logged(error)
        return response

    @bentoml.api(  # type: ignore[untyped-decorator]  # see above
        route="/outcome", input_spec=OutcomeRequest, output_spec=OutcomeResponse
    )
    async def outcome(self, outcomes: list[OutcomeReport]) -> Any:
        """Take what came of predictions; answered 202. Whether they exist is judged later."""
        try:
            taken = OutcomeResponse(outcome_ids=self.log.outcomes(outcomes))
        except SpoolError as error:
            return _not_logged(error)
        return JSONResponse(taken.model_dump(), status_code=202)


def _refused(asked: Asked, path: str, status: int) -> None:
    HEALTH.state.log.refused(asked, path, status)


SERVICE: Any = RowScores
SERVICE.add_asgi_middleware(Guard, refused=_refused)


def _not_logged(error: SpoolError) -> JSONResponse:
    return JSONResponse(
        {"error": f"not answered, because it could not be logged: {error}"},
        status_code=503,
        headers={"retry-after": str(RETRY_SECONDS)},
    )


def _unknown_tenant(positions: list[int]) -> JSONResponse:
    message = "unknown tenant: the model was not trained for it"
    detail = [{"loc": ["rows", position, "tenant"], "msg": message} for position in positions[:10]]
    return JSONResponse({"error": message, "detail": detail}, status_code=400)
