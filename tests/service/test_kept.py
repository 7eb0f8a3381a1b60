"""Answers behind the cache: what is computed again, and what comes back unchanged."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bentos import kept
from bentos.kept import Form, Kept
from bentos.lru import Memory
from bentos.pool import Pool
from bentos.ranked_items import answers as rankings
from bentos.runtime import Runtime
from bentos.text_labels import answers as texts
from bentos.text_labels.answers import Said
from gateway.asked import Asked
from models.contracts.api.texts import row_model
from models.contracts.learner import Ranking
from models.contracts.traffic import Purpose
from models.moderation.text_toxicity.product import PRODUCT

ROW = row_model(PRODUCT)
FORM: Form[int] = Form(lambda value: str(value).encode(), lambda value: int(value.decode()))


@pytest.fixture
def calls() -> list[list[str]]:
    return []


@pytest.fixture
def pool(calls: list[list[str]]) -> Iterator[Pool[str, int]]:
    def model(asked: Sequence[str], _: bool) -> list[int]:
        calls.append(list(asked))
        return [len(text) for text in asked]

    made: Pool[str, int] = Pool(1, 8, model, len, product="a/b")
    yield made
    made.close()


def behind(
    monkeypatch: pytest.MonkeyPatch,
    pool: Pool[str, int],
    seconds: float = 60.0,
    room: int = 100_000,
) -> Kept[str, int]:
    memory = Memory(room)
    monkeypatch.setattr(kept, "process_tiers", lambda: (memory, None))
    serving = PRODUCT.serving.model_copy(update={"cache_s": seconds})
    product = PRODUCT.model_copy(update={"serving": serving})
    candidate: Any = SimpleNamespace()
    return Kept(Runtime(product, candidate, None, "v1"), pool, FORM)


def ask(
    answers: Kept[str, int], *said: str, tenant: str = "acme", purpose: Purpose = "traffic"
) -> tuple[list[int], str | None]:
    rows = [ROW.model_validate({"tenant": tenant, "text": text}) for text in said]
    asked = Asked("r", time.monotonic_ns(), purpose)
    return asyncio.run(answers.run(rows, said, asked))


def test_what_was_said_is_said_again_and_only_the_rest_is_computed(
    monkeypatch: pytest.MonkeyPatch, pool: Pool[str, int], calls: list[list[str]]
):
    answers = behind(monkeypatch, pool)
    assert ask(answers, "a", "bb") == ([1, 2], "miss")
    assert ask(answers, "bb", "a") == ([2, 1], "hit")
    assert ask(answers, "ccc", "a") == ([3, 1], "part")
    assert calls == [["a", "bb"], ["ccc"]] or calls == [["a"], ["bb"], ["ccc"]]


def test_no_tenant_gets_what_another_asked_and_golden_requests_are_always_computed(
    monkeypatch: pytest.MonkeyPatch, pool: Pool[str, int], calls: list[list[str]]
):
    answers = behind(monkeypatch, pool)
    assert ask(answers, "a")[1] == "miss"
    assert ask(answers, "a", tenant="globex")[1] == "miss"
    assert ask(answers, "a", purpose="golden") == ([1], None)
    assert ask(answers, "b", purpose="golden") == ([1], None)
    assert ask(answers, "b")[1] == "miss"  # golden answers are not kept either
    assert len(calls) == 5


@pytest.mark.parametrize("none", [{"seconds": 0.0}, {"room": 0}])
def test_a_product_that_keeps_nothing_or_has_no_room_says_nothing_of_a_cache(
    monkeypatch: pytest.MonkeyPatch,
    pool: Pool[str, int],
    calls: list[list[str]],
    none: dict[str, Any],
):
    answers = behind(monkeypatch, pool, **none)
    assert [ask(answers, "a") for _ in range(2)] == [([1], None)] * 2
    assert len(calls) == 2


@pytest.mark.parametrize("sure", [{}, {"model": 0.25, "ensemble": 1 / 3}])
def test_what_was_said_of_a_text_comes_back_to_the_last_bit(sure: dict[str, float]):
    scores = np.array([[1 / 3, math.nan, 1.0]])
    said = Said(scores, {name: np.array([value]) for name, value in sure.items()})
    back = texts.unpack(texts.pack(said), 3)
    np.testing.assert_array_equal(back.scores, scores)
    assert {name: float(value[0]) for name, value in back.confidence.items()} == sure


def test_a_ranking_comes_back_to_the_last_bit():
    ranking = Ranking(("f1", "ü"), (1 / 3, 1e-9), "ease", True)
    said = rankings.Said(ranking, (1.5, math.nan), 0.1 + 0.2)
    back = rankings.unpack(rankings.pack(said))
    assert (back.ranking, back.hit, back.inputs[0]) == (ranking, said.hit, 1.5)
    assert math.isnan(back.inputs[1])
