"""Evaluation on the holdout: of one model, of two on the same rows, of one on disturbed inputs.

Belongs here: scorecards, comparisons, the choice of the challenger by cross-validation, robustness.
Does not belong here: fitting, plots and reports, what a comparison leads to (``gates``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, cast

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.contracts.product import Column
from models.contracts.results import Candidate, Estimate, Measure, Scorecard, TestResult
from models.core import bootstrap, metrics
from models.core import slices as slicing
from models.core.slices import Units

#: The test whose p-value decides; any other metric is decided by the paired bootstrap.
PRIMARY_TEST: Mapping[str, str] = {"roc_auc": "delong", "accuracy": "mcnemar_exact"}
#: Noise in standard deviations of a column; share of outlying cells and how far out they lie.
NOISE_SD, OUTLIER_SHARE, OUTLIER_SD = 0.1, 0.01, 10.0


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


class Perturbation(NamedTuple):
    """One metric under one disturbance of the inputs.

    Attributes:
        name: ``none``, ``noise``, ``outliers`` or ``missing``.
        column: The column set missing, else None.
        value: The metric.
        error_increase: Relative to the undisturbed error; NaN when that is zero.
    """

    name: str
    column: str | None
    value: float
    error_increase: float


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


def scorecard(
    candidate_id: str,
    trial: str,
    units: Units,
    tenants: slicing.Names,
    slices: Mapping[str, slicing.Mask],
    *,
    names: Sequence[str],
    latency_ms: tuple[float, float],
    size_bytes: int,
    importance: Mapping[str, float],
    measures: Mapping[str, Measure] = MappingProxyType({}),
    alpha: float = 0.05,
    replicates: int = 1000,
    seed: int = 0,
) -> Scorecard:
    """Every metric with its interval on every slice of the holdout.

    Args:
        candidate_id: Of the judged candidate.
        trial: Its trial's name.
        units: The judged units, answered by it (the challenger of the units).
        tenants: Shape (n,), owner of each unit.
        slices: Name (``slice_*``) to shape (n,) booleans.
        names: Metrics, keys of ``metrics.METRICS`` that the units can give.
        latency_ms: p50 and p95 of one single-unit answer, in milliseconds.
        size_bytes: Size of the artifact.
        importance: Input -> weight.
        measures: What was examined beside the metrics.
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
    return Scorecard(
        candidate_id=candidate_id,
        trial=trial,
        metrics=table,
        rows={name: int(mask.sum()) for name, mask in masks.items()},
        positives={name: int((primary[mask] == 1).sum()) for name, mask in masks.items()},
        latency_p50_ms=latency_ms[0],
        latency_p95_ms=latency_ms[1],
        size_bytes=size_bytes,
        importance=dict(importance),
        measures=dict(measures),
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


def robustness(
    predict: Callable[[Matrix], Vector],
    inputs: Matrix,
    labels: Vector,
    columns: Sequence[Column],
    metric: str,
    *,
    threshold: float = 0.5,
    seed: int = 0,
) -> tuple[Perturbation, ...]:
    """One metric when the inputs are disturbed: noise, outliers, one nullable input missing.

    Args:
        predict: Inputs of shape (n, d) to probabilities of shape (n,).
        inputs: Shape (n, d); NaN stands for null.
        labels: Shape (n,) of 0 or 1.
        columns: The d columns; disturbed values stay within their bounds and kinds.
        metric: A key of ``metrics.METRICS``.
        threshold: Decision threshold.
        seed: Seed of the disturbances.

    Returns:
        Undisturbed; every cell with Gaussian noise of 0.1 standard deviations; 1 % of the cells 10
        standard deviations off the mean; each nullable column missing from every row.
    """
    if inputs.shape != (len(labels), len(columns)):
        raise ValueError(f"inputs {inputs.shape} are not {len(labels)} rows x {len(columns)}")
    generator = np.random.default_rng(seed)
    noisy, outlying = _noisy(inputs, generator), _outlying(inputs, generator)
    cases: list[tuple[str, str | None, Matrix]] = [("none", None, inputs)]
    cases.append(("noise", None, _valid(noisy, columns)))
    cases.append(("outliers", None, _valid(outlying, columns)))
    for i, column in enumerate(columns):
        if column.nullable:
            without = inputs.copy()
            without[:, i] = np.nan
            cases.append(("missing", column.name, without))
    values = [metrics.compute(metric, labels, predict(case[2]), threshold) for case in cases]
    errors = [metrics.error(metric, value) for value in values]
    return tuple(
        Perturbation(name, column, value, error / errors[0] - 1 if errors[0] > 0 else np.nan)
        for (name, column, _), value, error in zip(cases, values, errors, strict=True)
    )


def _noisy(inputs: Matrix, generator: np.random.Generator) -> Matrix:
    noise = generator.standard_normal(inputs.shape)
    return inputs + NOISE_SD * _spread(inputs) * noise


def _outlying(inputs: Matrix, generator: np.random.Generator) -> Matrix:
    hit = generator.random(inputs.shape) < OUTLIER_SHARE
    side = generator.choice([-1.0, 1.0], inputs.shape)
    far = _centre(inputs) + side * OUTLIER_SD * _spread(inputs)
    return np.where(hit & ~np.isnan(inputs), far, inputs)


def _centre(inputs: Matrix) -> Vector:
    known = ~np.isnan(inputs)
    means: Vector = np.where(known, inputs, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return means


def _spread(inputs: Matrix) -> Vector:
    spread: Vector = np.sqrt(_centre((inputs - _centre(inputs)) ** 2))
    return spread


def _valid(inputs: Matrix, columns: Sequence[Column]) -> Matrix:
    """Values back within each column's bounds, whole where the column counts."""
    for i, column in enumerate(columns):
        inputs[:, i] = np.clip(inputs[:, i], column.minimum, column.maximum)
        if column.kind == "int":
            inputs[:, i] = np.round(inputs[:, i])
    return inputs
