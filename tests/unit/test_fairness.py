"""Fairness against fairlearn, against hand-computed areas and Jigsaw's mean."""

import numpy as np
import pytest
from fairlearn import metrics as fairlearn
from sklearn.metrics import roc_auc_score

from models.core import fairness, metrics


def people(n=3000, seed=0):
    """Labels, scores and three groups that divide everybody; the last is treated harshly."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.4).astype(float)
    group = np.array(["a", "b", "c"])[generator.integers(0, 3, n)]
    scores = 1.5 * labels + generator.standard_normal(n) + 0.8 * (group == "c")
    return labels, 1 / (1 + np.exp(-scores)), group


def masks(group):
    return {name: group == name for name in np.unique(group)}


def test_differences_and_rates_equal_fairlearn():
    labels, scores, group = people()
    found = fairness.examine(labels, scores, 0.6, masks(group), replicates=100)
    called = scores >= 0.6
    for name in ("demographic_parity", "equal_opportunity", "equalized_odds"):
        theirs = getattr(fairlearn, f"{name}_difference")(labels, called, sensitive_features=group)
        ours = found[f"fairness.{name}_difference"]
        assert ours.value == pytest.approx(theirs)
        assert ours.low < ours.value < ours.high
        assert not ours.higher_is_better
    frame = fairlearn.MetricFrame(
        metrics={
            "selection": fairlearn.selection_rate,
            "recall": fairlearn.true_positive_rate,
            "false_alarms": fairlearn.false_positive_rate,
        },
        y_true=labels,
        y_pred=called,
        sensitive_features=group,
    ).by_group
    ones = np.ones((1, len(labels)), np.uint8)
    for name, rates in fairness.rates(labels, called.astype(float), masks(group), ones).items():
        assert [r[0] for r in rates] == pytest.approx(list(frame.loc[name]))


def test_equal_treatment_is_shown_to_be_near_zero():
    """Without bias correction the interval of three equal groups would lie above zero."""
    labels, scores, group = people()
    scores = np.random.default_rng(1).permutation(scores)
    found = fairness.examine(labels, scores, 0.6, masks(group), replicates=400)
    assert found["fairness.demographic_parity_difference"].low < 0.02


def test_rows_of_no_group_are_the_others():
    labels, scores, group = people()
    named = masks(group)
    one = fairness.examine(labels, scores, 0.6, {"c": named["c"]}, replicates=20)
    called = scores >= 0.6
    gap = called[named["c"]].mean() - called[~named["c"]].mean()
    assert one["fairness.demographic_parity_difference"].value == pytest.approx(gap)


def test_areas_are_those_of_their_definition():
    labels, scores, group = people()
    women = group == "c"
    found = fairness.examine(
        labels, scores, 0.5, {"women": women, "b": group == "b"}, replicates=50
    )
    parts = {
        "subgroup": women,
        "bpsn": (~women & (labels == 1)) | (women & (labels == 0)),
        "bnsp": (~women & (labels == 0)) | (women & (labels == 1)),
    }
    for name, part in parts.items():
        ours = found[f"fairness.{name}_auc.women"]
        assert ours.value == pytest.approx(roc_auc_score(labels[part], scores[part]))
        assert ours.low < ours.value < ours.high
    # higher scores for the group: its harmless texts look like others' bad ones
    assert found["fairness.bpsn_auc.women"].value < found["fairness.subgroup_auc.women"].value
    means = [found[f"fairness.{name}_auc"] for name in parts]
    for name, mean in zip(parts, means, strict=True):
        two = np.array([found[f"fairness.{name}_auc.{g}"].value for g in ("women", "b")])
        assert mean.value == pytest.approx((0.5 * (two**-5.0).sum()) ** -0.2)
        assert two.min() < mean.value <= two.mean()
    overall = metrics.compute("roc_auc", labels, scores)
    score = found["fairness.jigsaw_score"]
    assert score.value == pytest.approx((overall + sum(mean.value for mean in means)) / 4)
    assert score.low < score.value < score.high


def test_the_power_mean_by_hand():
    """(1 / 0.5 ** 5 + 1 / 1 ** 5) / 2 = 16.5; the harmonic mean of 1 / 2 and 1 is 2 / 3."""
    assert fairness.power_mean(np.array([0.5, 1.0])) == pytest.approx(16.5**-0.2)
    assert fairness.power_mean(np.array([0.5, 1.0]), -1.0) == pytest.approx(2 / 3)
    assert fairness.power_mean(np.array([[0.7, 0.7], [0.0, 1.0]])) == pytest.approx([0.7, 0.0])
    assert fairness.power_mean(np.array([1.0, 3.0]), 1.0) == 2.0


def test_small_groups_are_left_out_and_nothing_left_is_nan():
    labels, scores, group = people()
    tiny = np.arange(len(labels)) < 20
    both = fairness.examine(labels, scores, 0.6, masks(group) | {"tiny": tiny}, replicates=20)
    without = fairness.examine(labels, scores, 0.6, masks(group), replicates=20)
    name = "fairness.equalized_odds_difference"
    assert both[name].value == without[name].value
    assert np.isnan(both["fairness.subgroup_auc.tiny"].value)
    alone = fairness.examine(labels, scores, 0.6, {}, replicates=20)
    assert np.isnan(alone["fairness.demographic_parity_difference"].value)
    assert np.isnan(alone["fairness.bpsn_auc"].value)


def test_unlabelled_rows_are_left_out_and_bad_masks_refused():
    labels, scores, group = people()
    unknown = np.where(np.arange(len(labels)) % 2 == 0, labels, np.nan)
    known = ~np.isnan(unknown)
    a = fairness.examine(unknown, scores, 0.6, masks(group), replicates=20)
    here = {name: mask[known] for name, mask in masks(group).items()}
    assert a == fairness.examine(labels[known], scores[known], 0.6, here, replicates=20)
    with pytest.raises(ValueError, match="must be 3000 booleans"):
        fairness.examine(labels, scores, 0.6, {"a": known[:5]})


def test_groups_are_the_identity_slices():
    mask = np.ones(3, bool)
    assert list(fairness.groups_of({"slice_identity_women": mask, "slice_hard": mask})) == ["women"]
