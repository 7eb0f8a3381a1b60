"""Judged units: texts with labels that nobody said, users with rankings, groups of people."""

from dataclasses import replace

import numpy as np
import pytest

from models.core import bootstrap, evaluation, metrics, slices
from models.core.slices import Scores
from models.core.units import LabelScores, ListScores

NAN = np.nan
#: Two labels, the second known of three texts only; a third that nobody ever said.
LABELS = np.array([[1, 1, NAN], [0, NAN, NAN], [1, 0, NAN], [0, 1, NAN], [0, NAN, NAN]])
NEW = np.array([[0.9, 0.4, 0.5], [0.2, 0.1, 0.5], [0.3, 0.6, 0.5], [0.4, 0.8, 0.5], [0.1, 0, 0.5]])
AT = np.array([0.5, 0.5, 0.5])


def texts(**changes):
    return replace(
        LabelScores(LABELS, NEW, None, (AT, AT), ("toxicity", "hate", "threat")), **changes
    )


def test_a_metric_is_the_mean_over_labels_with_both_classes():
    """By hand: toxicity ranks 5 of its 6 pairs rightly; hate 1 of its 2 (0.4 < 0.6 < 0.8)."""
    assert texts().value("roc_auc") == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert texts().value("accuracy") == pytest.approx((4 / 5 + 1 / 3) / 2)
    assert texts().first().value("roc_auc") == pytest.approx(5 / 6)
    assert texts().scarcest == 2
    assert np.isnan(texts().take(np.array([True, False, True, False, False])).first().value("f1"))


def test_one_known_label_is_judged_as_rows_are():
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 1)) < 0.3).astype(float)
    new, old = np.clip(0.5 * labels + generator.random((2, 300, 1)), 0, 1)
    several = LabelScores(labels, new, old, (AT[:1], AT[:1]), ("toxicity",))
    one = Scores(labels[:, 0], new[:, 0], old[:, 0], (0.5, 0.5))
    counts = bootstrap.counts(300, 50)
    for champion in (False, True):
        both = [
            units.replicates(metrics.BINARY, counts, champion=champion) for units in (several, one)
        ]
        for name in metrics.BINARY:
            assert several.value(name, champion=champion) == pytest.approx(
                one.value(name, champion=champion)
            )
            assert both[0][name] == pytest.approx(both[1][name], nan_ok=True)


def test_replicates_are_values_of_the_resampled_texts():
    """A label whose class a resample loses is left out of that resample."""
    counts = np.array(
        [[1, 1, 1, 1, 1], [2, 1, 0, 0, 2], [0, 3, 2, 0, 0], [0, 0, 1, 3, 1]], np.uint8
    )
    found = texts().replicates(["roc_auc", "brier"], counts)
    for row, count in enumerate(counts):
        rows = np.repeat(np.arange(5), count)
        again = texts(labels=LABELS[rows], challenger=NEW[rows])
        for name in ("roc_auc", "brier"):
            assert found[name][row] == pytest.approx(again.value(name))


def test_labels_that_a_model_cannot_answer():
    silent = NEW.copy()
    silent[:, 1] = NAN
    assert texts(challenger=silent).value("roc_auc") == pytest.approx(5 / 6)
    fresh = texts(champion=silent)  # the champion never learnt hate: compared on toxicity
    assert fresh.value("roc_auc") == fresh.value("roc_auc", champion=True) == pytest.approx(5 / 6)
    lost = texts(challenger=silent, champion=NEW)  # the challenger forgot it: no value, no floor
    assert np.isnan(lost.value("roc_auc"))
    assert np.isnan(lost.replicates(["roc_auc"], np.ones((1, 5), np.uint8))["roc_auc"]).all()
    assert slices.misses("roc_auc", lost.value("roc_auc"), 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"challenger": NEW[:4]}, "must agree"),
        ({"champion": NEW[:, :2]}, "must agree"),
        ({"thresholds": (AT[:2], AT)}, "a threshold for each of"),
        ({"labels": np.where(LABELS == 1, 2, LABELS)}, "neither 0 nor 1"),
        ({"challenger": np.where(NEW == 0.9, NAN, NEW)}, "1 scores are NaN"),
    ],
)
def test_texts_that_cannot_be_judged_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        texts(**changes).check()


def users(**changes):
    new = {"ndcg_at_10": np.array([0.2, 0.4, 0.9]), "novelty_at_10": np.array([3.0, 5.0, 4.0])}
    old = {"ndcg_at_10": np.array([0.1, 0.5, 0.3]), "novelty_at_10": np.array([2.0, 2.0, 2.0])}
    return ListScores(**{"challenger": new, "champion": old, **changes})


