"""Networks over texts, on random checkpoints of a few kilobytes; the real one is asked once."""

import shutil

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from models.contracts.learner import FitContext, TextRows
from models.contracts.product import Trial
from models.core.contents import refusal
from models.core.text import backbone, dispatch, pretrained, student, task, transformer
from models.core.text.backbone import BackboneError
from models.core.text.heads import embeddings_of
from models.core.text.rows import held_out
from models.core.text.task import Soft
from tests.unit import tiny_checkpoint
from tests.unit.sample_texts import LABELS, rows, texts

ROWS = rows(400)
QUICK = {"max_length": 32, "max_epochs": 5, "batch_size": 16, "learning_rate": 3e-3,
         "schedule": "constant", "dropout": 0.0}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Two threads of a tiny product only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint.save(tmp_path_factory.mktemp("bert"))


def fitted(checkpoint, rows=ROWS, **params):
    given = {"model": "transformer", "backbone": str(checkpoint), **QUICK, **params}
    return dispatch.fit(Trial(name="t", params=given), rows, FitContext(), ())


@pytest.fixture(scope="module")
def model(checkpoint):
    return fitted(checkpoint)


def test_it_learns_which_words_count_and_answers_only_what_it_saw(model):
    asked, toxic = texts(200, seed=8)
    scores = model.predict(asked)
    assert model.labels == LABELS
    assert roc_auc_score(toxic, scores[:, 0]) > 0.95
    assert roc_auc_score(toxic, scores[:, 1]) > 0.9  # labelled on half of the texts
    assert np.isnan(scores[:, 2:]).all()
    training = model.notes["training"]
    assert training["best_epoch"] == 1 + int(np.argmax(training["validation"]))


def test_an_answer_does_not_depend_on_order_or_neighbours(model):
    asked = [*texts(50, seed=2)[0], "", "you", "why " * 100]
    together = model.predict(asked)
    alone = np.vstack([model.predict([text]) for text in asked])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(model.predict(asked[::-1]), together[::-1], atol=1e-5)
    assert model.predict([]).shape == (0, 4)


def test_the_artifact_needs_nothing_but_itself_and_is_the_same_every_time(tmp_path):
    source = tiny_checkpoint.save(tmp_path / "source")
    small = TextRows(ROWS.texts[:60], ROWS.labels[:60], LABELS)
    models = [fitted(source, small, max_epochs=1, dropout=0.3) for _ in range(2)]
    for name, model in zip("ab", models, strict=True):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
    shutil.rmtree(source)
    for path in (tmp_path / "a").iterdir():
        assert refusal(path.name, path.read_bytes()) is None
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    loaded = dispatch.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.predict(ROWS.texts[:5]), models[0].predict(ROWS.texts[:5]))


