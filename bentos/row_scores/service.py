"""The service of every product that scores rows; ``bentos.serving`` has what services share."""

from __future__ import annotations

from typing import Any

import bentoml

from bentos import serving
from bentos.row_scores import answers
from bentos.row_scores.explaining import Explainer
from models.contracts.api import PredictResponse, request_model, to_matrix
from models.contracts.api.rows import Method


@bentoml.service(**serving.OPTIONS)
@bentoml.asgi_app(serving.HEALTH, path="/")
class RowScores(serving.Serving):
    """Scores rows of one product."""

    warm_up = staticmethod(answers.warm_up)

    def __init__(self) -> None:
        super().__init__()
        self.explainer = Explainer(self.runtime)

    @bentoml.api(  # type: ignore[untyped-decorator]  # mypy skips BentoML
        route="/predict", input_spec=request_model(serving.PRODUCT), output_spec=PredictResponse
    )
    async def predict(self, rows: list[Any], explain: bool, method: Method) -> Any:
        """Probability of the positive class for every row, in the order of the request."""
        # inline, without a thread hop: a prediction takes less than the hop costs
        if strangers := self.runtime.unknown_tenants(rows):
            return serving.unknown_tenants(strangers)
        if explain and (refusal := self.explainer.refusal()):
            return serving.bad_request(refusal)
        inputs = to_matrix(serving.PRODUCT, rows)
        response = answers.answer(self.runtime, inputs)
        if explain:
            why = await self.explainer.explain(inputs, method)
            response = answers.explained(response, why)
        return self.logged(rows, inputs, response)


SERVICE: Any = serving.guard(RowScores)
