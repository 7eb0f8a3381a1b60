"""Evaluation on the holdout: of one model, of two on the same rows, of one on disturbed inputs.

Belongs here: scorecards, comparisons, the choice of the challenger by cross-validation, robustness.
Does not belong here: fitting, plots and reports, what a comparison leads to (``gates``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.contracts.product import Column
from models.contracts.results import Candidate, Estimate, Scorecard, TestResult
from models.core import bootstrap, metrics, significance
from models.core import slices as slicing

#: The test whose p-value decides; any other metric is decided by the paired bootstrap.
PRIMARY_TEST: Mapping[str, str] = {"roc_auc": "delong", "accuracy": "mcnemar_exact"}
#: Noise in standard deviations of a column; share of outlying cells and how far out they lie.
NOISE_SD, OUTLIER_SHARE, OUTLIER_SD = 0.1, 0.01, 10.0


class Holdout(NamedTuple):
    """The judged rows: labels (n,), tenants (n,) of strings, named boolean masks (``slice_*``)."""

    labels: Vector
    tenants: slicing.Names
    slices: Mapping[str, slicing.Mask]


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
    labels: Vector,
    scores: Vector,
    drawn: Mapping[str, Vector],
    *,
    threshold: float = 0.5,
    alpha: float = 0.05,
) -> dict[str, Estimate]:
    """Metrics with intervals of level 1 - 2 * alpha: DeLong's for ROC-AUC, else percentiles.

    Args:
        names: Keys of ``metrics.METRICS``.
        labels: Shape (n,) of 0 or 1.
        scores: Shape (n,).
        drawn: name -> replicates, shape (B,), from ``bootstrap.replicate_all``.
        threshold: Decision threshold.
        alpha: One-sided level.
    """
    found = {}
    for name in names:
        if name == "roc_auc" and slicing.rarer_class(labels) >= 2:
            found[name] = significance.delong_interval(labels, scores, alpha=alpha)
            continue
        low, high = bootstrap.percentile_interval(drawn[name], alpha)
        value = metrics.compute(name, labels, scores, threshold)
        found[name] = Estimate(value=value, low=low, high=high)
    return found


def compare(
    name: str, rows: slicing.Scores, drawn: slicing.Replicates, *, alpha: float = 0.05
) -> Comparison:
    """Compare two models, or describe the only one.

    Args:
        name: The metric that matters, a key of ``metrics.METRICS``.
        rows: The same rows scored by both models.
        drawn: Replicates of that metric, from ``slices.replicate``.
        alpha: One-sided level.
    """
    labels, (new_at, old_at) = rows.labels, rows.thresholds
    only = {"threshold": new_at, "alpha": alpha}
    new = estimates([name], labels, rows.challenger, drawn.challenger, **only)[name]
    if rows.champion is None:
        return Comparison(new)
    only["threshold"] = old_at
    old = estimates([name], labels, rows.champion, drawn.champion, **only)[name]
    errors = metrics.error(name, new.value), metrics.error(name, old.value)
    relative = bootstrap.paired_test(name, *errors, drawn.errors(name), alpha=alpha)
    effect = Estimate(value=relative.effect, low=relative.low, high=relative.high)
    new_right = (rows.challenger >= new_at) == (labels == 1)
    old_right = (rows.champion >= old_at) == (labels == 1)
    b, c = int((new_right & ~old_right).sum()), int((old_right & ~new_right).sum())
    tests = [relative, significance.mcnemar_exact(b, c, alpha=alpha)]
    if slicing.rarer_class(labels) >= 2:
        tests.append(significance.delong(labels, rows.challenger, rows.champion, alpha=alpha))
    first = PRIMARY_TEST.get(name, "paired_bootstrap")
    tests.sort(key=lambda test: test.name != first)
    se = cast("float", tests[0].detail.get("se"))
    if first == "mcnemar_exact":  # under H0 its net count b - c has variance b + c
        se = float(np.sqrt(b + c)) / len(labels)
    se = se / errors[1] if errors[1] > 0 else np.nan
    return Comparison(new, old, effect, tuple(tests), se)


def scorecard(
    candidate_id: str,
    trial: str,
    scores: Vector,
    holdout: Holdout,
    threshold: float,
    *,
    latency_ms: tuple[float, float],
    size_bytes: int,
    importance: Mapping[str, float],
    alpha: float = 0.05,
    replicates: int = 1000,
    seed: int = 0,
) -> Scorecard:
    """Every metric with its interval on every slice of the holdout.

    Args:
        candidate_id: Of the judged candidate.
        trial: Its trial's name.
        scores: Its probabilities, shape (n,).
        holdout: The judged rows.
        threshold: Its decision threshold.
        latency_ms: p50 and p95 of one single-row prediction, in milliseconds.
        size_bytes: Size of the artifact.
        importance: Input -> weight.
        alpha: Intervals have level 1 - 2 * alpha.
        replicates: Bootstrap resamples per slice.
        seed: Seed of the resamples; a slice's resamples do not depend on the other slices.

    Returns:
        Slices of ``slices.masks``; an undefined metric is NaN, a slice without rows has none.

    Raises:
        ValueError: Rows that cannot be judged, or scores outside [0, 1].
    """
    labels, scores = metrics.check(holdout.labels, scores)
    masks = slicing.masks(holdout.tenants, holdout.slices)
    whole = slicing.Scores(labels, scores, None, (threshold, threshold))
    table = {
        name: _measure(whole.take(mask), name, replicates, seed, alpha)
        for name, mask in masks.items()
    }
    return Scorecard(
        candidate_id=candidate_id,
        trial=trial,
        metrics=table,
        rows={name: int(mask.sum()) for name, mask in masks.items()},
        positives={name: int(labels[mask].sum()) for name, mask in masks.items()},
        latency_p50_ms=latency_ms[0],
        latency_p95_ms=latency_ms[1],
        size_bytes=size_bytes,
        importance=dict(importance),
    )


def _measure(
    rows: slicing.Scores, slice_name: str, size: int, seed: int, alpha: float
) -> dict[str, Estimate]:
    if not rows.labels.size:
        return {}
    names, at = tuple(metrics.METRICS), rows.thresholds[0]
    drawn = slicing.replicate(names, rows, slice_name, size, seed).challenger
    return estimates(names, rows.labels, rows.challenger, drawn, threshold=at, alpha=alpha)


def pick_challenger(candidates: Sequence[Candidate], metric: str) -> Candidate:
    """The candidate with the smallest mean cross-validated error, of equals the first.

    The holdout has no say: who is chosen on the rows that judge is judged too well.

    Args:
        candidates: Simpler ones first.
        metric: A key of ``metrics.METRICS`` in every candidate's ``cv``.

    Raises:
        ValueError: No candidates, or one without a complete cross-validation of the metric.
    """
    if not candidates:
        raise ValueError("no candidates to choose from; fit at least one trial")
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
