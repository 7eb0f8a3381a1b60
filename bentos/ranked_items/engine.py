"""One release of a product that ranks items, ready to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from bentos.engine import Engine, wrong_rows
from bentos.kept import Form, Kept
from bentos.pool import Pool
from bentos.ranked_items import answers
from bentos.ranked_items.answers import Said
from bentos.runtime import Runtime
from gateway.asked import Asked
from gateway.ports import Answered
from gateway.shedding import longest_wait
from models.contracts.api.rankings import Method, PredictResponse, RankingPrediction
from models.contracts.learner import Query


class RankEngine(Engine):
    """Answers on one lane.

    Scoring waits for memory, not for cores: a second thread gains a third on an idle machine and
    costs five times the time on a busy one.
    """

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.pool: Pool[Query, Said] = Pool(
            1,
            runtime.product.serving.batch_rows,
            self._rank,
            lambda _: 0,  # a row costs the same whatever it asks
            longest_wait=longest_wait(),
            product=runtime.product.key,
        )
        self._kept = Kept(runtime, self.pool, Form(answers.pack, answers.unpack))

    async def answer(self, request: Any, asked: Asked) -> Answered:
        """The best items for every row, in the order of the request."""
        rows = request.rows
        self.known(rows)
        if strange := answers.strange_algorithms(self.runtime, rows):
            known = ", ".join(self.runtime.predictor.algorithms)
            raise wrong_rows(strange, "algorithm", f"unknown algorithm; there are: {known}")
        if vague := answers.without_categories(self.runtime, rows):
            raise wrong_rows(
                vague, "categories", "this model knows no categories; name the items in only"
            )
        if request.explain and (why := answers.unexplained(self.runtime, rows, request.method)):
            raise wrong_rows(list(why), "algorithm", next(iter(why.values())))
        asks = answers.queries(self.runtime, rows)
        said, cache = await self._kept.run(rows, asks, asked)
        predictions = answers.answer(self.runtime, said)
        if request.explain:
            predictions = [
                await self._explained(*each, request.method)
                for each in zip(asks, said, predictions, strict=True)
            ]
        response = PredictResponse(predictions=predictions)
        return self.answered(response, rows, answers.watched(said), cache=cache)

    def warm_up(self) -> None:
        """Ask every member once, for somebody with a history, and the fallback; then again.

        The second time shows how long a row takes.
        """
        model = self.runtime.predictor
        user, history = next(iter(model.users), None), model.items[:1]
        asks = [Query(user, history=history, algorithm=name) for name in model.algorithms]
        self._rank([*asks, Query(user=None)], False)
        self.pool.submit(asks).result()

    def close(self) -> None:
        """End the lane."""
        self.pool.close()

    async def _explained(
        self, query: Query, said: Said, prediction: RankingPrediction, method: Method
    ) -> RankingPrediction:
        """One answer with its reasons; on the lane, so that other requests take turns."""
        call = partial(answers.explained, self.runtime, query, said, prediction, method)
        return await asyncio.wrap_future(self.pool.apart(call))

    def _rank(self, asks: Sequence[Query], _: bool) -> list[Said]:
        return answers.rank(self.runtime, asks)
