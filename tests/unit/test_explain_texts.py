"""Explaining texts: words left out, a network opened at its embeddings, and what is refused."""

import numpy as np
import pytest
import torch

from models.core.explain.texts import SAMPLES, explain_text, phrases
from models.core.text.differentiable import differentiable
from models.core.text.encoding import Encoding
from models.core.text.network import Classifier, Pretrained, TorchNetwork
from models.core.text.predictor import NetworkText
from tests.unit import tiny_checkpoint

LABELS = ("toxicity", "insult", "threat")


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are slower on two threads, and much slower on two busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Counting:
    """A linear model over words that counts what it is asked; it never learned of threats."""

    labels = LABELS

    def __init__(self):
        self.weights = {"idiot": 0.5, "hate": 0.25, "lovely": -0.125, "you": 0.0625}
        self.asked = 0

    def predict(self, texts):
        self.asked += len(texts)
        sums = [0.25 + sum(self.weights.get(w, 0) for w in text.split()) for text in texts]
        return np.array([[s, 0.5, np.nan] for s in sums])


def network(kind="bert", make=None, seed=0):
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(seed)
    pad = 1 if kind == "roberta" else 0
    config = AutoConfig.for_model(kind, **tiny_checkpoint.SMALL, pad_token_id=pad)
    config.initializer_range = 0.5  # random weights that say something
    module = (make or (lambda c: Classifier(AutoModel.from_config(c), "mean", 0.1, 2)))(config)
    names = ("<s>", "</s>", "<pad>", "<unk>") if pad else ("[CLS]", "[SEP]", "[PAD]", "[UNK]")
    encoding = Encoding.of(tiny_checkpoint.tokenizer(*names, pad_number=pad), pad, 32)
    return NetworkText(
        "transformer", LABELS, (0, 2), encoding, TorchNetwork(module.eval(), 2), 1.0, {}
    )


def test_a_text_is_cut_into_words_or_phrases():
    assert phrases("  you lovely,  idiot! ") == ("you ", "lovely,  ", "idiot!")
    assert phrases("") == ()
    assert phrases("a b c d e", 2) == ("a b ", "c d e")
    long = " ".join(str(i) for i in range(97))
    cut = phrases(long)
    assert len(cut) == 40
    assert "".join(cut) == long
    assert {len(part.split()) for part in cut} == {2, 3}


@pytest.mark.parametrize("method", ["lime", "shap"])
def test_words_of_a_linear_model_get_their_weights(method):
    found = explain_text(Counting(), "you lovely idiot", "toxicity", method)
    assert found.parts == ("you", "lovely", "idiot")
    near = 2e-3 if method == "lime" else 1e-12
    np.testing.assert_allclose(found.weights, [0.0625, -0.125, 0.5], atol=near)
    assert found.value == 0.6875
    assert found.base == pytest.approx(0.25, abs=5e-3)
    assert (found.method, found.label) == (method, "toxicity")
    if method == "lime":
        assert found.fidelity > 0.999
    else:
        assert found.fidelity is None
        assert sum(found.weights) == pytest.approx(found.value - found.base)


@pytest.mark.parametrize("method", ["lime", "shap"])
def test_few_answers_are_asked_of_the_model(method):
    model = Counting()
    explain_text(model, " ".join(f"w{i}" for i in range(30)), "toxicity", method)
    assert model.asked <= SAMPLES + 2
    model = Counting()
    explain_text(model, "you idiot", "toxicity", method)
    assert model.asked <= 5  # itself, then the four texts there are


def test_an_explanation_repeats_itself_and_survives_json():
    text = " ".join(["you", "idiot", *[f"w{i}" for i in range(60)]])
    first, again = (explain_text(Counting(), text, "toxicity", seed=3) for _ in range(2))
    assert first == again
    assert first.note == "a long text: explained by 40 phrases"
    assert type(first).model_validate_json(first.model_dump_json()) == first
    empty = explain_text(Counting(), "  ", "toxicity")
    assert (empty.parts, empty.weights, empty.value) == ((), (), 0.25)


