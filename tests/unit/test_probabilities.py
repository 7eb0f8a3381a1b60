"""Calibration and coverage as measures, where the right answer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from models.core import probabilities
from models.core.text import measured


def too_sure(n=8000):
    """Labels in time order, and their true probability with the logit tripled."""
    generator = np.random.default_rng(0)
    truth = 1.2 * generator.standard_normal(n)
    return (generator.random(n) < expit(truth)).astype(float), expit(3 * truth)


def test_a_model_three_times_too_sure_is_mended_by_every_calibrator():
    found = probabilities.examine(*too_sure())
    plain = found["calibration.ece"]
    assert not plain.higher_is_better
    for name in ("platt", "isotonic", "temperature"):
        mended = found[f"calibration.ece_{name}"]
        assert mended.value < 0.04 < 0.1 < plain.value
        assert mended.high < plain.low


def test_sets_cover_what_was_asked_whatever_the_model():
    labels, scores = too_sure()
    for said in (scores, 1 - scores):
        found = probabilities.examine(labels, said)
        assert found["coverage.conformal"].low <= 0.9 <= found["coverage.conformal"].high


def test_measures_by_hand():
    """Older half: 50 yes at 0.8 and 50 no at 0.4, so a set drops whatever is less than 0.6 likely.

    Of 101 * 0.9 = 90.9 the 91st largest 1 - P(truth) is 0.4: answers at 0.6 or more stay.
    """
    older = (np.tile([1.0, 0.0], 50), np.tile([0.8, 0.4], 50))
    # yes at 0.8 and at 0.5, no at 0.3 and at 0.8, 25 each: sets {yes}, {}, {no}, {yes}
    newer = (np.tile([1.0, 1.0, 0.0, 0.0], 25), np.tile([0.8, 0.5, 0.3, 0.8], 25))
    found = probabilities.examine(*map(np.concatenate, zip(older, newer, strict=True)))
    assert found["coverage.conformal"].value == 0.5
    assert found["coverage.set_size"].value == 0.75
    assert found["coverage.undecided"].value == 0.25
    # bins at 0.8 (half yes), 0.5 (all yes), 0.3 (no yes)
    by_hand = 0.5 * 0.3 + 0.25 * 0.5 + 0.25 * 0.3
    assert found["calibration.ece"].value == pytest.approx(by_hand)
    # a rising line through (0.4, 0), (0.8, 1): 0.5 becomes 0.25, 0.3 becomes 0, 0.8 becomes 1
    after = 0.5 * 0.5 + 0.25 * 0.75
    assert found["calibration.ece_isotonic"].value == pytest.approx(after)


def test_halves_that_cannot_be_judged_have_no_measure():
    labels, scores = too_sure(40)
    assert probabilities.examine(labels, scores) == {}
    assert probabilities.examine(too_sure()[0], np.full(8000, 0.5)) == {}


def test_calibration_counts_groups_as_often_as_they_are(monkeypatch):
    """Of 30 other texts 10 are asked, so 10 of the 30 that speak of women count."""
    monkeypatch.setattr(measured, "OTHERS", 10)
    seen = {}
    monkeypatch.setattr(
        measured.probabilities, "examine", lambda y, s, **_: seen.update(y=y, s=s) or {}
    )
    women = np.arange(60) < 30
    units = pd.DataFrame(
        {"text": [str(i) for i in range(60)], "label_a": np.arange(60) % 2.0,
         "slice_identity_women": women}
    )  # fmt: skip
    asked = []

    def score(texts):
        asked.extend(texts)
        return np.array([float(text) / 100 for text in texts])

    measured.of_first_label(score, units, "a", 0.5, seed=0)
    assert len(asked) == 40
    numbers = np.rint(seen["s"] * 100).astype(int)
    assert (np.diff(numbers) > 0).all()
    assert [(numbers < 30).sum(), (numbers >= 30).sum()] == [10, 10]
    assert (seen["y"] == numbers % 2).all()
