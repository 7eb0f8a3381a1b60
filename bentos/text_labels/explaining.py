"""Explanations beside the answers, without keeping other requests waiting.

Methods that only ask the model run on a thread of their own, and their questions take turns with
those of other requests. Methods that open the network run while no other request asks it.

Belongs here: what a request may cost, and whose turn it is. Does not belong here: how a text is
explained (``models.core.explain``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from bentos.pool import Pool
from bentos.runtime import Runtime
from bentos.text_labels.answers import Said, together
from models.contracts.api.texts import Explanation, Method, Piece
from models.contracts.learner import Matrix

#: Changed copies of the texts of one request that are predicted, whatever the number of its rows.
SAMPLES = 256
SEED = 0
#: Methods that only ask.
ASKING: tuple[Method, ...] = ("lime", "shap")


class Queued:
    """A predictor whose questions take turns with those of other requests.

    Args:
        pool: Who asks the model.
        labels: The model's.
        turn: Texts that wait at once.
        deadline: On the monotonic clock, in seconds.
    """

    def __init__(
        self, pool: Pool[str, Said], labels: tuple[str, ...], turn: int, deadline: float
    ) -> None:
        self._pool, self.labels = pool, labels
        self._turn, self._deadline = turn, deadline

    def predict(self, texts: Sequence[str]) -> Matrix:
        """As the model answers; blocks.

        Raises:
            Late: The deadline passed.
        """
        if not texts:
            return np.empty((0, len(self.labels)))
        said: list[Said] = []
        for start in range(0, len(texts), self._turn):
            turn = texts[start : start + self._turn]
            said += self._pool.submit(turn, self._deadline).result()
        return together(said).scores


class Explainer:
    """Explains single answers of one model.

    Args:
        runtime: The model.
        pool: Who asks it.
        turn: Texts of an explanation that wait at once.
    """

    def __init__(self, runtime: Runtime, pool: Pool[str, Said], turn: int) -> None:
        self._predictor = runtime.predictor
        self._labels = runtime.product.data.labels
        self._pool, self._turn = pool, turn
        self._own = ThreadPoolExecutor(1, "explainer")

    def close(self) -> None:
        """End the thread; what waits for it is given up."""
        self._own.shutdown(wait=False, cancel_futures=True)

    def methods(self) -> tuple[Method, ...]:
        """What this model can be explained with."""
        from models.core.text.differentiable import differentiable

        opened = differentiable(self._predictor) is not None
        return (*ASKING, "gradients", "attention") if opened else ASKING

    async def explain(
        self, text: str, method: Method, samples: int, deadline: float = math.inf
    ) -> Explanation:
        """Why the product's first label got its probability.

        Args:
            text: As the model reads it.
            method: One of `methods`.
            samples: Changed copies of the text to ask about.
            deadline: On the monotonic clock, in seconds.

        Raises:
            Late: The deadline passed.
        """
        if method in ASKING:
            asks = Queued(self._pool, self._labels, self._turn, deadline)
            call = partial(explained, asks, text, self._labels[0], method, samples)
            return await asyncio.get_running_loop().run_in_executor(self._own, call)
        call = partial(explained, self._predictor, text, self._labels[0], method, samples)
        # it hooks into the network: whatever another lane asked meanwhile would be in its gradients
        return await asyncio.wrap_future(self._pool.apart(call))


def explained(predictor: Any, text: str, label: str, method: Method, samples: int) -> Explanation:
    """Why a label got its probability."""
    from models.core.explain.texts import explain_text

    found = explain_text(predictor, text, label, method, seed=SEED, samples=samples)
    return Explanation(
        label=found.label,
        method=method,
        pieces=[
            Piece(text=part, weight=weight)
            for part, weight in zip(found.parts, found.weights, strict=True)
        ],
        base=found.base,
        value=found.value,
        fidelity=found.fidelity,
        note=found.note,
    )
