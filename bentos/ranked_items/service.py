"""The service of every product that ranks items; ``bentos.serving`` has what services share."""

from __future__ import annotations

from typing import Any

import bentoml

from bentos import serving
from models.contracts.api.rankings import Method, PredictResponse, request_model

REQUEST = request_model(serving.PRODUCT)


@bentoml.service(**serving.OPTIONS)
@bentoml.asgi_app(serving.HEALTH, path="/")
class RankedItems(serving.Serving):
    """Ranks the items of one product."""

    @bentoml.api(  # type: ignore[untyped-decorator]  # mypy skips BentoML
        route="/predict", input_spec=REQUEST, output_spec=PredictResponse
    )
    async def predict(self, rows: list[Any], explain: bool, method: Method) -> Any:
        """The best items for every row, in the order of the request."""
        return await serving.ask(REQUEST, rows=rows, explain=explain, method=method)


SERVICE: Any = serving.guard(RankedItems)
