"""A fold ensemble as a trial: who is fitted on what, what they answer together."""

import numpy as np
import pytest

from models.contracts.learner import FitContext, TextRows
from models.contracts.product import Trial
from models.core.text import dispatch, folded
from models.core.text.rows import held_out
from tests.unit import tiny_checkpoint
from tests.unit.sample_texts import LABELS, rows, texts

ROWS = rows(200)
OF = {"model": "tfidf_linear", "min_texts": 1}


class Fixed:
    """Answers what it was told to, and keeps what it was fitted on."""

    labels = LABELS[:2]

    def __init__(self, trial, rows, answer):
        self.trial, self.rows, self.answer = trial, rows, answer

    def predict(self, texts):
        return np.tile(self.answer, (len(texts), 1))


def divided(rows, answers=None, k=5, seed=3):
    answers = iter(answers or [[0.5, np.nan]] * k)
    trial = Trial(name="f", params={"model": "folds", "k": k, "of": {"model": "x"}}, seed=seed)
    return folded.fit(trial, rows, FitContext(), lambda t, r, c: Fixed(t, r, next(answers)))


def small(n=100, copies=0):
    written = tuple(f"text {i}" for i in range(n - copies)) + ("Text  0",) * copies
    yes = np.array([float(text.split()[1] in "02468") for text in written])
    return TextRows(written, np.column_stack([yes, np.full(n, np.nan)]), LABELS[:2])


def test_every_text_is_left_out_of_exactly_one_fold_and_classes_are_even():
    given = small()
    made = divided(given)
    fitted_on = [set(member.rows.texts) for member in made.members]
    assert all(sum(text not in one for one in fitted_on) == 1 for text in given.texts)
    assert [len(one) for one in fitted_on] == [80] * 5
    positives = [member.rows.labels[:, 0].sum() for member in made.members]
    assert max(positives) - min(positives) <= 1
    assert [member.trial.seed for member in made.members] == [3, 4, 5, 6, 7]


def test_copies_of_a_text_are_in_one_fold():
    given = small(100, copies=8)
    for member in divided(given).members:
        count = sum(text.casefold().split() == ["text", "0"] for text in member.rows.texts)
        assert count in {0, 9}


def test_the_mean_is_over_those_that_learned_the_label():
    answers = [[0.1, np.nan], [0.2, np.nan], [0.6, 0.4]]
    made = divided(small(), answers, k=3)
    np.testing.assert_allclose(made.predict(["a", "b"]), [[0.3, 0.4]] * 2)
    unlearned = divided(small(), [[0.5, np.nan]] * 3, k=3)
    assert np.isnan(unlearned.predict(["a"])[0, 1])


def test_it_is_fitted_judged_saved_and_loaded_as_any_trial(tmp_path):
    curves, folder = [], tmp_path / "checkpoints"
    params = {"model": "folds", "k": 3, "of": {**OF, "held": 0.2}}
    context = FitContext(folder=folder, curve=lambda *told: curves.append(told))
    made = dispatch.fit(Trial(name="f", params=params), ROWS, context, ())
    asked, toxic = texts(100, seed=5)
    scores = made.predict(asked)
    assert scores[toxic == 1, 0].mean() > scores[toxic == 0, 0].mean() + 0.2
    assert np.isnan(scores[:, 2:]).all()
    assert made.held == 0.2
    assert sum(held_out(ROWS.texts, 0.2)) > 0
    assert [(name, step) for name, step, _ in curves] == [("folds/roc_auc", i) for i in range(3)]
    assert [fold["roc_auc"] for fold in made.notes["folds"]] == [value for *_, value in curves]
    assert min(value for *_, value in curves) > 0.8
    (tmp_path / "model").mkdir()
    made.save(tmp_path / "model")
    loaded = dispatch.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(asked), scores)
    assert (loaded.held, loaded.notes) == (made.held, made.notes)


def test_folds_of_networks_are_exported_together(tmp_path):
    checkpoint = tiny_checkpoint.save(tmp_path)
    of = {"model": "transformer", "backbone": str(checkpoint), "max_length": 32, "max_epochs": 1,
          "held": 0.3}  # fmt: skip
    params = {"model": "folds", "k": 2, "of": of}
    few = TextRows(ROWS.texts[:80], ROWS.labels[:80], LABELS)
    made = dispatch.fit(Trial(name="f", params=params), few, FitContext(), ())
    form = Trial(name="o", params={"model": "onnx", "threads": 1}, form=True, after=("f",))
    exported = dispatch.fit(form, few, FitContext(bases={"f": made}), ())
    assert [member.kind for member in exported.members] == ["onnx", "onnx"]
    asked = texts(10, seed=1)[0]
    np.testing.assert_allclose(exported.predict(asked), made.predict(asked), atol=1e-4)


@pytest.mark.parametrize(
    ("of", "after"), [({"model": "folds"}, ()), ({"model": "onnx"}, ()), (OF, ("minilm",))]
)
def test_folds_of_what_is_not_fitted_on_texts_alone_are_refused(of, after):
    trial = Trial(name="f", params={"model": "folds", "of": of}, after=after)
    with pytest.raises(ValueError, match="leave after empty"):
        dispatch.fit(trial, ROWS, FitContext(), ())
