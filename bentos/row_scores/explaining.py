"""Explanations beside the answers, off the event loop.

Answers are computed on the loop, because one takes less than a thread hop; an explanation asks the
model thousands of times and would keep every other request waiting. It runs on a thread of its own,
row by row, so that the rows of several requests take turns.

Belongs here: what a request may cost, and where it is computed. Does not belong here: how a row is
explained, and against which rows (``models.core.explain.rows``).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from bentos.runtime import Runtime
from models.contracts.api.rows import Explanation, Method, Part
from models.contracts.learner import Matrix, Vector
from models.core.explain.rows import compared_with, explain_predictor, prepare

#: Variants of a row that are asked about, and answers that the model gives for one request: every
#: variant is answered once per row that it is compared with.
SAMPLES, ANSWERS = 512, 16_384
SEED = 0


class Explainer:
    """Explains single answers of one model.

    Args:
        runtime: The model.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._predictor, self._columns = runtime.predictor, runtime.product.data.names
        self._thread = ThreadPoolExecutor(1, "explainer")
        prepare(runtime.predictor)  # at the start: reading a large forest would hold up the loop

    def close(self) -> None:
        """End the thread; what waits for it is given up."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def samples(self, rows: int) -> int:
        """Variants per row in a request that explains so many rows."""
        return min(SAMPLES, ANSWERS // (rows * len(compared_with(self._predictor))))

    def refusal(self) -> str | None:
        """Why this model cannot be explained, and what to do; None where it can."""
        if len(compared_with(self._predictor)):
            return None
        return (
            "this model cannot be explained: it keeps no training rows to compare a row with; ask"
            " without explain"
        )

    async def explain(self, inputs: Matrix, method: Method) -> list[Explanation]:
        """Why each row got its probability.

        Args:
            inputs: Shape (n, d) in the product's column order; n at least 1.
            method: How.
        """
        loop, samples = asyncio.get_running_loop(), self.samples(len(inputs))
        return [
            await loop.run_in_executor(self._thread, self._explain, row, method, samples)
            for row in inputs
        ]

    def _explain(self, row: Vector, method: Method, samples: int) -> Explanation:
        found = explain_predictor(
            self._predictor, row, self._columns, method, seed=SEED, samples=samples
        )
        return Explanation(
            method=method,
            parts=[
                Part(column=name, weight=weight)
                for name, weight in zip(found.parts, found.weights, strict=True)
            ],
            base=found.base,
            value=found.value,
            fidelity=found.fidelity,
            note=found.note,
        )
