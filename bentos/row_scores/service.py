"""The service of every product that scores rows: ``POST /predict``, ``GET /health``.

One source for all of them: the build bakes the product's key and the exact model into a bento.
BentoML itself adds ``/livez``, ``/readyz``, ``/metrics`` and ``/docs.json``. Whatever wants every
answered prediction (a prediction log) belongs into ``RowScores.predict``, after ``answer``.
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

from bentos import quiet, runtime
from bentos.guard import Guard
from models import registry
from models.contracts.api import PredictResponse, request_model


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


def artifact_folder() -> Path:
    """The sealed artifact inside the stored model."""
    return Path(MODEL.resolve().path_of(runtime.ARTIFACT))


async def health(request: Request) -> JSONResponse:
    """Which model answers here."""
    return JSONResponse(request.app.state.runtime.health())


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
        except runtime.StartError as error:
            raise SystemExit(f"cannot serve {MODEL.tag}: {error}") from None

    def __init__(self) -> None:
        quiet.install()
        self.runtime = runtime.load(PRODUCT, artifact_folder(), ARGUMENTS.version)
        HEALTH.state.runtime = self.runtime

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # see above
    def announce(self) -> None:
        """Tell the deployer; requests are accepted from now on."""
        runtime.announce_ready()

    @bentoml.api(  # type: ignore[untyped-decorator]  # see above
        route="/predict", input_spec=request_model(PRODUCT), output_spec=PredictResponse
    )
    async def predict(self, rows: list[Any]) -> Any:
        """Probability of the positive class for every row, in the order of the request."""
        # inline, without a thread hop: a prediction takes less than the hop costs
        if strangers := self.runtime.unknown_tenants(rows):
            return _unknown_tenant(strangers)
        return self.runtime.answer(rows)


SERVICE: Any = RowScores
SERVICE.add_asgi_middleware(Guard)


def _unknown_tenant(positions: list[int]) -> JSONResponse:
    message = "unknown tenant: the model was not trained for it"
    detail = [{"loc": ["rows", position, "tenant"], "msg": message} for position in positions[:10]]
    return JSONResponse({"error": message, "detail": detail}, status_code=400)
