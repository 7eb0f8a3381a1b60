"""Two trials on five halvings: who is fitted on what, the ten differences, what is said of them."""

import numpy as np
import pandas as pd
import pytest

from models.contracts.product import Trial
from models.core import rivals
from models.core.halvings import combined_f, five_by_two_t
from models.core.rivals import Halves, Rivals, halve, play, verdict
from models.kinds import Tables, kind_of
from models.registry import get
from tests.unit import snapshot_home
from tests.unit.sample_frames import sample
from tests.unit.test_halvings import DIFFERENCES

N = 40
STRATA = np.arange(N) % 2
TRIALS = {
    one.name: one for one in (Trial(name="base"), Trial(name="a", after=("base",)), Trial(name="b"))
}
TEXTS = get("moderation/text_toxicity")


class Noting:
    """A learner that notes its calls; a model is the name of its trial."""

    def __init__(self):
        self.calls = []

    def fit(self, trial, rows, context, /):
        context.say("under way")
        self.calls.append((trial.name, tuple(rows), dict(context.bases)))
        return trial.name


def table_of(answers):
    """Rows that are their own numbers; a value is the mean of the first column that is there."""

    def value(metric, chosen, said):
        assert metric == "roc_auc"
        return float(said[:, ~np.isnan(said).all(axis=0)][:, 0].mean())

    return Halves(STRATA, None, list, lambda model, chosen: answers[model][chosen], value)


def played(answers):
    learner, lines = Noting(), []
    two = Rivals("a", "b", TRIALS, learner, "roc_auc")
    halves = table_of(answers)
    found = play(two, halves, halve(halves), lines.append)
    return found, learner.calls, lines


def test_each_half_teaches_what_the_other_judges_in_equal_classes():
    for number, ((fit, judge), (other, judged)) in enumerate(halve(table_of({}))):
        assert sorted([*fit, *judge]) == list(range(N))
        assert (list(fit), list(judge)) == (list(judged), list(other))
        assert STRATA[fit].sum() == STRATA[judge].sum() == 10
        assert number == 0 or list(fit) != list(halve(table_of({}))[0][0][0])


def test_ten_fits_of_each_on_the_same_rows_after_what_they_are_made_of():
    flat = {"a": np.full((N, 1), 0.9), "b": np.full((N, 1), 0.7)}
    found, calls, lines = played(flat)
    np.testing.assert_allclose(found, 0.2)  # errors 0.1 and 0.3: positive where a is better
    assert [name for name, *_ in calls] == ["base", "a", "b"] * 10
    for (_, rows, _), (_, same, bases), (_, too, none) in zip(*[iter(calls)] * 3, strict=True):
        assert rows == same == too
        assert (bases, none) == ({"base": "base"}, {})
    fits = [line for line in lines if line.startswith("fit ")]
    assert (fits[0], fits[-1]) == (
        "fit 1/20: a, half 1 of halving 1", "fit 20/20: b, half 2 of halving 5",
    )  # fmt: skip
    assert "  base: under way" in lines
    assert "  a 0.9000, b 0.7000" in lines


def test_differences_are_of_the_half_that_was_judged():
    rows = np.arange(N, dtype=float)[:, None] / N
    found, *_ = played({"a": rows, "b": np.zeros((N, 1))})
    expected = [[rows[judge].mean() for _, judge in one] for one in halve(table_of({}))]
    np.testing.assert_allclose(found, expected)


def test_both_are_judged_on_what_both_answer():
    nothing = np.full(N, np.nan)
    left, right = np.column_stack([np.full(N, 0.9), np.full(N, 0.5)]), np.full(N, 0.6)
    found, *_ = played({"a": left, "b": np.column_stack([nothing, right])})
    np.testing.assert_allclose(found, -0.1)  # the second column: 0.5 against 0.6


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        (DIFFERENCES, "not shown to differ at 0.05: a's error"),
        (DIFFERENCES + 0.05, "a learns better than b: its error (roc_auc) is 0.0700 lower"),
        (-DIFFERENCES - 0.05, "b learns better than a: its error (roc_auc) is 0.0700 lower"),
    ],
)
def test_the_verdict_is_that_of_f(differences, said):
    two = Rivals("a", "b", TRIALS, Noting(), "roc_auc")
    t, f = five_by_two_t(differences), combined_f(differences)
    assert said in verdict(two, t, f, 0.05)
    assert ("no proof" in verdict(two, t, f, 0.05)) == (f.p_value >= 0.05)


def test_a_t_that_does_not_see_it_is_told():
    """The first difference is none: t is 0, and F sees the other nine."""
    differences = np.array([[0, 4], [5, 4], [4, 5], [5, 4], [4, 5]]) / 100
    two = Rivals("a", "b", TRIALS, Noting(), "roc_auc")
    t, f = five_by_two_t(differences), combined_f(differences)
    assert (t.p_value, f.p_value < 0.2) == (1.0, True)
    assert "does not see it (p = 1)" in verdict(two, t, f, 0.2)


def test_rows_are_judged_where_they_count_at_their_own_best_threshold():
    frame = sample(200)
    halves = kind_of("row_scores").halves(snapshot_home.ROWS, Tables(frame, frame, {}))
    chosen = np.arange(0, 200, 2)
    rows = halves.rows(chosen)
    np.testing.assert_array_equal(rows.labels, frame["label"].to_numpy(float)[::2])
    np.testing.assert_array_equal(rows.judged, frame["judged"].to_numpy()[::2])
    said = np.where(frame["judged"], frame["label"] * 0.2 + 0.1, 0.99)[chosen][:, None]
    assert halves.value("f1", chosen, said) == 1.0  # the best threshold is 0.3, not 0.5
    assert halves.value("roc_auc", chosen, said) == 1.0


def test_copies_of_a_text_stay_together_and_rare_labels_are_not_taught():
    first, other = TEXTS.data.labels[:2]
    count = 120
    texts = [f"text {i // 2}" for i in range(count)]
    frame = pd.DataFrame({"text": texts, "label": np.arange(count) // 2 % 2, "judged": True})
    frame = frame.assign(**{f"label_{name}": np.nan for name in TEXTS.data.labels})
    frame[f"label_{first}"] = frame["label"].astype(float)
    frame[f"label_{other}"] = (np.arange(count) < 3).astype(float)
    halves = kind_of("text_labels").halves(TEXTS, Tables(frame, frame, {}))
    for (fit, judge), _ in halve(halves):
        assert not {texts[i] for i in fit} & {texts[i] for i in judge}
    rows = halves.rows(np.arange(count))
    assert np.isnan(rows.labels[:, 1:]).all()
    said = np.full((count, len(TEXTS.data.labels)), np.nan)
    said[:, 0] = frame["label"] * 0.5 + 0.25
    assert halves.value("roc_auc", np.arange(count), said) == 1.0


def test_halves_of_rankings_are_another_question():
    assert (
        kind_of("ranked_items").halves(get("recommendation/films"), Tables(None, None, {})) is None
    )


def test_rows_that_cannot_be_halved_are_refused():
    one = Halves(np.array([0] * 9 + [1]), None, list, None, None)
    with pytest.raises(ValueError, match="rarest class has 1"):
        rivals.halve(one)
