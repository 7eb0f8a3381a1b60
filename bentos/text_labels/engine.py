"""One release of a product that labels texts, ready to answer: texts of all requests together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bentos.engine import Engine, bad_request, lanes
from bentos.kept import Form, Kept
from bentos.limits import cores
from bentos.pool import Pool
from bentos.runtime import Runtime, resources
from bentos.text_labels import answers
from bentos.text_labels.alone import Alone, ways
from bentos.text_labels.answers import Said
from bentos.text_labels.explaining import SAMPLES, Explainer
from gateway.asked import Asked
from gateway.ports import Answered
from gateway.records import described
from gateway.shedding import longest_wait
from models.contracts.api.texts import PredictResponse

#: Questions of one explanation that wait at once, so that other requests come in between.
TURN = 8
#: Characters of the texts a model is warmed up with; the longest is cut by any of them.
_LENGTHS = (5, 100, 400, 5000)


class TextEngine(Engine):
    """Answers on lanes, one thread of the processor each.

    A network on two threads takes a fifth more of the processor than on one, so under load every
    lane has one. A text that comes while nothing else is computed may have all cores: see `Alone`.
    """

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        answers.check(runtime)
        most = runtime.product.serving.batch_rows
        count = 1 if resources(runtime.product.serving.gpu) else lanes()
        self._alone = Alone(*ways(runtime, min(count, cores())))
        self.pool: Pool[str, Said] = Pool(
            count,
            min([most, *batches(runtime.predictor)]),
            self._say,
            len,
            longest_wait=longest_wait(),
            product=runtime.product.key,
        )
        labels = len(runtime.product.data.labels)
        form = Form(answers.pack, lambda kept: answers.unpack(kept, labels))
        self._kept = Kept(runtime, self.pool, form)
        self._explainer = Explainer(runtime, self.pool, TURN)

    async def answer(self, request: Any, asked: Asked) -> Answered:
        """Probability of every label for every text, in the order of the request."""
        rows = request.rows
        self.known(rows)
        if request.explain and request.method not in (known := self._explainer.methods()):
            raise bad_request(
                f"this model cannot be explained by {request.method}; take {', '.join(known)}"
            )
        asks = answers.texts(rows)
        said, cache = await self._kept.run(rows, asks, asked)
        predictions = answers.answer(self.runtime, answers.together(said))
        if request.explain:
            samples = SAMPLES // len(asks)
            explain = self._explainer.explain
            why = [await explain(one, request.method, samples, asked.deadline) for one in asks]
            predictions = [answers.explained(*both) for both in zip(predictions, why, strict=True)]
        inputs, digests = described(rows)
        response = PredictResponse(predictions=predictions)
        return self.answered(response, rows, inputs, digests=digests, cache=cache)

    def warm_up(self) -> None:
        """Every width alone and the largest batches; then again, to see how long a text takes."""
        texts = [("good morning " * (length // 12 + 1))[:length] for length in _LENGTHS]
        for text in texts:
            self._alone.warm_up(text)
            self.pool.submit([text, text]).result()
        for text in (texts[0], texts[-1]):
            self._say([text] * self.pool.batch_rows, False)

    def close(self) -> None:
        """End the lanes and the explainer's thread."""
        self.pool.close()
        self._explainer.close()

    def _say(self, texts: Sequence[str], alone: bool) -> list[Said]:
        if alone:
            return [self._alone.say(*texts)]
        return answers.each(answers.say(self.runtime, texts))


def batches(predictor: Any) -> Iterator[int]:
    """Texts that each network of a model may be asked at once; none of a model without networks.

    One for a network that scales its numbers over the whole batch: more texts in one call would
    gain nothing there, they would only wait for each other.
    """
    if network := getattr(predictor, "network", None):
        yield network.batch
    parts = (getattr(predictor, name, {}) for name in ("members", "embeddings"))
    for part in parts:
        for one in part.values():
            yield from batches(one)
