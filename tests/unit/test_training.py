"""Cross-validation with a learner whose scores can be told by hand; thresholds by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from models.contracts.learner import TrainingRows
from models.contracts.product import Folds, Trial
from models.core import splits, training
from models.core.metrics import compute

TRIAL = Trial(name="t")


class Memory:
    """Predicts the first input, and remembers which rows it was fitted on (the second input)."""

    def __init__(self):
        self.fitted = []

    def fit(self, trial, rows, context):
        self.fitted.append(rows)
        return self

    def predict(self, inputs):
        return inputs[:, 0]


def rows(n=120, judged=None, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(float)
    scores = np.clip(0.3 + 0.3 * labels + rng.normal(0, 0.2, n), 0, 1)
    return TrainingRows(np.stack([scores, np.arange(n)], 1), labels, ("score", "row"), judged)


@pytest.mark.parametrize("kind", ["time", "stratified"])
def test_no_row_is_judged_by_a_model_that_saw_it(kind):
    table, learner = rows(), Memory()
    parts = splits.folds(table.labels, Folds(kind=kind, k=4), 1)
    found = training.cross_validate(learner, TRIAL, table, parts, ("roc_auc",), compute)
    for fitted, (fit, judge) in zip(learner.fitted, parts, strict=True):
        assert fitted.inputs[:, 1].tolist() == fit.tolist()
        assert not set(fitted.inputs[:, 1]) & set(judge)
    judged = np.concatenate([judge for _, judge in parts])
    np.testing.assert_array_equal(found.scores[judged], table.inputs[judged, 0])
    assert np.isnan(np.delete(found.scores, judged)).all()
    assert np.isnan(found.scores).sum() == (24 if kind == "time" else 0)


def test_metrics_are_those_of_each_folds_judged_rows_at_one_threshold():
    judged = np.arange(120) % 3 > 0
    table = rows(judged=judged)
    parts = splits.folds(table.labels, Folds(kind="time", k=4))
    names = ("roc_auc", "f1", "brier")
    found = training.cross_validate(Memory(), TRIAL, table, parts, names, compute)
    assert tuple(found.per_fold) == names
    counted = np.flatnonzero(judged & (np.arange(120) >= 24))
    best = training.best_f1_threshold(table.labels[counted], table.inputs[counted, 0])
    assert found.threshold == best
    for i, (_, judge) in enumerate(parts):
        seen = judge[judged[judge]]
        for name in names:
            expected = compute(name, table.labels[seen], table.inputs[seen, 0], best)
            assert found.per_fold[name][i] == expected


def test_a_fold_without_judged_rows_has_no_value():
    table = rows(judged=np.arange(120) >= 60)
    parts = splits.folds(table.labels, Folds(kind="time", k=4))
    found = training.cross_validate(Memory(), TRIAL, table, parts, ("roc_auc",), compute)
    assert np.isnan(found.per_fold["roc_auc"]).tolist() == [True, False, False, False]


def test_judged_rows_of_one_class_are_refused():
    table = rows()
    lonely = table._replace(judged=table.labels == 0)
    parts = splits.folds(table.labels, Folds(kind="time", k=4))
    with pytest.raises(ValueError, match="0 positives; a threshold"):
        training.cross_validate(Memory(), TRIAL, lonely, parts, (), compute)


@settings(max_examples=80, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=40).filter(
        lambda p: 0 < sum(label for label, _ in p) < len(p)
    )
)
def test_the_threshold_has_the_best_f1_of_all(pairs):
    labels = np.array([label for label, _ in pairs], float)
    scores = np.array([score for _, score in pairs]) / 10
    threshold = training.best_f1_threshold(labels, scores)
    by_value = {t: f1_score(labels, scores >= t) for t in np.unique(scores)}
    assert threshold in by_value
    assert by_value[threshold] == pytest.approx(max(by_value.values()))
    assert threshold == max(t for t, f in by_value.items() if f > max(by_value.values()) - 1e-12)


def test_a_learning_curve_fits_on_the_newest_rows_and_judges_the_same():
    table, learner = rows(judged=np.arange(120) % 2 == 0), Memory()
    part = (np.arange(80), np.arange(80, 120))
    points = training.learning_curve(
        learner, TRIAL, table, part, fractions=(0.1, 0.5, 1.0), metric="roc_auc", compute=compute
    )
    assert [point.rows for point in points] == [8, 40, 80]
    assert [r.inputs[:, 1].tolist() for r in learner.fitted] == [
        list(range(low, 80)) for low in (72, 40, 0)
    ]
    judged = np.arange(80, 120, 2)
    expected = compute("roc_auc", table.labels[judged], table.inputs[judged, 0], 0.5)
    assert {point.validation for point in points} == {expected}
    seen = np.arange(40, 80, 2)
    train = compute("roc_auc", table.labels[seen], table.inputs[seen, 0], 0.5)
    assert points[1].train == train
