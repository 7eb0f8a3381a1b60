"""How faithful LIME is: wholly to a model of single words, less to one of words together."""

import numpy as np
import pytest

from models.core.explain import fidelity
from models.core.explain.fidelity import lime_fidelity
from models.core.explain.texts import explain_text

TEXTS = ("you are an idiot", "what a lovely day", "you idiot and you fool", "word", "", "so nice")


class Additive:
    labels = ("toxicity", "insult")

    def predict(self, texts):
        said = [0.1 + 0.2 * ("idiot" in t) + 0.3 * ("you" in t.split()) for t in texts]
        return np.column_stack([said, np.full(len(texts), 0.5)])


class Together(Additive):
    def predict(self, texts):
        odd = [len(t.split()) % 2 for t in texts]  # the parity of the words: no word counts alone
        return np.column_stack([odd, odd]).astype(float)


def test_a_model_of_single_words_is_explained_wholly():
    found = lime_fidelity(Additive(), TEXTS[:2], "toxicity")["explain.lime_fidelity"]
    assert found.value == pytest.approx(1.0, abs=0.01)
    assert found.low <= found.value <= found.high
    assert found.higher_is_better


def test_a_model_of_words_together_is_not():
    """The mean of what each text's own explanation says of itself; one word is none of them."""
    model, used = Together(), (TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[5])
    each = [explain_text(model, text, "toxicity", "lime", seed=0).fidelity for text in used]
    found = lime_fidelity(model, TEXTS, "toxicity")["explain.lime_fidelity"]
    assert found.value == pytest.approx(np.mean(each))
    assert found.value < 0.9
    assert "4 texts" in found.title


def test_so_many_texts_are_explained_and_no_more(monkeypatch):
    monkeypatch.setattr(fidelity, "EXPLAINED", 2)
    found = lime_fidelity(Additive(), TEXTS, "toxicity")["explain.lime_fidelity"]
    assert "2 texts" in found.title
    assert lime_fidelity(Additive(), ("word", ""), "toxicity") == {}
