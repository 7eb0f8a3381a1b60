"""The examination of text predictors, on predictors whose answers are known by construction."""

from collections import Counter

import numpy as np
import pytest

from models.core.text import attacks, words
from models.core.text.examine import examine
from models.core.text.strange import code, foreign, scrambled, strange
from tests.unit.test_explain_texts import network, one_thread  # noqa: F401  a fixture

NAMES = ("toxicity", "insult")
KNOWN = {"big": 0.75, "wizard": 0.75, "friend": 0.25, "summer": 0.25}


class Lexicon:
    """Knows a few words, answers one half to anything else, and may undo look-alikes first."""

    labels = NAMES

    def __init__(self, normalise=str):
        self.normalise = normalise
        self.asked = 0

    def predict(self, texts):
        self.asked += len(texts)
        found = [
            max([KNOWN.get(w, 0.5) for w in self.normalise(t).split()] or [0.5]) for t in texts
        ]
        return np.stack([found, np.full(len(found), np.nan)], axis=1)


def sample(bad, good, n=60):
    labels = np.full((n, 2), np.nan)
    labels[:, 0] = np.arange(n) % 2
    return [bad if label else good for label in labels[:, 0]], labels


def test_a_predictor_by_words_loses_what_is_rewritten():
    texts, labels = sample("wizard", "summer")
    found = examine(Lexicon(), texts, labels, NAMES, (0.6, 0.5))
    assert found["attack.none"].value == 1.0
    for name in attacks.BLIND:
        # one word a text, so every text is rewritten; both kinds then score one half
        assert found[f"attack.{name}"].value == 0.5
        assert found[f"attack.{name}_flips"].value == 1.0
        assert not found[f"attack.{name}_flips"].higher_is_better
    assert found["attack.word_swap"].value == 1.0  # a wizard has no synonym
    assert found["attack.word_swap_flips"].value == 0.0
    assert found["attack.char_search"].value == 0.0
    assert found["attack.char_search_flips"].value == 1.0
    # Wilson at 30 of 30: z^2 / (n + z^2) = 2.7055 / 32.7055 is missing from one
    assert found["attack.char_search_flips"].low == pytest.approx(1 - 2.7055 / 32.7055, abs=1e-4)
    assert not any("embedding" in name or "shift" in name for name in found)


def test_a_predictor_that_normalises_keeps_it():
    texts, labels = sample("wizard", "summer")
    found = examine(Lexicon(attacks.skeleton), texts, labels, NAMES, (0.6, 0.5))
    assert found["attack.homoglyph"].value == 1.0
    assert found["attack.homoglyph_flips"].value == 0.0
    assert found["attack.typo"].value == 0.5


def test_a_synonym_escapes_a_lexicon():
    texts, labels = sample("big", "friend")
    found = examine(Lexicon(), texts, labels, NAMES, (0.6, 0.5))
    assert found["attack.word_swap"].value == 0.0
    assert found["attack.word_swap_flips"].value == 1.0


class Phrases(Lexicon):
    """Knows whole texts."""

    def predict(self, texts):
        found = [KNOWN.get(text, 0.5) for text in texts]
        return np.stack([found, np.full(len(found), np.nan)], axis=1)


def test_strange_texts_are_those_the_predictor_doubts():
    texts, labels = sample("wizard", "summer")
    found = examine(Phrases(), texts, labels, NAMES, (0.6, 0.5))
    assert found["ood.doubt"].value == 1.0  # P = 1/2 only for what it does not know
    assert found["ood.auroc"] == found["ood.doubt"]
    # energies -log 4 and -log(4/3) of what it knows lie on both sides of -log 2: the area is the
    # share of wizards among 30 of 60 texts, a half with a deviation of 0.065
    assert found["ood.energy"].value == pytest.approx(0.5, abs=0.2)


def test_the_shift_is_between_the_columns_given():
    texts, labels = sample("wizard", "summer")
    generator = np.random.default_rng(0)
    train, judged = generator.standard_normal((2, 300, 2))
    found = examine(Lexicon(), texts, labels, NAMES, (0.6, 0.5), columns=(train, judged + 3))
    assert found["shift.domain_auc"].value > 0.95
    assert not found["shift.domain_auc"].higher_is_better


def test_an_examination_repeats_itself_within_its_budget():
    texts, labels = sample("a wizard of summer", "my friend of summer", 200)
    first, second = Lexicon(), Lexicon()
    found = [
        examine(model, texts, labels, NAMES, (0.6, 0.5), seed=5, rows=50)
        for model in (first, second)
    ]
    assert {name: measure.model_dump_json() for name, measure in found[0].items()} == {
        name: measure.model_dump_json() for name, measure in found[1].items()
    }
    # clean and four attacks on 50, two searches of 40 on 25, strange and other texts
    assert first.asked <= 5 * 50 + 2 * 25 * 40 + 50


def test_a_network_is_attacked_at_its_embeddings():
    model = network()
    texts = [f"you are {word} {letter}" for word in ("an idiot", "nice") for letter in "abcdefgh"]
    labels = np.full((16, 3), np.nan)
    labels[:8, 0], labels[8:, 0] = 1, 0
    scores = model.predict(texts)[:8, 0]
    threshold = float(scores.min()) - 1e-6
    found = examine(model, texts, labels, model.labels, (threshold, 0.5, 0.5), train=texts)
    for name in ("embedding_fgsm", "embedding_pgd"):
        assert found[f"attack.{name}"].value < 1.0
        assert found[f"attack.{name}_flips"].value == 1 - found[f"attack.{name}"].value
    assert found["attack.embedding_pgd"].value <= found["attack.embedding_fgsm"].value
    assert found["ood.nearest"].value == found["ood.auroc"].value
    assert 0 <= found["ood.mahalanobis"].value <= 1


def test_what_cannot_be_examined_is_refused():
    with pytest.raises(ValueError, match="nothing to examine"):
        examine(Lexicon(), [], np.empty((0, 2)), NAMES, (0.5, 0.5))

    class Silent(Lexicon):
        def predict(self, texts):
            return np.full((len(texts), 2), np.nan)

    with pytest.raises(ValueError, match="no answers for 'toxicity'"):
        examine(Silent(), ["a"], np.ones((1, 2)), NAMES, (0.5, 0.5))


def test_strange_texts():
    text = "Hello my friend, see https://x.example 42!"
    generator = np.random.default_rng(0)
    mixed = scrambled(text, generator)
    assert [Counter(word) for word in mixed.split()] == [Counter(word) for word in text.split()]
    assert mixed != text
    other = foreign(text, generator)
    assert [len(word) for word in other.split()] == [len(word) for word in text.split()]
    assert other.split()[-1] == "42!"
    for letters in ("aeiou", "bcdfghjklmnpqrstvwxyz"):
        moved = foreign(letters, generator)
        assert sorted(moved) == sorted(letters)
        assert all(a != b for a, b in zip(moved, letters, strict=True))
    lines = code(text, generator)
    assert len(lines) >= len(text)
    assert {"hello", "my", "friend", "see"} & set(words.pieces(lines.replace("(", " ")))
    assert len(strange([text] * 4, generator)) == 4
    assert strange(["", "", ""], generator)[:2] == ["", ""]
