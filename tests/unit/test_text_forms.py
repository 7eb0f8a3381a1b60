"""Exported networks: the same answers, kept as such, served without torch."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from models.contracts.learner import FitContext
from models.contracts.product import Trial
from models.core.contents import refusal
from models.core.text import backbone, dispatch, linear, onnx_export, onnx_fixed, saved
from models.core.text.network import Classifier, TorchNetwork
from models.core.text.onnx_form import BATCH, FormError
from models.core.text.predictor import NetworkText
from tests.processor import overflows
from tests.unit import tiny_checkpoint
from tests.unit.sample_texts import LABELS, rows, texts

ROWS = rows(80)
ASKED = [*texts(40, seed=3)[0], "", "you", "why " * 100]
WITHOUT_TORCH = """
import sys
from pathlib import Path
from models.moderation.text_toxicity.learner import TextToxicityLearner
scores = TextToxicityLearner().load(Path(sys.argv[1])).predict(["you are nice"])
assert scores.shape == (1, 4), scores
assert not {"torch", "transformers", "sklearn"} & set(sys.modules)
"""


def original(folder, kind="bert"):
    """A random checkpoint with a random head, large enough that answers differ."""
    encoder, encoding = backbone.load(str(tiny_checkpoint.save(folder, kind)), 32)
    module = Classifier(encoder, "mean", 0.1, 2)
    torch.nn.init.normal_(module.head.weight, generator=torch.Generator().manual_seed(3))
    network = TorchNetwork(module.eval(), 2)
    return NetworkText("transformer", LABELS, (0, 1), encoding, network, 0.1, {"rows": 7})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return original(tmp_path_factory.mktemp("bert"))


def form(model, **params):
    trial = Trial(
        name="f", params={"model": "onnx", "threads": 1, **params}, after=("m",), form=True
    )
    return dispatch.fit(trial, ROWS, FitContext(bases={"m": model}), ())


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_fp32_answers_as_its_original_for_any_length_and_company(tmp_path, kind):
    model = original(tmp_path / kind, kind)
    exported = form(model)
    expected = model.predict(ASKED)
    np.testing.assert_allclose(exported.predict(ASKED), expected, atol=1e-5)
    alone = np.vstack([exported.predict([text]) for text in ASKED])
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    assert np.nanstd(expected[:, 0]) > 0.01
    assert exported.notes["form"]["parity"] < 1e-5
    assert exported.notes["rows"] == 7


@pytest.mark.parametrize("precision", ["int8", "int8_fixed", "int8_static"])
def test_no_processor_overflows_on_the_weights(model, precision):
    """Two products are added in sixteen bits where there is no VNNI: the models answer alike."""
    graph = onnx.load_from_string(form(model, precision=precision).network.graph)
    kept = [onnx.numpy_helper.to_array(one) for one in graph.graph.initializer]
    weights = [one for one in kept if one.dtype == np.int8 and one.ndim == 2]
    largest = max(int(np.abs(one.astype(int)).max()) for one in weights)
    assert 2 * 255 * largest < 2**15
    assert not overflows(largest)


def test_an_export_that_answers_otherwise_is_refused(model):
    with pytest.raises(FormError, match=r"off its original, more than 0"):
        form(model, tolerance=0.0)


@pytest.mark.parametrize("precision", ["int8", "int8_fixed", "int8_static"])
def test_int8_is_near_and_no_answer_depends_on_its_neighbours(model, precision):
    exported = form(model, precision=precision)
    together = exported.predict(ASKED)
    alone = np.vstack([exported.predict([text]) for text in ASKED[::-1]])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    off = np.nanmax(np.abs(together - model.predict(ASKED)))
    assert 0 < off < 0.2
    assert 0 < exported.notes["form"]["parity"] < 0.2


def test_dynamic_int8_must_be_asked_one_by_one(model):
    """Why `OnnxNetwork.batch` is 1 there: its scales are those of the whole batch."""
    exported = form(model, precision="int8")
    together = replace(exported, network=replace(exported.network, batch=32))
    off = np.nanmax(np.abs(together.predict(ASKED) - exported.predict(ASKED)))
    assert off > 1e-5


def test_constant_scales_let_texts_be_asked_together_in_any_company(model):
    exported = form(model, precision="int8_fixed")
    assert exported.network.batch == BATCH
    alone = np.vstack([exported.predict([text]) for text in ASKED])
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(ASKED))
        together = exported.predict([ASKED[i] for i in order])
        np.testing.assert_allclose(together, alone[order], atol=saved.ROUNDING)
    graph = onnx.load_from_string(exported.network.graph).graph
    kinds = {node.op_type for node in graph.node}
    assert "MatMulIntegerToFloat" in kinds
    assert not kinds & {"DynamicQuantizeLinear", "MatMulInteger", "ReduceMin", "ReduceMax"}
    assert {out.name for out in graph.output} == {"outputs"}


def test_a_constant_scale_leaves_out_the_most_extreme_texts_and_holds_zero():
    """100 texts reach 1, one reaches 101: the 0.99 quantile of 101 texts is the 100th, 1."""
    low, high = np.zeros(101), np.r_[np.ones(100), 101.0]
    assert onnx_fixed.Range.of(low, high) == (0.0, 1.0)
    assert onnx_fixed.Range.of(-high, -low) == (-1.0, 0.0)
    assert onnx_fixed.Range.of(low + 0.5, high + 0.5) == (0.0, 1.5)
    step, zero = onnx_fixed.Range(-1.0, 4.1).scale_and_zero()  # 255 steps of 0.02, 50 below 0
    assert (step, zero) == (np.float32(0.02), 50)
    assert onnx_fixed.Range(0.0, 0.0).scale_and_zero() == (1.0, 0)


def test_a_graph_that_the_quantiser_wrote_otherwise_is_refused(model):
    graph = onnx.load_from_string(
        onnx_export.dynamic_int8(onnx_export.graph_of(model.network.module))
    )
    products = {node.output[0] for node in graph.graph.node if node.op_type == "MatMulInteger"}
    after = next(node for node in graph.graph.node if products & {*node.input})
    after.op_type = "Identity"
    with pytest.raises(onnx_fixed.PatternError, match="not one Cast"):
        onnx_fixed._fuse(graph.graph)


@pytest.mark.parametrize("precision", ["int8", "int8_fixed"])
def test_a_form_is_kept_whole_and_served_without_torch(model, tmp_path, precision):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        form(model, precision=precision).save(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert refusal(path.name, path.read_bytes()) is None
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    loaded = dispatch.load(tmp_path / "a")
    np.testing.assert_array_equal(
        loaded.predict(ASKED), form(model, precision=precision).predict(ASKED)
    )
    command = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_a_fitted_network_has_forms(model):
    baseline = linear.fit(Trial(name="l", params={"model": "tfidf_linear"}), ROWS)
    with pytest.raises(ValueError, match="LinearText, which has no network to export"):
        form(baseline)
    with pytest.raises(ValueError, match="itself exported"):
        form(form(model))
    trial = Trial(name="f", params={"model": "onnx"}, after=("m",), form=True)
    with pytest.raises(ValueError, match="needs its one original"):
        dispatch.fit(trial, ROWS, FitContext(), ())
