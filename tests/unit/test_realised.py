"""Metrics on known outcomes: the same figures as on the holdout, at any number of rows."""

from __future__ import annotations

import numpy as np
import pytest

from models.core import metrics
from models.core.realised import MOST_RESAMPLED, realised
from models.core.significance import delong_interval
from models.core.slices import OVERALL

NAMES = ("roc_auc", "brier")


def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    scores = generator.random(rows) ** 2
    return (generator.random(rows) < scores).astype(float), scores


@pytest.mark.parametrize("rows", [3_000, 3 * MOST_RESAMPLED])
def test_values_are_exact_and_intervals_have_their_width(rows: int) -> None:
    labels, scores = draw(rows)
    whole = {OVERALL: np.ones(rows, bool)}
    found = realised(NAMES, labels, scores, whole, 0.5, alpha=0.05)[OVERALL]
    assert found["roc_auc"] == delong_interval(labels, scores, alpha=0.05)
    brier = found["brier"]
    assert brier.value == pytest.approx(metrics.compute("brier", labels, scores))
    margin = 1.645 * np.std((scores - labels) ** 2) / np.sqrt(rows)
    assert brier.high - brier.value == pytest.approx(margin, rel=0.2)
    assert brier.value - brier.low == pytest.approx(margin, rel=0.2)


def test_a_slice_with_few_rows_of_a_class_is_left_out() -> None:
    labels, scores = draw(500)
    masks = {OVERALL: np.ones(500, bool), "tenant=few": np.arange(500) < 40}
    found = realised(NAMES, labels, scores, masks, 0.5, alpha=0.05)
    assert set(found) == {OVERALL}


def test_one_more_slice_leaves_the_others_as_they_were() -> None:
    labels, scores = draw(800)
    masks = {OVERALL: np.ones(800, bool)}
    alone = realised(NAMES, labels, scores, masks, 0.5, alpha=0.05)
    more = realised(NAMES, labels, scores, {"tenant=a": scores > 0.1} | masks, 0.5, alpha=0.05)
    assert more[OVERALL] == alone[OVERALL]
