"""The service of every product that labels texts; ``bentos.serving`` has what services share."""

from __future__ import annotations

from typing import Any

import bentoml

from bentos import serving
from bentos.text_labels import answers
from bentos.text_labels.explaining import SAMPLES, Explainer
from models.contracts.api.texts import Explanation, Method, PredictResponse, request_model

#: Texts per turn on the model's thread: a large request lets small ones in between, and stops at
#: the next turn when its client is gone. More at once gain a network nothing on a CPU.
TURN = 8


@bentoml.service(**serving.OPTIONS)
@bentoml.asgi_app(serving.HEALTH, path="/")
class TextLabels(serving.ThreadedServing):
    """Labels texts of one product."""

    warm_up = staticmethod(answers.warm_up)
    threads = 4

    def __init__(self) -> None:
        super().__init__()
        self.explainer = Explainer(self.runtime, self.thread, TURN)

    @bentoml.api(  # type: ignore[untyped-decorator]  # mypy skips BentoML
        route="/predict", input_spec=request_model(serving.PRODUCT), output_spec=PredictResponse
    )
    async def predict(self, rows: list[Any], explain: bool, method: Method) -> Any:
        """Probability of every label for every text, in the order of the request."""
        if strangers := self.runtime.unknown_tenants(rows):
            return serving.unknown_tenants(strangers)
        if explain and method not in (known := self.explainer.methods()):
            return serving.bad_request(
                f"this model cannot be explained by {method}; take {', '.join(known)}"
            )
        asked = answers.texts(rows)
        predictions = answers.answer(self.runtime, await self._said(asked))
        if explain:
            why = [await self._why(text, method, SAMPLES // len(asked)) for text in asked]
            predictions = [answers.explained(*both) for both in zip(predictions, why, strict=True)]
        inputs, digests = answers.watched(rows)
        return self.logged(rows, inputs, PredictResponse(predictions=predictions), digests)

    async def _said(self, asked: list[str]) -> answers.Said:
        turns = [asked[start : start + TURN] for start in range(0, len(asked), TURN)]
        return answers.together([await self.compute(answers.say, self.runtime, t) for t in turns])

    async def _why(self, text: str, method: Method, samples: int) -> Explanation:
        explainer = self.explainer
        return await self.compute(
            explainer.explain, text, method, samples, thread=explainer.thread(method)
        )


SERVICE: Any = serving.guard(TextLabels)
