"""Evaluation on the holdout: of one model on every slice, of two on the same units.

Belongs here: metrics with intervals, comparisons, the choice of the challenger by cross-validation.
Does not belong here: fitting, disturbed inputs (``robustness``), plots and reports, what a
comparison leads to (``gates``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from models.contracts.learner import Vector
from models.contracts.results import Candidate, Estimate, TestResult
from models.core import bootstrap, metrics
from models.core import slices as slicing
from models.core.slices import Units

#: The test whose p-value decides; any other metric is decided by the paired bootstrap.
PRIMARY_TEST: Mapping[str, str] = {"roc_auc": "delong", "accuracy": "mcnemar_exact"}


class Sliced(NamedTuple):
    """One model on the slices of the holdout, each by its name (see `Scorecard`)."""

    metrics: dict[str, dict[str, Estimate]]
    rows: dict[str, int]
    positives: dict[str, int]


class Comparison(NamedTuple):
    """One metric of challenger and champion on the same rows.

    Attributes:
        challenger: Its value.
        champion: Its value; None when there is no champion, and so for what follows.
        effect: Relative reduction of the champion's error, with its bootstrap interval.
        tests: Paired tests of "the challenger is better"; the first is the metric's own.
        se: Standard error of the relative effect in the first test; NaN where it has none.
    """

    challenger: Estimate
    champion: Estimate | None = None
    effect: Estimate | None = None
    tests: tuple[TestResult, ...] = ()
    se: float = np.nan


def estimates(
    names: Sequence[str],
    units: Units,
    drawn: Mapping[str, Vector],
    *,
    alpha: float = 0.05,
    champion: bool = False,
) -> dict[str, Estimate]:
    """Metrics with intervals of level 1 - 2 * alpha: the units' own, else percentiles.

    Where noise raises a metric, its bias is taken off (``bootstrap.debiased_interval``).

    Args:
        names: Keys of ``metrics.METRICS``.
        units: At least one.
        drawn: name -> replicates, shape (B,), from ``Units.replicates``.
        alpha: One-sided level.
        champion: Whether it is the champion's that are wanted.
    """
    found = {}
    for name in names:
        own = units.interval(name, alpha, champion=champion)
        if own is None:
            value, raised = units.value(name, champion=champion), metrics.METRICS[name].noise_raises
            ends = bootstrap.percentile_interval(drawn[name], alpha)
            if raised:
                ends = bootstrap.debiased_interval(value, drawn[name], alpha)
            own = Estimate(value=value, low=ends[0], high=ends[1])
        found[name] = own
    return found


def compare(
    name: str, units: Units, drawn: slicing.Replicates, *, alpha: float = 0.05
) -> Comparison:
    """Compare two models, or describe the only one.

    Args:
        name: The metric that matters, a key of ``metrics.METRICS``.
        units: The same units answered by both models.
        drawn: Replicates of that metric, from ``slices.replicate``.
        alpha: One-sided level.
    """
    new = estimates([name], units, drawn.challenger, alpha=alpha)[name]
    if not units.paired:
        return Comparison(new)
    old = estimates([name], units, drawn.champion, alpha=alpha, champion=True)[name]
    errors = metrics.error(name, new.value), metrics.error(name, old.value)
    relative = bootstrap.paired_test(name, *errors, drawn.errors(name), alpha=alpha)
    effect = Estimate(value=relative.effect, low=relative.low, high=relative.high)
    tests = [relative, *units.tests(alpha)]
    first = PRIMARY_TEST.get(name, "paired_bootstrap")
    tests.sort(key=lambda test: test.name != first)
    se = _standard_error(tests[0], len(units)) / errors[1] if errors[1] > 0 else np.nan
    return Comparison(new, old, effect, tuple(tests), se)


def _standard_error(test: TestResult, units: int) -> float:
    """Of the difference of the errors, in the unit of the metric."""
    if test.name != "mcnemar_exact":
        return cast("float", test.detail["se"])
    won, lost = cast("int", test.detail["only_a_right"]), cast("int", test.detail["only_b_right"])
    return float(np.sqrt(won + lost)) / units  # under H0 the net count has variance won + lost


def on_slices(
    units: Units,
    tenants: slicing.Names,
    slices: Mapping[str, slicing.Mask],
    *,
    names: Sequence[str],
    alpha: float = 0.05,
    replicates: int = 1000,
    seed: int = 0,
) -> Sliced:
    """Every metric with its interval on every slice of the holdout.

    Args:
        units: The judged units, answered by one model (the challenger of the units).
        tenants: Shape (n,), owner of each unit.
        slices: Name (``slice_*``) to shape (n,) booleans.
        names: Metrics, keys of ``metrics.METRICS`` that the units can give.
        alpha: Intervals have level 1 - 2 * alpha.
        replicates: Bootstrap resamples per slice.
        seed: Seed of the resamples; a slice's resamples do not depend on the other slices.

    Returns:
        Slices of ``slices.masks``; an undefined metric is NaN, a slice without units has none.

    Raises:
        ValueError: Units that cannot be judged, or scores outside [0, 1].
    """
    units.check()
    primary = np.zeros(len(units)) if units.primary is None else units.primary
    masks = slicing.masks(tenants, slices, units.primary)
    table: dict[str, dict[str, Estimate]] = {}
    for name in masks:
        here, found = slicing.part(units, masks, name), {}
        if len(here):
            drawn = slicing.replicate(names, here, name, replicates, seed).challenger
            found = estimates(names, here, drawn, alpha=alpha)
        table[name] = found
    return Sliced(
        metrics=table,
        rows={name: int(mask.sum()) for name, mask in masks.items()},
        positives={name: int((primary[mask] == 1).sum()) for name, mask in masks.items()},
    )


def pick_challenger(candidates: Sequence[Candidate], metric: str) -> Candidate:
    """The candidate with the smallest mean cross-validated error, of equals the first.

    The holdout has no say: who is chosen on the rows that judge is judged too well.

    Args:
        candidates: Simpler ones first; forms are passed over, they serve for another or not at all.
        metric: A key of ``metrics.METRICS`` in every candidate's ``cv``.

    Raises:
        ValueError: No candidates, or one without a complete cross-validation of the metric.
    """
    candidates = [candidate for candidate in candidates if not candidate.form]
    if not candidates:
        raise ValueError("no candidates to choose from; fit at least one trial that is no form")
    errors = []
    for candidate in candidates:
        folds = np.asarray(candidate.cv.get(metric, ()), float)
        if not folds.size or np.isnan(folds).any():
            raise ValueError(
                f"candidate {candidate.trial!r} has no complete cross-validation of {metric!r} "
                f"({folds.tolist()}); fit it again with that metric"
            )
        errors.append(float(metrics.error(metric, folds).mean()))
    # rounded: equal means of different folds may differ in the last bit
    return candidates[int(np.argmin(np.round(errors, 12)))]
