"""Items that are also what is written of them: the table by hand, and a film nobody rated."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.contracts.learner import Catalogue, FitContext
from models.contracts.product import Trial
from models.core.ranking.described import Items, words_of
from models.core.ranking.neumf import Neumf, NeumfParams
from models.core.ranking.scorers import fit_scorer, load_scorer
from tests.unit.ranking_sample import ITEMS, rows_of, two_tastes
from tests.unit.trainer_tasks import one_thread

FILMS = Catalogue(
    tuple("abcd"), {"tags": ("crime", "crime noir", "", "noir"), "category": ("Noir", "", "", "")}
)


def test_an_item_is_its_own_factors_and_the_mean_of_its_words():
    """Words are crime and noir; the first film is both, nothing is written of the third."""
    words = words_of(FILMS, ("tags", "category"), np.array([3, 1, 1, 0]))
    items = Items(4, 2, words)
    with torch.no_grad():
        items.weight.copy_(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [9.0, 9.0]]))
        items.told.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
    # crime 1, noir 3; nobody had the last one, so it is its word and nothing else
    expected = torch.tensor([[1.0, 2.0], [2.0, 2.0], [3.0, 0.0], [0.0, 3.0]])
    torch.testing.assert_close(items.table(), expected)
    torch.testing.assert_close(items(torch.tensor([[3, 0]])), expected[[3, 0]][None])


def test_only_fields_that_are_there_can_be_named():
    with pytest.raises(ValueError, match=r"no fields \['genre'\].*it has \['category', 'tags'\]"):
        words_of(FILMS, ("tags", "genre"), np.ones(4))


def test_without_fields_nothing_changes():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Neumf((3, 4), NeumfParams(factors=2, layers=1))
    assert {name for name in module.state_dict() if ".items." in name} == {
        "gmf.items.weight", "mlp.items.weight",
    }  # fmt: skip
    assert module.gmf.items.table() is module.gmf.items.weight


def test_a_film_nobody_rated_is_ranked_by_what_is_written_of_it(tmp_path: Path):
    """Two more films than people had: one like those of the even users, one like the others'."""
    rows = two_tastes()
    pairs = list(zip(rows.users.tolist(), rows.items.tolist(), strict=True))
    kinds = tuple("comedy" if n % 2 == 0 else "thriller" for n in range(ITEMS + 2))
    rows = rows_of(pairs, len(rows.user_ids), ITEMS + 2, fields={"tags": kinds})
    params = {"model": "neumf", "factors": 8, "layers": 1, "fields": ["tags"], "batch_size": 60,
              "learning_rate": 0.02, "max_epochs": 15, "schedule": "constant"}  # fmt: skip
    users = np.arange(len(rows.user_ids))
    with one_thread():
        scorer = fit_scorer(Trial(name="t", params=params), rows, FitContext())
        scores = scorer.score(users, [])
        comedy, thriller = scores[:, ITEMS], scores[:, ITEMS + 1]
        assert ((comedy > thriller) == (users % 2 == 0)).all()
        scorer.save(tmp_path)
        np.testing.assert_array_equal(load_scorer(tmp_path).score(users, []), scores)
