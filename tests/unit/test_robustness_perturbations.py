"""Disturbed inputs: what a model leans on shows, and they stay inputs it could be given."""

import numpy as np
import pytest
from scipy.special import expit

from models.contracts.product import Column
from models.core import metrics
from models.core.robustness import perturbations

COLUMNS = (
    Column(name="signal", description="", minimum=-5, maximum=5, nullable=True),
    Column(name="count", kind="int", description="", minimum=0),
    Column(name="unused", description="", nullable=True),
)


def model(seen=None):
    """Inputs -> probability from the first two columns, null as 0; keeps what it was given."""

    def predict(inputs):
        if seen is not None:
            seen.append(inputs.copy())
        return expit(2 * np.nan_to_num(inputs[:, 0]) + 0.1 * inputs[:, 1])

    return predict


def inputs(n=2000, seed=0):
    generator = np.random.default_rng(seed)
    matrix = np.stack(
        [
            np.clip(generator.standard_normal(n), -5, 5),
            generator.integers(0, 4, n).astype(float),
            generator.standard_normal(n),
        ],
        axis=1,
    )
    labels = (generator.random(n) < model()(matrix)).astype(float)
    matrix[::10, 0] = np.nan
    return matrix, labels


def test_robustness_shows_what_the_model_leans_on():
    matrix, labels = inputs()
    before = matrix.copy()
    table = perturbations.robustness(model(), matrix, labels, COLUMNS, "roc_auc")
    by_name = {(row.name, row.column): row for row in table}
    assert list(by_name) == [
        ("none", None),
        ("noise", None),
        ("outliers", None),
        ("missing", "signal"),
        ("missing", "unused"),
    ]
    plain = by_name["none", None]
    assert plain.value == metrics.compute("roc_auc", labels, model()(matrix))
    assert plain.error_increase == 0
    assert by_name["missing", "unused"].value == plain.value
    assert by_name["missing", "signal"].value < 0.6 < plain.value
    assert 0 < by_name["noise", None].error_increase < 0.1
    assert 0 < by_name["outliers", None].error_increase < 0.2
    assert np.array_equal(matrix, before, equal_nan=True)


def test_disturbed_inputs_stay_valid_and_repeatable():
    matrix, labels = inputs()
    seen, again = [], []
    perturbations.robustness(model(seen), matrix, labels, COLUMNS, "brier", seed=3)
    perturbations.robustness(model(again), matrix, labels, COLUMNS, "brier", seed=3)
    _, noisy, outlying, *_ = seen
    for case, same in zip(seen, again, strict=True):
        assert np.array_equal(case, same, equal_nan=True)
    for disturbed in (noisy, outlying):
        assert np.array_equal(np.isnan(disturbed), np.isnan(matrix))
        assert np.nanmax(np.abs(disturbed[:, 0])) <= 5
        assert (disturbed[:, 1] == np.round(disturbed[:, 1])).all()
        assert disturbed[:, 1].min() >= 0
    moved = np.nanstd(noisy[:, 2] - matrix[:, 2]) / matrix[:, 2].std()
    assert moved == pytest.approx(0.1, rel=0.1)
    hit = (outlying[:, 2] != matrix[:, 2]).mean()
    assert hit == pytest.approx(0.01, abs=0.007)


def test_robustness_refuses_inputs_of_another_shape():
    matrix, labels = inputs(50)
    with pytest.raises(ValueError, match="are not 50 rows x 2"):
        perturbations.robustness(model(), matrix, labels, COLUMNS[:2], "brier")
