"""The service of every product that scores rows; ``bentos.serving`` has what services share."""

from __future__ import annotations

from typing import Any

import bentoml

from bentos import serving
from bentos.row_scores import answers
from models.contracts.api import PredictResponse, request_model, to_matrix


@bentoml.service(**serving.OPTIONS)
@bentoml.asgi_app(serving.HEALTH, path="/")
class RowScores(serving.Serving):
    """Scores rows of one product."""

    warm_up = staticmethod(answers.warm_up)

    @bentoml.api(  # type: ignore[untyped-decorator]  # mypy skips BentoML
        route="/predict", input_spec=request_model(serving.PRODUCT), output_spec=PredictResponse
    )
    async def predict(self, rows: list[Any]) -> Any:
        """Probability of the positive class for every row, in the order of the request."""
        # inline, without a thread hop: a prediction takes less than the hop costs
        if strangers := self.runtime.unknown_tenants(rows):
            return serving.unknown_tenants(strangers)
        inputs = to_matrix(serving.PRODUCT, rows)
        return self.logged(rows, inputs, answers.answer(self.runtime, inputs))


SERVICE: Any = serving.guard(RowScores)