def test_a_metric_of_users_is_their_mean():
    assert users().value("ndcg_at_10") == pytest.approx(0.5)
    assert users().value("ndcg_at_10", champion=True) == pytest.approx(0.3)
    assert (len(users()), users().scarcest, users().primary) == (3, 3, None)
    counts = np.array([[1, 1, 1], [0, 3, 0], [2, 0, 1]], np.uint8)
    found = users().replicates(["ndcg_at_10", "novelty_at_10"], counts)
    assert found["ndcg_at_10"] == pytest.approx([0.5, 0.4, 1.3 / 3])
    assert found["novelty_at_10"] == pytest.approx([4, 5, 10 / 3])
    assert np.isnan(users().take(np.zeros(3, bool)).value("ndcg_at_10"))


def test_novelty_in_bits_has_an_error_too():
    """Four bits: one user in 16 knows such an item, against one in four."""
    assert metrics.error("novelty_at_10", 4.0) == 1 / 16
    assert metrics.error("novelty_at_10", np.array([2.0, 4.0])).tolist() == [1 / 4, 1 / 16]
    assert metrics.error("popularity_at_10", 0.7) == 0.7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"challenger": {"auc": np.ones(3)}}, r"unknown metrics \['auc'\]"),
        ({"champion": {"ndcg_at_10": np.ones(2)}}, "equally many"),
        ({"challenger": {"ndcg_at_10": np.array([0.1, NAN, 0.2])}}, "NaN or infinite"),
        ({"challenger": {}, "champion": None}, "not none"),
    ],
)
def test_users_that_cannot_be_judged_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        users(**changes).check()
    with pytest.raises(ValueError, match=r"there are .*ndcg_at_10"):
        users().value("recall_at_10")
    with pytest.raises(ValueError, match="by one model only"):
        users(champion=None).value("ndcg_at_10", champion=True)


def test_users_are_judged_slice_by_slice():
    tenants, few = np.array(["a", "b", "a"]), {"slice_new": np.array([True, False, False])}
    found = evaluation.on_slices(
        users(champion=None), tenants, few, names=("ndcg_at_10",), replicates=200
    )
    assert found.rows == {"overall": 3, "slice_new": 1, "tenant=a": 2, "tenant=b": 1}
    overall = found.metrics["overall"]["ndcg_at_10"]
    assert (overall.value, found.metrics["slice_new"]["ndcg_at_10"].value) == pytest.approx(
        (0.5, 0.2)
    )
    assert 0.2 <= overall.low < 0.5 < overall.high <= 0.9


def test_an_identity_brings_the_slices_of_borkan():
    """By hand: two women (one toxic), three others (two toxic), one text nobody judged."""
    primary = np.array([1, 0, 1, 1, 0, NAN])
    women = np.array([True, True, False, False, False, False])
    found = slices.masks(np.array(["t"] * 6), {"slice_identity_women": women}, primary)
    assert list(found) == [
        "overall", "slice_identity_women", "bpsn_identity_women", "bnsp_identity_women", "tenant=t",
    ]  # fmt: skip
    assert found["bpsn_identity_women"].tolist() == [False, True, True, True, False, False]
    assert found["bnsp_identity_women"].tolist() == [True, False, False, False, True, False]
    known = ~np.isnan(primary)
    scores = np.array([0.3, 0.4, 0.9, 0.2, 0.1])
    units = Scores(primary[known], scores, None, (0.5, 0.5))
    here = {name: mask[known] for name, mask in found.items()}
    areas = [slices.part(units, here, name).value("roc_auc") for name in list(here)[1:4]]
    assert areas == [0.0, 0.5, 1.0]
    assert list(slices.masks(np.array(["t"] * 6), {"slice_identity_women": women})) == [
        "overall", "slice_identity_women", "tenant=t",
    ]  # fmt: skip


def test_a_label_with_a_handful_of_positives_has_no_say_beside_one_with_many():
    rng = np.random.default_rng(0)
    labels = np.full((200, 2), np.nan)
    labels[:, 0] = np.arange(200) % 2
    labels[:4, 1] = [1, 1, 0, 0]
    scores = np.column_stack([rng.random(200), [0.0] * 200])
    both = LabelScores(labels, scores, None, (AT[:2], AT[:2]), ("toxicity", "threat"))
    assert both.value("roc_auc") == both.first().value("roc_auc")
    few = both.take(np.arange(200) < 4)
    assert few.value("accuracy") == pytest.approx((few.first().value("accuracy") + 0.5) / 2)
