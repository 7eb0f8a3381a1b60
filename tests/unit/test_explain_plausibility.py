"""Whether LIME's words are those that annotators marked: areas computed by hand."""

import numpy as np
import pandas as pd
import pytest

from models.core.explain import plausibility
from models.core.explain.plausibility import marked, rationale_auprc
from models.core.text.frames import rationales


class Words:
    """Weights per word: idiot 0.4, are 0.3, you 0.2; every other word speaks against."""

    labels = ("toxicity",)

    def predict(self, texts):
        weights = {"idiot": 0.4, "are": 0.3, "you": 0.2}
        return np.array([[sum(weights.get(w, -0.01) for w in text.split())] for text in texts])


def auprc(*texts, **changes):
    found = rationale_auprc(Words(), *zip(*texts, strict=True), "toxicity", **changes)
    return found["explain.rationale_auprc"]


@pytest.mark.parametrize(
    ("text", "spans", "area"),
    [
        ("you are an idiot", [(11, 16)], 1.0),
        # in the order idiot, are, you, an: you is third, so 1 of 3
        ("you are an idiot", [(0, 3)], 1 / 3),
        # idiot first, you third: the mean of 1 of 1 and 2 of 3
        ("you are an idiot", [(0, 3), (11, 16)], 5 / 6),
        # a word is marked when any of its characters is
        ("you are an idiot", [(12, 14)], 1.0),
    ],
)
def test_words_in_the_order_of_their_weights_find_what_was_marked(text, spans, area):
    found = auprc((text, spans))
    assert found.value == found.low == found.high == pytest.approx(area)
    assert found.higher_is_better


def test_the_mean_over_texts_with_its_interval_and_what_chance_finds():
    found = auprc(("you are an idiot", [(11, 16)]), ("you are an idiot", [(0, 3)]))
    assert found.value == pytest.approx(2 / 3)
    assert 1 / 3 <= found.low < found.value < found.high <= 1
    assert found.title.endswith("2 texts; by chance 0.25")


def test_words_of_a_phrase_share_its_weight():
    """80 words are explained by 40 phrases of two: the first is found together with the second."""
    text = " ".join(["idiot", "b", *["x"] * 78])
    assert auprc((text, [(6, 7)])).value == pytest.approx(0.5)


def test_texts_in_which_nothing_or_everything_is_marked_say_nothing():
    texts, spans = ("you idiot", "you idiot", ""), ([], [(0, 9)], [])
    assert rationale_auprc(Words(), texts, spans, "toxicity") == {}


def test_so_many_texts_are_explained_and_no_more(monkeypatch):
    monkeypatch.setattr(plausibility, "EXPLAINED", 2)
    assert "2 texts" in auprc(*[("you are an idiot", [(11, 16)])] * 5).title


def test_marks_are_read_from_harmful_texts_alone():
    frame = pd.DataFrame({"label": [1, 0, 1], "rationale": ["[[0, 3], [8, 10]]", "[[0, 3]]", None]})
    assert rationales(frame) == [[[0, 3], [8, 10]], [], []]
    assert rationales(frame.drop(columns="rationale")) == [[], [], []]
    assert marked(" you  are\nan idiot", [(2, 3), (13, 14)]).tolist() == [True, False, False, True]
