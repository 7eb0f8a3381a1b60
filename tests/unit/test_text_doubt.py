"""Doubt where a model is wrong: by hand, and over passes of a network with dropout."""

import numpy as np
import pytest
import torch
from torch import nn

from models.core.text import doubt
from models.core.text.differentiable import differentiable
from tests.unit.test_explain_texts import network, one_thread  # noqa: F401  a fixture

CONFIDENCE, DROPOUT = "uncertainty.confidence_auroc", "uncertainty.dropout_auroc"
LABELS = np.array([0.0, 1.0] * 10)


def examined(scores, labels=LABELS, threshold=0.5):
    texts = [str(number) for number in range(len(labels))]
    return doubt.examine(None, None, texts, labels, scores, label="toxicity", threshold=threshold)


def test_confidence_by_hand():
    scores = np.where(LABELS == 1, 0.95, 0.05)  # right and sure: 0.45 from the threshold
    scores[:6] = [0.6, 0.4, 0.6, 0.4, 0.6, 0.4]  # wrong and close to it
    found = examined(scores)
    assert set(found) == {CONFIDENCE}, "no network, no dropout"
    assert found[CONFIDENCE].value == 1.0
    assert found[CONFIDENCE].higher_is_better
    scores[:6] = [0.99, 0.01, 0.99, 0.01, 0.6, 0.4]  # four of six wrong ones surer than any right
    assert examined(scores)[CONFIDENCE].value == pytest.approx(2 / 6)


def test_what_is_wrong_is_decided_at_the_threshold():
    scores = np.where(LABELS == 1, 0.35, 0.05)
    assert np.isnan(examined(scores, threshold=0.3)[CONFIDENCE].value), "all are right"
    assert examined(scores, threshold=0.4)[CONFIDENCE].value == 1.0  # every yes is missed, closely


def test_unknown_labels_are_left_out_and_few_errors_are_not_ranked():
    scores, labels = np.where(LABELS == 1, 0.9, 0.1), LABELS.copy()
    scores[:8] = 1 - scores[:8]
    labels[:4] = np.nan
    assert np.isnan(examined(scores, labels)[CONFIDENCE].value)  # four are wrong
    labels[3] = 1.0
    assert examined(scores, labels)[CONFIDENCE].value == 0.5  # all answers are equally sure


def test_dropout_is_asked_of_few_texts_in_few_passes_and_left_as_it_was(monkeypatch):
    monkeypatch.setattr(doubt, "TEXTS", 30)
    model, asked = network(), []
    texts = [f"you are {word} {n}" for n in range(25) for word in ("an idiot", "nice")]
    labels = np.tile([1.0, 0.0], 25)
    scores = model.predict(texts)[:, 0]
    threshold = float(np.median(scores))
    before = model.network.module.head.register_forward_hook(
        lambda _, inputs, __: asked.append(len(inputs[0]))
    )

    def once():
        return doubt.examine(
            model, differentiable(model), texts, labels, scores, label="toxicity",
            threshold=threshold, seed=1,
        )  # fmt: skip

    found = once()
    assert sum(asked) == 30 * doubt.PASSES
    assert 0 <= found[DROPOUT].low <= found[DROPOUT].value <= found[DROPOUT].high <= 1
    assert found == once()
    before.remove()
    assert not model.network.module.dropout.training
    np.testing.assert_array_equal(model.predict(texts)[:, 0], scores)


def test_a_network_without_dropout_has_no_such_measure():
    model = network()
    for layer in model.network.module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    scores = np.where(LABELS == 1, 0.4, 0.1)
    texts = [str(number) for number in range(20)]
    given = {"label": "toxicity", "threshold": 0.5}
    found = doubt.examine(model, differentiable(model), texts, LABELS, scores, **given)
    assert set(found) == {CONFIDENCE}


class Shaky:
    """A network whose dropout moves the answers to some texts and not to the others."""

    def __init__(self, shaken):
        self.network = self
        self.module = nn.Sequential(nn.Dropout(0.5)).eval()
        self.shaken = torch.tensor(shaken, dtype=torch.float32)

    def logits(self, texts):
        moved = self.module(torch.ones(len(texts))) * self.shaken[[int(text) for text in texts]]
        return moved[:, None].numpy()

    def column(self, label):
        return ["toxicity"].index(label)


def test_spread_over_passes_tells_what_is_wrong_where_confidence_does_not():
    scores = np.where(LABELS == 1, 0.9, 0.1)
    scores[:10] = 1 - scores[:10]  # the first ten are wrong, as surely as the others are right
    model = Shaky([3.0] * 10 + [0.0] * 10)
    texts = [str(number) for number in range(20)]
    given = {"label": "toxicity", "threshold": 0.5}
    found = doubt.examine(model, model, texts, LABELS, scores, **given)
    assert found[DROPOUT].value == 1.0
    assert found[CONFIDENCE].value == 0.5
