"""The ensemble: weights learned on texts no head saw, a consensus, one artifact."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.special import expit

from models.contracts.learner import FitContext, TextRows
from models.contracts.product import Trial
from models.core.artifact import ArtifactError
from models.core.contents import refusal
from models.core.text import dispatch, linear, stacking
from models.core.text.rows import held_out
from models.moderation.text_toxicity.learner import HEADS, TextToxicityLearner
from tests.unit import tiny_checkpoint
from tests.unit.sample_texts import BAD, LABELS, rows, texts

ROWS = rows(400)


class Oracle(NamedTuple):
    """Knows the bad words; or, asked by ``noise``, guesses by the length of the text."""

    noise: bool = False
    held: float = 1.0
    labels: tuple[str, ...] = LABELS

    def predict(self, texts):
        bad = np.array([any(word in BAD for word in text.split()) for text in texts], float)
        guess = np.array([len(text) % 7 for text in texts]) / 6
        first = 0.1 + 0.8 * (guess if self.noise else bad)
        nothing = np.full(len(texts), np.nan)
        return np.column_stack([first, first, nothing, nothing])


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Two threads of a tiny product only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(tiny_checkpoint.save(tmp_path_factory.mktemp("bert")))


def heads(checkpoint):
    """Five heads, of which one has no labels and two are models."""
    return [
        {"name": "toxicity", "labels": ["toxicity"], "trial": "knows"},
        {"name": "hate", "labels": ["hate"], "backbone": checkpoint},
        {"name": "light_toxicity", "labels": ["toxicity"], "trial": "guesses"},
        {"name": "insult", "labels": ["insult", "threat"], "backbone": checkpoint},
        {"name": "both", "labels": ["toxicity", "insult"], "backbone": checkpoint},
    ]


def fitted(checkpoint, bases, rows=ROWS, **params):
    given = {"model": "ensemble", "heads": heads(checkpoint), "max_length": 32, "max_epochs": 5,
             "held": 0.3, **params}  # fmt: skip
    said = []
    trial = Trial(name="e", params=given, after=tuple(bases))
    model = dispatch.fit(trial, rows, FitContext(bases=bases, say=said.append), HEADS)
    return model, said


@pytest.fixture(scope="module")
def model(checkpoint):
    return fitted(checkpoint, {"knows": Oracle(), "guesses": Oracle(noise=True)})


def test_stacked_weights_are_the_optimum_among_those_not_negative():
    rng = np.random.default_rng(0)
    y = (rng.random(500) < 0.4).astype(float)
    z = np.column_stack([3 * y - 1 + rng.normal(0, 2, 500), rng.normal(0, 2, 500), 1 - 2 * y])
    z[:, 2] += rng.normal(0, 1, 500)  # an opinion that is worth turning over, but must not be
    prior = np.full(3, 1 / 3)
    weights, intercept = stacking.stack(z, y, prior, penalty=5.0)
    error = expit(z @ weights + intercept) - y
    gradient = z.T @ error + 5.0 * (weights - prior)
    assert abs(error.sum()) < 0.05
    assert (weights >= 0).all()
    assert weights[2] == 0
    assert gradient[2] > 0
    assert np.abs(gradient[weights > 0]).max() < 0.05


def test_without_anything_to_learn_the_prior_holds():
    z, prior = np.random.default_rng(1).normal(size=(50, 2)), np.array([0.5, 0.5])
    for labels in (np.zeros(50), np.full(50, np.nan)):
        weights, intercept = stacking.stack(z, labels, prior, 1.0)
        assert (weights.tolist(), intercept) == ([0.5, 0.5], 0.0)
    heavy, _ = stacking.stack(z, np.arange(50) % 2.0, prior, 1e9)
    np.testing.assert_allclose(heavy, prior, atol=1e-6)


def test_confidence_by_hand():
    scores = np.array([[0.9, np.nan], [0.4, np.nan]])
    votes = np.array([[0.9, 0.7, 0.8, 0.8], [0.1, 0.9, 0.1, 0.9]])
    found = stacking.confidence(scores, votes, first=0)
    np.testing.assert_allclose(found.prediction[:, 0], [0.9, 0.6])
    np.testing.assert_allclose(found.model[1], [0.9, 0.9, 0.9, 0.9])
    np.testing.assert_allclose(found.agreement, [1.0, 0.5])
    np.testing.assert_allclose(found.spread, [np.sqrt(0.005), 0.4])
    np.testing.assert_allclose(found.ensemble, [1 - 2 * np.sqrt(0.005), 0.5 * 0.2])


def test_heads_are_weighed_by_what_they_know(model):
    ensemble, said = model
    assert [head.name for head in ensemble.heads] == [
        "toxicity",
        "light_toxicity",
        "insult",
        "both",
    ]
    assert any("head hate is left out: too few labels of hate" in line for line in said)
    learned = {head.name: [LABELS[n] for n in head.labels] for head in ensemble.heads}
    assert learned["toxicity"] == ["toxicity", "insult"]  # a model: more than it was named for
    assert learned["insult"] == ["insult"]
    shares = ensemble.importance()
    assert shares["toxicity"] > 5 * shares["light_toxicity"]
    assert sum(shares.values()) == pytest.approx(1.0)
    asked, toxic = texts(100, seed=4)
    scores = ensemble.predict(asked)
    assert ((scores[:, 0] >= 0.5) == toxic).all()
    assert np.isnan(scores[:, 2:]).all()


def test_weights_come_from_held_out_texts_alone_and_heads_from_the_others(checkpoint, model):
    held = held_out(ROWS.texts, 0.3)
    turned = ROWS.labels.copy()
    turned[held, 0] = 1 - turned[held, 0]
    bases = {"knows": Oracle(), "guesses": Oracle(noise=True)}
    other, _ = fitted(checkpoint, bases, TextRows(ROWS.texts, turned, LABELS), patience=10)
    same, _ = fitted(checkpoint, bases, patience=10)
    first = next(h.dense for h in same.heads if h.name == "insult")
    second = next(h.dense for h in other.heads if h.name == "insult")
    np.testing.assert_array_equal(first.A, second.A)
    assert other.importance()["toxicity"] < 0.05  # on these texts it is always wrong


def test_a_member_that_knows_the_held_out_texts_is_refused(checkpoint):
    baseline = linear.fit(Trial(name="l", params={"model": "tfidf_linear"}), ROWS)
    with pytest.raises(ValueError, match=r"give that trial params held=0\.3"):
        fitted(checkpoint, {"further": baseline})


def test_every_answer_has_its_confidence(model):
    ensemble, _ = model
    asked, _ = texts(100, seed=4)
    scores, found = ensemble.predict_with_confidence(asked)
    np.testing.assert_array_equal(scores, ensemble.predict(asked))
    assert found.prediction.shape == (100, 4)
    assert found.model.shape == (100, 4)
    assert ((found.ensemble >= 0) & (found.ensemble <= found.agreement)).all()
    for number, text in enumerate(asked):
        _, alone = ensemble.predict_with_confidence([text])
        np.testing.assert_allclose(alone.ensemble[0], found.ensemble[number], atol=1e-4)


def test_it_is_kept_whole_and_its_forms_answer_alike(checkpoint, tmp_path):
    params = {"model": "transformer", "backbone": checkpoint, "max_length": 32, "max_epochs": 1}
    learner = TextToxicityLearner()
    tuned = learner.fit(Trial(name="m", params={**params, "held": 0.3}), ROWS, FitContext())
    baseline = linear.fit(Trial(name="l", params={"model": "tfidf_linear", "held": 0.3}), ROWS)
    ensemble, _ = fitted(checkpoint, {"knows": tuned, "words": baseline})
    assert [head.name for head in ensemble.heads][-1] == "words"
    trial = Trial(name="f", params={"model": "onnx", "threads": 1}, after=("e",), form=True)
    form = learner.fit(trial, ROWS, FitContext(bases={"e": ensemble}))
    asked = texts(30, seed=4)[0]
    np.testing.assert_allclose(form.predict(asked), ensemble.predict(asked), atol=1e-5)
    alone = np.vstack([ensemble.predict([text]) for text in asked])
    np.testing.assert_allclose(alone, ensemble.predict(asked), atol=1e-5)
    for name, saved in (("ensemble", ensemble), ("form", form)):
        folder = tmp_path / name
        folder.mkdir()
        saved.save(folder)
        for path in folder.rglob("*"):
            assert path.is_dir() or refusal(path.name, path.read_bytes()) is None
        loaded = learner.load(folder)
        np.testing.assert_array_equal(loaded.predict(asked), saved.predict(asked))
        sure, before = (m.predict_with_confidence(asked)[1].ensemble for m in (loaded, saved))
        np.testing.assert_array_equal(sure, before)
    assert not list((tmp_path / "form").rglob("network.json"))


def test_unknown_models_are_named(tmp_path):
    learner = TextToxicityLearner()
    with pytest.raises(ValueError, match="'model'] is 'gpt', give one of tfidf_linear"):
        learner.fit(Trial(name="t", params={"model": "gpt"}), ROWS, FitContext())
    (tmp_path / "model.json").write_text('{"kind": "gpt"}')
    with pytest.raises(ArtifactError, match="holds a 'gpt'"):
        learner.load(tmp_path)
