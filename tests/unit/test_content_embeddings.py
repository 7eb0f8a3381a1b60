"""Content by sentence embeddings, on a random checkpoint of a few kilobytes."""

import numpy as np
import pytest
import torch

from models.contracts.learner import FitContext
from models.contracts.product import Trial
from models.core.ranking.content import project
from models.core.ranking.scorers import fit_scorer, load_scorer
from models.core.text import backbone
from tests.unit import tiny_checkpoint
from tests.unit.ranking_sample import rows_of

TITLES = ("a nice day", "the very stupid idiot", "a nice day", "who are you")
TAGS = ("good morning", "", "good morning", "")
STRANGER = np.array([-1])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint.save(tmp_path_factory.mktemp("bert"))


def fitted(checkpoint, **params):
    rows = rows_of([(0, 0)], 1, 4, fields={"title": TITLES, "tags": TAGS})
    given = {"model": "content", "vectors": "embeddings", "backbone": str(checkpoint),
             "max_length": 32, "weights": {"title": 1.0, "tags": 0.5}, **params}  # fmt: skip
    return fit_scorer(Trial(name="content", params=given), rows, FitContext())


def by_hand(checkpoint, text):
    """Mean of the tokens' last states, of length 1; nothing for no text."""
    encoder, encoding = backbone.load(str(checkpoint), 32)
    ids = torch.from_numpy(encoding.encode([text])[0])[None]
    with torch.no_grad():
        mean = encoder.eval()(ids).last_hidden_state[0].mean(0).numpy()
    return mean / np.linalg.norm(mean) if text else 0 * mean


def test_fields_are_weighted_sentence_embeddings(checkpoint):
    """One field's cosine counts 1 / 1.25, the other's 0.25 / 1.25; an empty one says nothing."""
    made = fitted(checkpoint, width=16)
    assert made.items.shape == (4, 4)  # four items have no more than four directions, not 2 x 32
    first, second = by_hand(checkpoint, TITLES[0]), by_hand(checkpoint, TITLES[1])
    scores = made.score(STRANGER, [np.array([0])])[0]
    assert scores[0] == scores[2] == pytest.approx(1.0, abs=1e-5)
    assert scores[1] == pytest.approx(first @ second / np.sqrt(1.25), abs=1e-4)
    alone = fitted(checkpoint, weights={"tags": 1.0})
    assert alone.score(STRANGER, [np.array([0])])[0] == pytest.approx([1, 0, 1, 0], abs=1e-5)


def test_it_is_kept_without_its_network(checkpoint, tmp_path):
    made = fitted(checkpoint, width=2)
    assert made.items.shape == (4, 2)
    made.save(tmp_path)
    loaded = load_scorer(tmp_path)
    asked = [np.array([1]), np.array([0, 3])]
    assert (loaded.score(STRANGER, asked) == made.score(STRANGER, asked)).all()


def test_few_items_keep_all_their_angles_and_no_more_dimensions():
    wide = np.random.default_rng(0).normal(size=(5, 40))
    units = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    for width in (5, 39):
        narrow = project(wide, width, seed=0)
        assert narrow.shape == (5, 5)
        assert narrow @ narrow.T == pytest.approx(units @ units.T, abs=1e-5)
    assert project(wide, 40, seed=0).shape == (5, 40)