def test_a_killed_fit_goes_on_and_ends_in_the_same_bytes(checkpoint, tmp_path):
    params = {**QUICK, "model": "transformer", "backbone": str(checkpoint), "dropout": 0.3,
              "max_epochs": 2, "checkpoint_steps": 2, "augment": ["deletion", "swap"]}  # fmt: skip
    small, trial = (
        TextRows(ROWS.texts[:80], ROWS.labels[:80], LABELS),
        Trial(name="t", params=params),
    )

    def killed(name, step, value):
        raise KeyboardInterrupt

    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        dispatch.fit(trial, small, FitContext(folder=folder, curve=killed), ())
    said = []
    again = dispatch.fit(trial, small, FitContext(folder=folder, say=said.append), ())
    whole = dispatch.fit(trial, small, FitContext(), ())
    assert any("going on after step" in line for line in said)
    np.testing.assert_array_equal(again.predict(ROWS.texts), whole.predict(ROWS.texts))


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_pooling_is_the_mean_over_a_texts_own_tokens(tmp_path, kind):
    encoder, encoding = backbone.load(str(tiny_checkpoint.save(tmp_path / kind, kind)), 16)
    rows = encoding.encode(["you are nice", "what a day"])
    states = [encoder(torch.from_numpy(row)[None]).last_hidden_state[0] for row in rows]
    expected = torch.stack([state.mean(0) for state in states]).detach().numpy()
    found = embeddings_of(str(tmp_path / kind), False, 16).of(["you are nice", "what a day"])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_frozen_encoder_keeps_its_weights_but_the_head_learns(checkpoint):
    model = fitted(checkpoint, frozen=2, max_epochs=1)
    before, _ = backbone.load(str(checkpoint), 32)
    after = model.network.module.encoder.state_dict()
    for name, value in before.state_dict().items():
        assert torch.equal(value, after[name]), name
    untouched = torch.empty(2, 32)
    torch.nn.init.normal_(untouched, std=0.02, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(model.network.module.head.weight, untouched)


def test_checkpoints_that_are_not_safe_or_not_there_are_refused(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(BackboneError, match=r"pytorch_model\.bin\) are never loaded"):
        fitted(copy)
    with pytest.raises(BackboneError, match="set the trial's hub to true"):
        fitted("unitary/toxic-bert")
    with pytest.raises(BackboneError, match="takes 3 to 40 tokens"):
        fitted(checkpoint, max_length=64)
    with pytest.raises(ValidationError, match="max_rounds"):
        fitted(checkpoint, max_rounds=3)


def test_somebody_elses_labels_are_added_up_into_ours(tmp_path):
    tiny_checkpoint.save(tmp_path / "c", labels=("normal", "hatespeech", "offensive"))
    mapping = {"toxicity": ["hatespeech", "offensive"], "hate": ["hatespeech"]}
    source = {"backbone": str(tmp_path / "c"), "max_length": 32}
    params = {"model": "pretrained", "mapping": mapping, **source}
    classifier, encoding = backbone.load_classifier(str(tmp_path / "c"), 32)
    row = encoding.encode(["you are awful"])[0]
    with torch.no_grad():
        logits = classifier(torch.from_numpy(row)[None]).logits[0].double().numpy()
    shares = np.exp(logits) / np.exp(logits).sum()
    for activation, expected in (
        ("softmax", [shares[1] + shares[2], shares[1]]),
        ("sigmoid", [1 / (1 + np.exp(-logits[1:].max())), 1 / (1 + np.exp(-logits[1]))]),
    ):
        trial = Trial(name="t", params={**params, "activation": activation})
        model = dispatch.fit(trial, ROWS, FitContext(), ())
        scores = model.predict(["you are awful"])[0]
        np.testing.assert_allclose(scores[[0, 3]], expected, atol=1e-5)
        assert np.isnan(scores[[1, 2]]).all()
        assert model.held == 1.0
    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved")
    dispatch.load(tmp_path / "saved")
    with pytest.raises(BackboneError, match=r"no labels \['toxic'\]; it has normal, hatespeech"):
        pretrained.fit(Trial(name="t", params={**params, "mapping": {"hate": ["toxic"]}}), ROWS)


def test_a_student_keeps_first_and_last_layer_and_comes_to_answer_as_its_teacher(model):
    nothing = ROWS.labels.copy()
    nothing[20:, :2] = np.nan  # the teacher answers where nobody labelled
    params = {**QUICK, "model": "student", "layers": 1, "share": 1.0, "match": "mse"}
    trial = Trial(name="s", params=params, after=("t",))
    unlabelled = TextRows(ROWS.texts, nothing, LABELS)
    pupil = dispatch.fit(trial, unlabelled, FitContext(bases={"t": model}), ())
    asked = texts(100, seed=6)[0]
    assert len(backbone.layers_of(pupil.network.module.encoder)) == 1
    assert np.corrcoef(pupil.logits(asked)[:, 0], model.logits(asked)[:, 0])[0, 1] > 0.9
    with pytest.raises(ValueError, match="name an earlier trial first in after"):
        student.fit(Trial(name="s", params=params), ROWS, FitContext())


def test_layers_are_chosen_evenly_from_first_to_last():
    from transformers import BertConfig, BertModel

    config = BertConfig(**{**tiny_checkpoint.SMALL, "num_hidden_layers": 6})
    model = BertModel(config)
    layers = list(model.encoder.layer)
    backbone.keep_layers(model, 3)
    assert [layers.index(layer) for layer in model.encoder.layer] == [0, 2, 5]
    assert model.config.num_hidden_layers == 3
    with pytest.raises(BackboneError, match="layers=4, but the network has 3"):
        backbone.keep_layers(model, 4)


def test_soft_losses_by_hand():
    teacher, answer = torch.tensor([[0.0]]), torch.tensor([[2 * np.log(3.0)]])
    soft = Soft(teacher.numpy(), share=1.0, temperature=2.0, match="kl")
    # at T = 2 the student says 3/4 where the teacher says 1/2: KL = ln(2 / sqrt(3)), times T^2
    expected = 4 * np.log(2 / np.sqrt(3))
    assert float(task.soft_loss(answer, teacher, soft)) == pytest.approx(expected, rel=1e-5)
    squared = task.soft_loss(answer, teacher, soft._replace(match="mse"))
    assert float(squared) == pytest.approx((2 * np.log(3)) ** 2, rel=1e-5)


def test_batches_hold_every_text_once_and_little_padding():
    lengths = np.random.default_rng(0).integers(3, 100, 1003)
    batches = task.buckets(lengths, 8, torch.Generator().manual_seed(1))
    assert sorted(np.concatenate(batches)) == list(range(1003))
    assert len(batches) == 126
    padded = sum(len(b) * lengths[b].max() for b in batches)
    assert padded < 1.1 * lengths.sum()
    again = task.buckets(lengths, 8, torch.Generator().manual_seed(2))
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(batches, again, strict=True))


def test_what_is_held_out_depends_on_the_text_alone():
    made = texts(2000)[0]
    held = held_out(made, 0.2)
    assert 0.17 < held.mean() < 0.23
    assert (held_out(made[::-1], 0.2) == held[::-1]).all()
    assert held_out([text.upper() + " " for text in made], 0.2).tolist() == held.tolist()
    assert (held_out(made, 0.3) | ~held).all()
    assert not held_out(made, 0.0).any()
    assert held_out(made, 1.0).all()


def test_augmented_texts_are_said_anew_in_every_epoch(checkpoint):
    part = task.Labelled(ROWS.texts[:40], ROWS.labels[:40, :1])
    encoder, encoding = backbone.load(str(checkpoint), 32)
    start = transformer.Start(encoder, encoding, "mean", np.array([0]))
    params = transformer.TransformerParams(augment=("deletion",))
    module = transformer.headed(start, part.labels, params, seed=0)
    made = task.TextTask(
        module, encoding, part, part, params, batch_size=8,
        augment=transformer.augmentations(("deletion",)),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    sums = [sum(int(b.mask.sum()) for b in made.batches(generator)) for _ in range(3)]
    whole = sum(len(row) for row in encoding.encode(part.texts))
    assert len(set(sums)) > 1
    assert max(sums) < whole


def test_the_packaged_backbone_knows_what_sentences_mean():
    found = embeddings_of("minilm", False, 32).of(
        ["He is a fool.", "That man is an idiot.", "The train leaves at noon."]
    )
    assert found.shape == (3, 384)
    near, far = found[0] @ found[1], found[0] @ found[2]
    assert near > 0.5 > far


def test_words_that_carry_a_label_are_not_exchanged(checkpoint, monkeypatch):
    class SeenError(Exception):
        pass

    def stop(made, *_):
        generator = torch.Generator().manual_seed(0)
        raise SeenError([t for _ in range(5) for t in made.said_differently(generator)])

    monkeypatch.setattr(transformer, "train", stop)
    # "car" has synonyms as "big" has; it goes with the second label, of which half is unknown
    written = tuple(f"big {'car' if i % 2 else 'day'} {i}" for i in range(80))
    yes = np.arange(80) % 2.0
    labels = np.column_stack([np.zeros(80), np.where(np.arange(80) < 40, yes, np.nan)])
    labels[0, 0] = 1.0
    with pytest.raises(SeenError) as told:
        fitted(checkpoint, TextRows(written, labels, LABELS[:2]), augment=["synonyms"])
    said = [text for text in told.value.args[0] if not text.endswith(tuple("02468"))]
    assert all("car" in text for text in said)
    assert any("big" not in text for text in said)
