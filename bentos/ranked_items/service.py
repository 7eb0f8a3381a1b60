"""The service of every product that ranks items; ``bentos.serving`` has what services share."""

from __future__ import annotations

from typing import Any

import bentoml

from bentos import serving
from bentos.ranked_items import answers
from models.contracts.api.rankings import Method, PredictResponse, request_model
from models.contracts.learner import Query

#: Rankings per turn on the model's thread: a large request lets small ones in between, and stops
#: at the next turn when its client is gone.
TURN = 32


@bentoml.service(**serving.OPTIONS)
@bentoml.asgi_app(serving.HEALTH, path="/")
class RankedItems(serving.ThreadedServing):
    """Ranks the items of one product."""

    warm_up = staticmethod(answers.warm_up)
    # scoring waits for memory, not for cores: a second thread gains a third on an idle machine and
    # costs five times the time on a busy one
    threads = 1

    @bentoml.api(  # type: ignore[untyped-decorator]  # mypy skips BentoML
        route="/predict", input_spec=request_model(serving.PRODUCT), output_spec=PredictResponse
    )
    async def predict(self, rows: list[Any], explain: bool, method: Method) -> Any:
        """The best items for every row, in the order of the request."""
        if strangers := self.runtime.unknown_tenants(rows):
            return serving.unknown_tenants(strangers)
        if strange := answers.strange_algorithms(self.runtime, rows):
            known = ", ".join(self.runtime.predictor.algorithms)
            return serving.wrong_rows(
                strange, "algorithm", f"unknown algorithm; there are: {known}"
            )
        if vague := answers.without_categories(self.runtime, rows):
            return serving.wrong_rows(
                vague, "categories", "this model knows no categories; name the items in only"
            )
        if explain and (why := answers.unexplained(self.runtime, rows, method)):
            return serving.wrong_rows(list(why), "algorithm", next(iter(why.values())))
        asked = answers.queries(self.runtime, rows)
        said = await self._said(asked)
        predictions = answers.answer(self.runtime, said)
        if explain:  # row by row, so that other requests take turns
            predictions = [
                await self.compute(answers.explained, self.runtime, *each, method)
                for each in zip(asked, said, predictions, strict=True)
            ]
        response = PredictResponse(predictions=predictions)
        return self.logged(rows, answers.watched(said), response)

    async def _said(self, asked: list[Query]) -> list[answers.Said]:
        turns = [asked[start : start + TURN] for start in range(0, len(asked), TURN)]
        said = [await self.compute(answers.rank, self.runtime, turn) for turn in turns]
        return [one for turn in said for one in turn]


SERVICE: Any = serving.guard(RankedItems)