def test_the_networks_own_path_through_its_embeddings():
    for kind in ("bert", "roberta"):
        model = network(kind)
        opened = differentiable(model)
        texts = opened.embed(["you are an idiot", "go"])
        assert texts.vectors.shape == texts.neutral.shape == (2, 6, 32)
        with torch.no_grad():
            found = opened.logits(texts.vectors, texts).numpy()
        np.testing.assert_allclose(
            found, model.logits(["you are an idiot", "go"]), rtol=1e-4, atol=1e-5
        )
        assert texts.tokens[1][1] == "go"
        assert len(texts.tokens[1]) == 3
        changed = (texts.vectors != texts.neutral).any(dim=2)
        assert changed.tolist() == [[False, *[True] * 4, False], [False, True, *[False] * 4]]
        again = opened.logits(torch.zeros_like(texts.vectors), texts)
        assert not np.allclose(again.detach().numpy(), found)  # the hook is the path


def test_gradients_of_a_network_are_complete():
    model = network()
    found = explain_text(model, "you are an awful idiot", "threat", "gradients")
    assert found.parts == ("[CLS]", "you", "are", "an", "awful", "idiot", "[SEP]")
    assert found.value == pytest.approx(
        float(model.logits(["you are an awful idiot"])[0, 1]), rel=1e-4
    )
    assert sum(found.weights) == pytest.approx(found.value - found.base, rel=0.05)
    assert found.weights[0] == found.weights[-1] == 0  # the same in both
    assert found.note.startswith("log-odds; ")


def test_gradients_of_a_network_that_adds_its_tokens_up():
    class Sum(torch.nn.Module):
        """Log-odds: the mean over the tokens of a fixed direction."""

        def __init__(self, config):
            super().__init__()
            from transformers import AutoModel

            self.encoder = AutoModel.from_config(config)
            self.register_buffer("direction", torch.linspace(-1, 1, 32))

        def forward(self, ids, mask):
            vectors = self.encoder.get_input_embeddings()(ids) @ self.direction
            sums = (vectors * mask).sum(dim=1) / mask.sum(dim=1)
            return torch.stack([sums, -sums], dim=1)

    model = network(make=Sum)
    texts = differentiable(model).embed(["you idiot"])
    found = explain_text(model, "you idiot", "toxicity", "gradients")
    away = (texts.vectors - texts.neutral)[0] @ torch.linspace(-1, 1, 32) / 4
    np.testing.assert_allclose(found.weights, away.numpy(), atol=1e-5)


def test_attention_is_a_hint():
    model = network()
    found = explain_text(model, "you are an idiot", "toxicity", "attention")
    assert len(found.weights) == len(found.parts) == 6
    assert sum(found.weights) == pytest.approx(1.0)
    assert min(found.weights) > 0
    assert "hint only" in found.note
    assert found.value == pytest.approx(float(model.logits(["you are an idiot"])[0, 0]), rel=1e-4)
    weights = differentiable(model).attentions(differentiable(model).embed(["you", "a b c d"]))
    assert weights.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(weights.sum(dim=-1).numpy(), 1.0, rtol=1e-5)
    assert model.network.module.encoder.config._attn_implementation != "eager"


def test_somebody_elses_classifier_is_opened_too():
    from transformers import AutoModelForSequenceClassification

    def make(config):
        config.num_labels = 3
        classifier = AutoModelForSequenceClassification.from_config(config)
        return Pretrained(classifier, [[1], [1, 2]], "softmax")

    model = network(make=make)
    found = explain_text(model, "you are an idiot", "toxicity", "gradients")
    assert sum(found.weights) == pytest.approx(found.value - found.base, rel=0.06)
    assert explain_text(model, "you are", "toxicity", "attention").parts[1] == "you"
    assert differentiable(model).features(["you"]) is None


def test_features_are_what_the_head_is_given():
    model = network()
    found = differentiable(model).features(["you are", "go"])
    head = model.network.module.head
    with torch.no_grad():
        logits = head(torch.from_numpy(found).float()).numpy()
    np.testing.assert_allclose(logits, model.logits(["you are", "go"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("label", "method", "message"),
    [
        ("hate", "lime", "'hate' is no label of this model"),
        ("threat", "lime", "never learned 'threat'"),
        ("toxicity", "magic", "'magic' is no method"),
        ("toxicity", "gradients", "needs a torch network, this model has none: take 'lime'"),
        ("toxicity", "attention", "needs a torch network"),
    ],
)
def test_what_cannot_be_explained_is_refused(label, method, message):
    with pytest.raises(ValueError, match=message):
        explain_text(Counting(), "you idiot", label, method)
    with pytest.raises(ValueError, match="never learned 'insult'"):
        explain_text(network(), "you idiot", "insult", "gradients")
