"""Is a model as good, and as strict, to every group of people? Measures with intervals. Pure.

Belongs here: differences of rates between groups, and the AUCs of Borkan et al. with Jigsaw's mean.
Does not belong here: who belongs to a group (a mask says so), a verdict (a guardrail gives it).

Groups may overlap. The units of no group are one more group, ``others``: without them a single
named group would have nobody to differ from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.contracts.results import Estimate, Measure
from models.core import bootstrap, metrics, significance
from models.core.counted import Counts
from models.core.slices import BNSP, BPSN, IDENTITY, MIN_CLASS_ROWS, Mask, masks, rarer_class

OTHERS = "others"
#: Exponent of Jigsaw's generalised mean: the worst groups weigh most.
POWER = -5.0
_AREAS = {"subgroup": IDENTITY, "bpsn": BPSN, "bnsp": BNSP}
_TITLES = {
    "demographic_parity_difference": "difference of the share called positive",
    "equal_opportunity_difference": "difference of the recall",
    "equalized_odds_difference": "difference of recall or false alarms",
    "subgroup_auc": "ROC-AUC within groups, power mean",
    "bpsn_auc": "ROC-AUC of others' positives against groups' negatives, power mean",
    "bnsp_auc": "ROC-AUC of others' negatives against groups' positives, power mean",
    "jigsaw_score": "mean of overall and group ROC-AUCs",
}


class Rates(NamedTuple):
    """What one group is told.

    Attributes:
        selection: Share called positive, shape (B,) for B resamples.
        recall: Share of the positives called positive (true positive rate).
        false_alarms: Share of the negatives called positive (false positive rate).
    """

    selection: Vector
    recall: Vector
    false_alarms: Vector


def groups_of(slices: Mapping[str, Mask]) -> dict[str, Mask]:
    """The groups of people among named slices: ``slice_identity_<g>`` under the name ``<g>``."""
    return {
        name.removeprefix(IDENTITY): mask
        for name, mask in slices.items()
        if name.startswith(IDENTITY)
    }


def examine(
    labels: Vector,
    scores: Vector,
    threshold: float,
    groups: Mapping[str, Mask],
    *,
    alpha: float = 0.05,
    replicates: int = 500,
    seed: int = 0,
) -> dict[str, Measure]:
    """Every measure of fairness.

    Args:
        labels: Shape (n,) of 0.0 or 1.0; NaN where nobody said, which leaves the row out.
        scores: Shape (n,).
        threshold: Decision threshold.
        groups: Group to shape (n,) booleans.
        alpha: Intervals have level 1 - 2 * alpha.
        replicates: Bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        ``fairness.demographic_parity_difference``, ``fairness.equal_opportunity_difference`` and
        ``fairness.equalized_odds_difference`` (largest less smallest rate, as in fairlearn; groups
        with fewer than ``MIN_CLASS_ROWS`` rows of what is counted are left out),
        ``fairness.{subgroup,bpsn,bnsp}_auc.<group>`` and their power means without a group's name,
        ``fairness.jigsaw_score``. NaN where fewer than two groups, or no group, have enough rows.

    Raises:
        ValueError: Rows that cannot be judged, or a mask of another length.
    """
    known = ~np.isnan(labels)
    masks(np.full(len(labels), "", dtype=str), groups)  # refuses masks of another length or type
    labels, scores = metrics.check(labels[known], scores[known])
    groups = {name: mask[known] for name, mask in groups.items()}
    drawn = bootstrap.counts(len(labels), replicates, seed)
    called = (scores >= threshold).astype(float)
    found = _differences(labels, called, groups, drawn, alpha)
    found |= _areas(labels, scores, groups, drawn, alpha)
    return {f"fairness.{name}": measure for name, measure in found.items()}


def rates(
    labels: Vector, called: Vector, groups: Mapping[str, Mask], counts: Counts
) -> dict[str, Rates]:
    """Rates of each group, and of ``others``, on resampled rows.

    Args:
        labels: Shape (n,) of 0.0 or 1.0.
        called: Shape (n,) of 0.0 or 1.0, the decisions.
        groups: Group to shape (n,) booleans.
        counts: Shape (B, n); all ones for the rows themselves.

    Returns:
        Group to rates of shape (B,), NaN without a row to count.
    """
    found = {}
    for name, mask in with_others(groups, len(labels)).items():
        terms: Matrix = np.stack([np.ones_like(labels), called, labels, labels * called], axis=1)[
            mask
        ]
        rows, positive, true, hits = (counts[:, mask] @ terms).T
        with np.errstate(divide="ignore", invalid="ignore"):
            alarms = (positive - hits) / (rows - true)
            found[name] = Rates(positive / rows, hits / true, alarms)
    return found


def with_others(groups: Mapping[str, Mask], n: int) -> dict[str, Mask]:
    """The groups, and the rows of none of them where there are any."""
    rest = ~np.any([*groups.values(), np.zeros(n, bool)], axis=0)
    return {**groups, **({OTHERS: rest} if rest.any() else {})}


def power_mean(values: Matrix, power: float = POWER) -> Vector:
    """The generalised mean over the last axis, ``(mean of v ** power) ** (1 / power)``.

    Source: the metric of "Jigsaw Unintended Bias in Toxicity Classification", 2019, power -5.

    Args:
        values: Shape (..., G), not negative.
        power: Not 0.

    Returns:
        Shape (...); 0 where a value is 0 and the power is negative.
    """
    with np.errstate(divide="ignore"):
        mean: Vector = np.mean(np.asarray(values, float) ** power, axis=-1) ** (1 / power)
    return mean


def _differences(
    labels: Vector, called: Vector, groups: Mapping[str, Mask], drawn: Counts, alpha: float
) -> dict[str, Measure]:
    """Largest less smallest rate over the groups."""
    everyone = with_others(groups, len(labels))
    positives = {name: int(labels[mask].sum()) for name, mask in everyone.items()}
    enough = {
        "selection": [g for g, mask in everyone.items() if mask.sum() >= MIN_CLASS_ROWS],
        "recall": [g for g in everyone if positives[g] >= MIN_CLASS_ROWS],
        "false_alarms": [
            g for g, mask in everyone.items() if mask.sum() - positives[g] >= MIN_CLASS_ROWS
        ],
    }
    ones = np.ones((1, len(labels)), np.uint8)
    here, there = (rates(labels, called, groups, counts) for counts in (ones, drawn))

    def spread(of: Mapping[str, Rates], rate: str) -> Vector:
        values = np.array([getattr(of[g], rate) for g in enough[rate]])
        if len(values) < 2:
            return np.full(len(next(iter(of.values())).recall), np.nan)
        difference: Vector = values.max(axis=0) - values.min(axis=0)
        return difference

    both = [{rate: spread(of, rate) for rate in enough} for of in (here, there)]
    cases = [
        ("demographic_parity_difference", ("selection",)),
        ("equal_opportunity_difference", ("recall",)),
        ("equalized_odds_difference", ("recall", "false_alarms")),
    ]
    found = {}
    for name, parts in cases:
        value, values = (np.max([of[part] for part in parts], axis=0) for of in both)
        low, high = bootstrap.debiased_interval(float(value[0]), values, alpha)
        found[name] = Measure(
            title=_TITLES[name], value=float(value[0]), low=low, high=high, higher_is_better=False
        )
    return found


def _areas(
    labels: Vector, scores: Vector, groups: Mapping[str, Mask], drawn: Counts, alpha: float
) -> dict[str, Measure]:
    """Per group, then power means over the groups with enough rows, then Jigsaw's score."""
    named = {IDENTITY + name: mask for name, mask in groups.items()}
    available = masks(np.full(len(labels), "", dtype=str), named, labels)
    found, values, replicates = dict[str, Measure](), dict[str, float](), dict[str, Vector]()
    for kind, prefix in _AREAS.items():
        mine = {g: available[prefix + g] for g in groups}
        tested = {g: m for g, m in mine.items() if rarer_class(labels[m]) >= MIN_CLASS_ROWS}
        areas = {
            g: significance.delong_interval(labels[m], scores[m], alpha=alpha)
            for g, m in tested.items()
        }
        unknown = Estimate(value=np.nan, low=np.nan, high=np.nan)
        for g in groups:
            title = f"{kind if kind == 'subgroup' else kind.upper()} ROC-AUC of {g}"
            found[f"{kind}_auc.{g}"] = _measure(title, areas.get(g, unknown))
        values[kind], replicates[kind] = np.nan, np.full(len(drawn), np.nan)
        if tested:
            per_group = [
                bootstrap.replicates("roc_auc", labels[m], scores[m], drawn[:, m])
                for m in tested.values()
            ]
            values[kind] = float(power_mean(np.array([each.value for each in areas.values()])))
            replicates[kind] = power_mean(np.stack(per_group, axis=1))
        name = f"{kind}_auc"
        found[name] = _measure(_TITLES[name], _estimate(values[kind], replicates[kind], alpha))
    overall = metrics.compute("roc_auc", labels, scores)
    resampled = bootstrap.replicates("roc_auc", labels, scores, drawn)
    score = float(np.mean([overall, *values.values()]))
    scored = np.mean([resampled, *replicates.values()], axis=0)
    found["jigsaw_score"] = _measure(_TITLES["jigsaw_score"], _estimate(score, scored, alpha))
    return found


def _estimate(value: float, drawn: Vector, alpha: float) -> Estimate:
    low, high = bootstrap.percentile_interval(drawn, alpha)
    return Estimate(value=value, low=low, high=high)


def _measure(title: str, found: Estimate) -> Measure:
    return Measure(title=title, value=found.value, low=found.low, high=found.high)
