"""Training that feels INT8: its arithmetic, its gradients, and that the form is what was felt."""

import numpy as np
import pytest
import torch
from torch import nn

from models.contracts.learner import FitContext
from models.contracts.product import Trial
from models.core.text import dispatch, qat
from models.core.text.rows import divide
from tests.unit import tiny_checkpoint
from tests.unit.sample_texts import rows, texts

ROWS = rows(160)
ASKED = [*texts(12, seed=3)[0], "", "you"]
BASE = {"model": "transformer", "max_length": 32, "max_epochs": 2, "batch_size": 16,
        "learning_rate": 3e-3, "schedule": "constant", "dropout": 0.0,
        "precision": "fp32"}  # fmt: skip
AWARE = {"model": "transformer", "quantisation_aware": True, "max_epochs": 1, "batch_size": 16,
         "learning_rate": 1e-3, "schedule": "constant", "dropout": 0.0}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Two threads of a tiny product only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    source = str(tiny_checkpoint.save(tmp_path_factory.mktemp("bert")))
    trial = Trial(name="base", params={**BASE, "backbone": source})
    return dispatch.fit(trial, ROWS, FitContext(), ())


def aware(base, **params):
    trial = Trial(name="aware", params={**AWARE, **params}, after=("base",))
    return dispatch.fit(trial, ROWS, FitContext(bases={"base": base}), ())


def int8(model):
    params = {"model": "onnx", "precision": "int8", "threads": 1}
    trial = Trial(name="f", params=params, after=("m",), form=True)
    return dispatch.fit(trial, ROWS, FitContext(bases={"m": model}), ())


def one_by_one(model):
    return np.vstack([model.predict([text]) for text in ASKED])


def test_a_product_is_that_of_the_bytes_by_hand():
    """x: scale 5.1 / 255 = 0.02, zero at 50: 4.1 is 205 steps up, 0.333 is 17 (16.65).
    W: rows of scale 1.28 / 64 = 0.02 and 0.064 / 64 = 0.001.
    """
    x = torch.tensor([[-1.0, 0.333, 4.1]])
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.28, -1.017, 0.03], [0.0, 0.064, -0.0504]]))
        layer.bias.copy_(torch.tensor([0.5, -1.0]))
    steps = np.array([-50, 17, 205])
    kept = np.array([[64, -51, 2], [0, 64, -50]])  # 0.03 is 1.5 steps: ties go to even
    expected = kept @ steps * 0.02 * np.array([0.02, 0.001]) + np.array([0.5, -1.0])
    with qat.felt(layer):
        found = layer(x)
    np.testing.assert_allclose(found.detach().numpy()[0], expected, rtol=1e-5)
    assert type(layer) is nn.Linear
    assert np.abs(layer(x).detach().numpy()[0] - expected).max() > 1e-3


def test_each_text_has_its_own_scale_and_zeros_stay():
    x = torch.tensor([[[0.0, 25.5]], [[0.0, 0.04]], [[0.0, 0.0]]])
    np.testing.assert_allclose(qat.activations(x), x, atol=1e-6)
    together = qat.activations(x.reshape(1, 3, 2))  # steps of 0.1
    assert float(together[0, 1, 1]) == 0.0


def test_gradients_pass_as_if_nothing_was_rounded():
    """Of y = x W^T: that to W is the rounded x, that to x the rounded W; rounding itself is 1."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, generator=generator).requires_grad_()
    layer, given = nn.Linear(3, 4), torch.randn(2, 4, generator=generator)
    with qat.felt(layer):
        layer(x).backward(given)
    np.testing.assert_allclose(x.grad, given @ qat.weights(layer.weight.detach()), rtol=1e-5)
    np.testing.assert_allclose(layer.weight.grad, given.T @ qat.activations(x.detach()), rtol=1e-5)
    ids, words = torch.tensor([[1, 1, 2]]), nn.Embedding(3, 2, padding_idx=0)
    with qat.felt(words):
        words(ids).sum().backward()
    np.testing.assert_array_equal(words.weight.grad, [[0, 0], [2, 2], [1, 1]])


def test_what_is_felt_is_what_the_runtime_computes(base):
    """The whole network, against ONNX Runtime: bytes for bytes, where fp32 is far off.

    But for a number that lies on the border of two bytes, and gets one here and the other there.
    """
    served = int8(base).predict(ASKED)
    with qat.felt(base.network.module):
        felt = one_by_one(base)
    off = np.nanmax(np.abs(one_by_one(base) - served))
    assert off > 1e-4
    np.testing.assert_allclose(felt, served, atol=off / 10)


def test_it_goes_on_from_a_fitted_model_and_leaves_that_as_it_was(base):
    before = {n: v.clone() for n, v in base.network.module.state_dict().items()}
    model = aware(base, learning_rate=1e-9)
    np.testing.assert_allclose(model.predict(ASKED), base.predict(ASKED), atol=1e-5)
    fitted = aware(base)
    assert all(torch.equal(v, before[n]) for n, v in base.network.module.state_dict().items())
    assert np.nanmax(np.abs(fitted.predict(ASKED) - base.predict(ASKED))) > 1e-3
    assert {type(layer) for layer in fitted.network.module.modules()}.isdisjoint(
        {qat._Linear, qat._Embedding}
    )
    assert fitted.notes["quantisation_aware"]
    assert (fitted.labels, fitted.answered, fitted.held) == (base.labels, base.answered, base.held)
    assert aware(base, held=0.3).held == base.held


def test_it_is_validated_as_it_will_be_served(base):
    """The value that picks the epoch is the loss of the INT8 form, not that of fp32."""
    model = aware(base, learning_rate=1e-2)
    held, told = divide(ROWS, 0.1)[1], model.notes["training"]["validation"][0]
    known = ~np.isnan(held.labels[:, :2])
    off = {}
    for name, asked in (("int8", int8(model)), ("fp32", model)):
        p = np.vstack([asked.predict([text]) for text in held.texts])[:, :2][known]
        likelihood = np.where(held.labels[:, :2][known] == 1, p, 1 - p)
        off[name] = abs(np.mean(np.log(likelihood)) - told)
    assert off["int8"] < 0.5 * off["fp32"]


def test_only_a_fitted_network_can_be_gone_on_from(base):
    with pytest.raises(ValueError, match="takes backbone, max_length from it"):
        aware(base, backbone="minilm", max_length=32)
    with pytest.raises(ValueError, match="one fitted transformer or student only"):
        aware(int8(base))
