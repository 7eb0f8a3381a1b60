"""One release of a product that scores rows, ready to answer."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bentos.engine import Engine, bad_request
from bentos.row_scores import answers
from bentos.row_scores.explaining import Explainer
from bentos.runtime import Runtime
from gateway import tracing
from gateway.asked import Asked
from gateway.ports import Answered
from models.contracts.api import to_matrix


class RowEngine(Engine):
    """Answers on the event loop: a prediction takes less than the hop to a thread costs."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self._explainer = Explainer(runtime)

    async def answer(self, request: Any, asked: Asked) -> Answered:
        """Probability of the positive class for every row, in the order of the request."""
        rows = request.rows
        self.known(rows)
        if request.explain and (refusal := self._explainer.refusal()):
            raise bad_request(refusal)
        inputs = to_matrix(self.runtime.product, rows)
        began = time.monotonic_ns()
        response = answers.answer(self.runtime, inputs)
        tracing.note("model", asked.trace, began, rows=len(rows))
        if request.explain:
            why = await self._explainer.explain(inputs, request.method)
            response = answers.explained(response, why)
        return self.answered(response, rows, inputs)

    def warm_up(self) -> None:
        """One row and the largest request."""
        columns = len(self.runtime.product.data.columns)
        for rows in (1, self.runtime.product.serving.max_rows):
            self.runtime.predictor.predict(np.zeros((rows, columns)))

    def close(self) -> None:
        """End the explainer's thread."""
        self._explainer.close()
