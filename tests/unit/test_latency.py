"""The latency of the gate: of the model, whatever disturbs the measurement."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from assets.stages import evaluation
from assets.stages.evaluation import LATENCY_ROUNDS, LATENCY_UNITS, Holdout, _latency
from models.kinds import kind_of

COSTS_MS = np.linspace(1.0, 3.0, LATENCY_UNITS)


class World:
    """A model whose answers cost what they cost, on a machine with a clock."""

    def __init__(self, disturbed: Callable[[int], float] = lambda _: 0.0, speed: float = 1.0):
        self.cpu_ns, self.asked = 0, 0
        self._disturbed, self._speed = disturbed, speed

    def singles(self, model: Any, units: pd.DataFrame) -> list[Callable[[], object]]:
        assert len(units) == LATENCY_UNITS
        return [partial(self.call, number) for number in range(len(units))]

    def call(self, number: int) -> None:
        self.cpu_ns += int(1e6 * (COSTS_MS[number] * self._speed + self._disturbed(self.asked)))
        self.asked += 1


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], tuple[float, float]]:
    def measure(world: World) -> tuple[float, float]:
        clock = SimpleNamespace(
            process_time_ns=lambda: world.cpu_ns, monotonic=lambda: world.cpu_ns / 1e9
        )
        monkeypatch.setattr(evaluation, "time", clock)
        monkeypatch.setattr(evaluation, "kind_of", lambda _: world)
        units = pd.DataFrame({"n": range(1000)})
        product: Any = SimpleNamespace(contract="row_scores")
        return _latency(Holdout(product, None, units), None)  # type: ignore[arg-type]

    return measure


def test_half_of_the_time_disturbed_it_is_the_same(measured: Callable[..., tuple[float, float]]):
    calm = measured(World())
    assert calm == pytest.approx((2.0, np.quantile(COSTS_MS, 0.95)), abs=0.001)
    noisy = World(lambda asked: 5.0 if asked % (2 * LATENCY_UNITS) < LATENCY_UNITS else 0.0)
    assert measured(noisy) == pytest.approx(calm, abs=0.001)
    assert noisy.asked == LATENCY_UNITS * LATENCY_ROUNDS


def test_a_slow_model_is_asked_less_often(measured: Callable[..., tuple[float, float]]):
    slow = World(speed=100.0)
    p50, p95 = measured(slow)
    assert slow.asked < LATENCY_UNITS
    assert 100 <= p50 < p95 <= 300


def test_rows_asked_one_by_one_are_answered_as_together():
    table = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, None, 1.5]})
    predictor: Any = SimpleNamespace(predict=lambda inputs: np.nan_to_num(inputs).sum(axis=1))
    model: Any = SimpleNamespace(candidate=SimpleNamespace(columns=("b", "a")), predictor=predictor)
    calls = kind_of("row_scores").singles(model, table)
    assert [float(call()[0]) for call in calls] == [1.5, 2.0, 4.5]
