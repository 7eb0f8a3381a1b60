"""Explaining answers of a row_scores service, and which methods a text model has."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit, logit

from bentos.row_scores import answers
from bentos.row_scores.explaining import Explainer
from bentos.runtime import Runtime
from bentos.text_labels.explaining import Explainer as TextExplainer
from models.contracts.api import PredictResponse, request_model, to_rows
from models.contracts.learner import TrainingRows
from models.contracts.product import Column, Trial
from models.core import boosting, linear
from models.core.explain.rows import explain_predictor, stand_in
from models.core.tabular import Derived
from models.core.text.ensemble import EnsembleText
from models.core.text.linear import LinearText
from models.core.text.onnx_form import OnnxNetwork
from models.core.text.predictor import NetworkText
from models.risk.sync_conflict.product import PRODUCT
from tests.unit.test_explain_methods import exact

NAMES = ("a", "b", "c")
PRODUCT_OF = PRODUCT.model_copy(
    update={
        "data": PRODUCT.data.model_copy(
            update={
                "columns": tuple(
                    Column(name=n, description=f"Column {n}", nullable=True) for n in NAMES
                )
            }
        )
    }
)
SUM = Derived("a_plus_b", ("a", "b"), np.add)


def training_rows() -> TrainingRows:
    generator = np.random.default_rng(5)
    inputs = generator.standard_normal((300, 3))
    noise = generator.standard_normal(300)
    labels = (inputs[:, 0] + inputs[:, 0] * inputs[:, 1] + noise > 0).astype(float)
    inputs[generator.random(inputs.shape) < 0.1] = np.nan
    return TrainingRows(inputs, labels, NAMES)


ROWS = training_rows()
ROW = np.array([1.5, np.nan, -0.5])


@pytest.fixture(scope="module")
def trees() -> boosting.BoostedPredictor:
    """Averaged over two folds and recalibrated, with a derived column."""
    params = {"rounds": 20, "depth": 3, "folds": 2}
    return boosting.fit(Trial(name="t", params=params), ROWS, [SUM])


@pytest.fixture(scope="module")
def logistic() -> linear.LogisticPredictor:
    return linear.fit(Trial(name="l", params={}, columns=("a", "c")), ROWS)


def runtime(predictor: Any) -> Runtime:
    candidate: Any = SimpleNamespace(threshold=0.5)
    return Runtime(PRODUCT_OF, candidate, predictor, "v1")


def served(predictor: Any, method: Any, *rows: Any) -> PredictResponse:
    """What the service answers, through its types and JSON."""
    inputs, model = np.array(rows), runtime(predictor)
    why = asyncio.run(Explainer(model).explain(inputs, method))
    told = answers.explained(answers.answer(model, inputs), why)
    return PredictResponse.model_validate_json(told.model_dump_json())


def test_shapley_values_of_trees_are_exact_log_odds_of_the_answer(trees: Any):
    def log_odds(features: Any) -> Any:
        margins = boosting._margin(trees.booster, features)
        return logit(boosting.probabilities(margins, trees.recalibration))

    features, probe = trees.inputs.select(ROW[None])[0], trees.inputs.select(trees.probe)
    found = explain_predictor(trees, ROW, NAMES, "shap")
    assert found.parts == (*NAMES, "a_plus_b")
    np.testing.assert_allclose(
        found.weights, exact(stand_in(log_odds, features, probe), 4), atol=1e-5
    )
    assert trees.recalibration.slope != 1.0
    assert found.value == pytest.approx(logit(trees.predict(ROW[None])[0]), abs=1e-5)
    assert found.base == pytest.approx(logit(trees.predict(trees.probe)).mean(), abs=1e-5)
    assert found.note.startswith(f"log-odds, exact for its trees; against {len(probe)} training")
    assert "computes a_plus_b from other columns" in found.note


def test_what_a_service_tells_adds_up_in_the_unit_it_names(trees: Any, logistic: Any):
    for predictor, unit in ((trees, "log-odds"), (logistic, "probability")):
        told = served(predictor, "shap", ROW, -ROW).predictions
        assert len(told) == 2
        for prediction in told:
            (why,) = prediction.explanations or ()
            assert sum(part.weight for part in why.parts) == pytest.approx(why.value - why.base)
            assert why.note.startswith(unit)
            value = expit(why.value) if unit == "log-odds" else why.value
            assert value == pytest.approx(prediction.probability, abs=1e-6)
            assert why.fidelity is None


def test_shapley_values_of_a_logistic_model_by_hand(logistic: Any):
    """Of two columns: half the gain alone, half the gain as the last one."""

    def answer(a: Any, c: Any) -> float:
        variants = logistic.probe.copy()
        variants[:, 0] = variants[:, 0] if a is None else a
        variants[:, 2] = variants[:, 2] if c is None else c
        return float(logistic.predict(variants).mean())

    neither, both = answer(None, None), answer(1.5, -0.5)
    of_a, of_c = answer(1.5, None), answer(None, -0.5)
    (prediction,) = served(logistic, "shap", ROW).predictions
    (why,) = prediction.explanations or ()
    assert {part.column: part.weight for part in why.parts} == pytest.approx(
        {"a": (of_a - neither + both - of_c) / 2, "c": (of_c - neither + both - of_a) / 2}
    )
    assert (why.base, why.value) == (pytest.approx(neither), pytest.approx(both))


def test_lime_tells_a_fidelity_and_the_sign_of_the_law(trees: Any, logistic: Any):
    for predictor in (trees, logistic):
        (prediction,) = served(predictor, "lime", np.array([1.5, 0.5, 0.0])).predictions
        (why,) = prediction.explanations or ()
        weights = {part.column: part.weight for part in why.parts}
        assert max(weights, key=lambda name: weights[name]) == "a"
        assert why.value == pytest.approx(prediction.probability)
        assert why.note == f"probability; against {len(predictor.probe)} training rows"
        assert why.fidelity is not None
        assert 0.5 < why.fidelity <= 1.0


def test_an_explanation_runs_off_the_loop_and_within_its_bound():
    asked: list[tuple[str, int]] = []

    def predict(inputs: Any) -> Any:
        asked.append((threading.current_thread().name, len(inputs)))
        return expit(inputs.sum(axis=1))

    for method, count, kept in (("shap", 1, 32), ("shap", 4, 40), ("lime", 4, 8), ("lime", 1, 40)):
        probe = np.zeros((kept, 3))
        predictor = SimpleNamespace(predict=predict, probe=probe, importance=dict)
        asked.clear()
        why = asyncio.run(
            Explainer(runtime(predictor)).explain(np.ones((count, 3)), method)  # type: ignore[arg-type]
        )
        assert len(why) == count
        assert {name for name, _ in asked} == {"explainer_0"}
        assert sum(size for _, size in asked) <= 16_384 + 2 * count * 32


def test_a_model_without_rows_to_compare_with_is_refused():
    predictor = SimpleNamespace(predict=np.sum)
    told = Explainer(runtime(predictor)).refusal()
    assert told is not None
    assert "keeps no training rows" in told
    assert "ask without explain" in told
    with pytest.raises(ValueError, match="give it a `probe`"):
        explain_predictor(predictor, ROW, NAMES)  # type: ignore[arg-type]


def test_a_request_says_whether_and_how_to_explain(trees: Any):
    assert Explainer(runtime(trees)).refusal() is None
    request = request_model(PRODUCT_OF)
    (row,) = to_rows(PRODUCT_OF, ROW[None], ["acme"])
    plain = request.model_validate({"rows": [row] * 9}).model_dump()
    assert (plain["explain"], plain["method"]) == (False, "shap")
    assert request.model_validate({"rows": [row] * 4, "explain": True, "method": "lime"})
    with pytest.raises(ValidationError, match="explain=true takes at most 4 rows, not 5"):
        request.model_validate({"rows": [row] * 5, "explain": True})
    for method in ("gradients", "attention"):
        with pytest.raises(ValidationError, match="'shap' or 'lime'"):
            request.model_validate({"rows": [row], "explain": True, "method": method})


def text_model(kind: str) -> Any:
    """Only what tells a predictor that can be opened from one that cannot; nobody asks it."""
    of: Any = None
    if kind == "linear":
        return LinearText.__new__(LinearText)
    network = OnnxNetwork(b"", 1, 1, 1) if kind == "onnx" else SimpleNamespace(module=of)
    form = NetworkText(kind, ("toxicity",), (0,), of, network, 1.0, {})  # type: ignore[arg-type]
    if kind == "ensemble":
        torch_member = NetworkText(
            "transformer", ("toxicity",), (0,), of, SimpleNamespace(module=object()), 1.0, {}
        )  # type: ignore[arg-type]
        return EnsembleText(("toxicity",), (0,), (), {"m": torch_member}, {}, of, 1.0, {})
    return form


@pytest.mark.parametrize("kind", ["linear", "onnx", "ensemble"])
def test_a_text_model_without_a_network_of_torch_has_two_methods(kind: str):
    data = PRODUCT.data.model_copy(update={"labels": ("toxicity",)})
    model = Runtime(PRODUCT.model_copy(update={"data": data}), None, text_model(kind), "v1")  # type: ignore[arg-type]
    assert TextExplainer(model, None, 8).methods() == ("lime", "shap")  # type: ignore[arg-type]
