"""What a text service makes of a model's numbers, without a server."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from bentos.pool import Pool
from bentos.runtime import Runtime
from bentos.text_labels import answers
from bentos.text_labels.answers import Said
from bentos.text_labels.explaining import Explainer
from gateway.errors import StartError
from gateway.ports import Late
from gateway.records import described
from models.contracts.api.texts import Explanation
from models.contracts.learner import Matrix
from models.risk.sync_conflict.product import PRODUCT

LABELS = ("toxicity", "threat", "insult")


class Sure(NamedTuple):
    """As an ensemble says how sure it is."""

    model: Matrix
    ensemble: Any


def runtime(predictor: Any = None, threshold: float = 0.6, **thresholds: float) -> Runtime:
    data = PRODUCT.data.model_copy(update={"labels": LABELS})
    candidate: Any = SimpleNamespace(threshold=threshold, thresholds=thresholds)
    return Runtime(PRODUCT.model_copy(update={"data": data}), candidate, predictor, "v1")


def answered(*scores: list[float], sure: Any = None, **thresholds: float) -> Any:
    return answers.answer(runtime(**thresholds), Said(np.array(scores), sure or {}))


def test_a_label_is_flagged_from_its_own_threshold_on():
    one, two = answered([0.6, 0.3, np.nan], [0.59, 0.29, 0.9], threat=0.3, insult=0.95)
    assert (one.flagged, one.risk_level) == (["toxicity", "threat"], "high")
    assert (two.flagged, two.risk_level) == ([], "medium")
    assert one.labels == {"toxicity": 0.6, "threat": 0.3, "insult": None}
    assert (one.probability, one.confidence.prediction) == (0.6, 0.6)
    assert answered([0.1, 0.2, 0.9])[0].flagged == ["insult"]  # the first threshold, without others


@pytest.mark.parametrize(
    ("probability", "consensus", "review"),
    [(0.45, None, False), (0.55, None, True), (0.69, None, True), (0.75, None, False),
     (0.99, 0.49, True), (0.99, 0.5, False), (0.01, 0.2, True)],
)  # fmt: skip
def test_a_person_looks_at_close_decisions_and_where_members_disagree(
    probability: float, consensus: float | None, review: bool
):
    sure = {} if consensus is None else {"ensemble": np.array([consensus])}
    (one,) = answered([probability, 0.0, 0.0], sure=sure)
    assert (one.review, one.confidence.ensemble) == (review, consensus)


@pytest.mark.parametrize("scores", [[np.nan, 0.1, 0.1], [1.1, 0.1, 0.1], [0.5, -0.1, np.nan]])
def test_what_is_no_probability_is_our_fault_not_the_request_s(scores: list[float]):
    with pytest.raises(ArithmeticError, match="not probabilities"):
        answered([0.1, 0.1, 0.1], scores)


def test_an_ensemble_is_asked_once_for_scores_and_confidence():
    scores, calls = np.array([[0.8, 0.1, 0.2]]), []

    def both(texts: list[str]) -> tuple[Matrix, Sure]:
        calls.append(texts)
        return scores, Sure(np.array([[0.7, 0.9]]), np.array([0.75]))

    said = answers.say(runtime(SimpleNamespace(predict_with_confidence=both)), ["a"])
    (one,) = answers.answer(runtime(), answers.together([said]))
    assert (one.confidence.model, one.confidence.ensemble) == (pytest.approx(0.8), 0.75)
    assert calls == [["a"]]


def test_parts_of_a_request_come_together_in_order():
    parts = [Said(np.full((n, 3), n / 10), {"ensemble": np.full(n, n / 10)}) for n in (2, 1)]
    whole = answers.together(parts)
    assert whole.scores[:, 0].tolist() == whole.confidence["ensemble"].tolist() == [0.2, 0.2, 0.1]


def test_a_model_of_other_labels_does_not_start():
    other = SimpleNamespace(labels=("toxicity",))
    with pytest.raises(StartError, match="fit and release it again"):
        answers.check(runtime(other))


def test_the_log_gets_numbers_and_a_digest_of_the_text_alone():
    rows = [SimpleNamespace(text="ab", context="cd"), SimpleNamespace(text="ab", context=None)]
    inputs, digests = described(rows)
    # sha256 of "ab", by sha256sum
    assert digests == ["fb8e20fc2e4c3f24"] * 2
    assert inputs[0].tolist() == inputs[1].tolist()
    assert inputs[0, 0] == 2
    assert [text.startswith("ab") for text in answers.texts(rows)] == [True, True]
    assert "cd" in answers.texts(rows)[0]


class Slow:
    """Takes a moment per call, and notes who computed."""

    labels = LABELS

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def predict(self, texts: Any) -> Matrix:
        self.calls.append((threading.current_thread().name, len(texts)))
        time.sleep(0.01)
        return np.array([[0.1 + 0.8 * ("bad" in text)] * 3 for text in texts])


def test_an_explanation_lets_other_requests_in_between():
    slow = Slow()
    model = runtime(slow)
    pool = pool_of(model, 8)
    explainer = Explainer(model, pool, 4)

    async def both() -> Explanation:
        text = "a bad word in a longer text of many words"
        work = asyncio.create_task(explainer.explain(text, "lime", 100))
        while len(slow.calls) < 2:
            await asyncio.sleep(0.001)
        await pool.run(["other"])
        assert not work.done()
        return await work

    found = asyncio.run(both())
    assert {name for name, _ in slow.calls} == {"model_0"}
    assert max(size for _, size in slow.calls) <= 5  # a turn of four, and who came in between
    weights = {piece.text: piece.weight for piece in found.pieces}
    assert max(weights, key=lambda text: weights[text]) == "bad"
    assert (found.label, found.method) == ("toxicity", "lime")
    assert explainer.methods() == ("lime", "shap")
    pool.close()


def test_an_explanation_that_nobody_waits_for_any_more_stops_asking():
    slow = Slow()
    model = runtime(slow)
    pool = pool_of(model, 8)
    explainer = Explainer(model, pool, 4)
    with pytest.raises(Late):
        asyncio.run(explainer.explain("a " * 20, "lime", 200, time.monotonic() + 0.05))
    assert len(slow.calls) < 20
    pool.close()


def pool_of(model: Runtime, rows: int) -> Pool[str, Said]:
    """One lane, as the engine makes it."""
    return Pool(1, rows, lambda texts, _: answers.each(answers.say(model, texts)), len, product="x")
