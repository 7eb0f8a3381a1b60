"""Explanations beside the answers, without keeping other requests waiting.

Methods that only ask the model run on a thread of their own, and their questions take turns with
those of other requests. Methods that open the network run on the model's thread.

Belongs here: what a request may cost, and whose turn it is. Does not belong here: how a text is
explained (``models.core.explain``).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bentos.runtime import Runtime
from models.contracts.api.texts import Explanation, Method, Piece
from models.contracts.learner import Matrix

#: Changed copies of the texts of one request that are predicted, whatever the number of its rows.
SAMPLES = 256
SEED = 0
#: Methods that only ask.
ASKING: tuple[Method, ...] = ("lime", "shap")


class Queued:
    """A predictor whose calls take turns with those of other requests.

    Args:
        predictor: The model.
        thread: Where it computes.
        turn: Texts per call.
    """

    def __init__(self, predictor: Any, thread: ThreadPoolExecutor, turn: int) -> None:
        self._predictor, self._thread, self._turn = predictor, thread, turn

    def predict(self, texts: Sequence[str]) -> Matrix:
        """As the model answers."""
        starts = range(0, len(texts), self._turn)
        turns = [texts[start : start + self._turn] for start in starts] or [texts]
        calls = (self._thread.submit(self._predictor.predict, turn) for turn in turns)
        return np.concatenate([call.result() for call in calls])

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's."""
        labels: tuple[str, ...] = self._predictor.labels
        return labels


class Explainer:
    """Explains single answers of one model.

    Args:
        runtime: The model.
        thread: Where it computes.
        turn: Texts per call.
    """

    def __init__(self, runtime: Runtime, thread: ThreadPoolExecutor, turn: int) -> None:
        self._predictor = runtime.predictor
        self._label = runtime.product.data.labels[0]
        self._queued = Queued(runtime.predictor, thread, turn)
        self._model, self._own = thread, ThreadPoolExecutor(1, "explainer")

    def thread(self, method: Method) -> ThreadPoolExecutor:
        """Where `explain` must be called."""
        return self._own if method in ASKING else self._model

    def methods(self) -> tuple[Method, ...]:
        """What this model can be explained with."""
        from models.core.text.differentiable import differentiable

        opened = differentiable(self._predictor) is not None
        return (*ASKING, "gradients", "attention") if opened else ASKING

    def explain(self, text: str, method: Method, samples: int) -> Explanation:
        """Why the product's first label got its probability.

        Args:
            text: As the model reads it.
            method: One of `methods`.
            samples: Changed copies of the text to ask about.
        """
        from models.core.explain.texts import explain_text

        predictor: Any = self._queued if method in ASKING else self._predictor
        found = explain_text(predictor, text, self._label, method, seed=SEED, samples=samples)
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
