"""Statistical tests for comparing classifiers; each returns every number behind its p-value.

Belongs here: tests of two models on the same rows (DeLong, exact McNemar), over folds (corrected
resampled t), of many over data sets (Friedman, Nemenyi, the groups of their diagram), and Holm's
correction. Does not belong here: the paired bootstrap (``bootstrap``), tests over five halvings
(``halvings``), what to do with a p-value (``gates``).

One-sided p-values ask "is ``a`` better than ``b``?"; intervals have level 1 - 2 * alpha.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from models.contracts.learner import Matrix, Vector
from models.contracts.results import Estimate, TestResult
from models.core import bootstrap, metrics


class Areas(NamedTuple):
    """Areas under k ROC curves of the same rows and their covariance."""

    auc: Vector
    covariance: Matrix


class Friedman(NamedTuple):
    """Comparison of k models over N data sets; rank 1 is best.

    Attributes:
        ranks: Shape (k,) average ranks, ties sharing theirs.
        chi2: Friedman's statistic without tie correction, as in Demsar (2006).
        p_chi2: Its p-value, k - 1 degrees of freedom.
        f: Iman and Davenport's less conservative statistic; infinite when all rankings agree.
        p_f: Its p-value, (k - 1, (k - 1) * (N - 1)) degrees of freedom.
        critical_difference: Nemenyi: average ranks further apart than this differ at alpha.
        p_pairs: Shape (k, k) Nemenyi p-values.
    """

    ranks: Vector
    chi2: float
    p_chi2: float
    f: float
    p_f: float
    critical_difference: float
    p_pairs: Matrix


def delong_areas(labels: Vector, scores: Matrix) -> Areas:
    """ROC areas and their covariance (DeLong 1988) by mid-ranks in O(k n log n).

    Algorithm: Sun and Xu 2014, Fast implementation of DeLong's algorithm.

    Args:
        labels: Shape (n,) of 0 or 1; at least two rows of each class.
        scores: Shape (k, n), one row per model.

    Raises:
        ValueError: A class with fewer than two rows, or rows that cannot be judged.
    """
    for row in scores:
        labels, _ = metrics.check(labels, row)
    positive = labels == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        raise ValueError(f"DeLong needs two rows of each class, got {m} and {n}; judge more rows")
    together = stats.rankdata(scores, axis=1)
    wins = (together[:, positive] - stats.rankdata(scores[:, positive], axis=1)) / n
    losses = (together[:, ~positive] - stats.rankdata(scores[:, ~positive], axis=1)) / m
    covariance = np.cov(wins).reshape(len(scores), -1) / m
    covariance = covariance + np.cov(losses).reshape(len(scores), -1) / n
    return Areas(wins.mean(axis=1), covariance)


def delong(labels: Vector, a: Vector, b: Vector, *, alpha: float = 0.05) -> TestResult:
    """Is the ROC-AUC of ``a`` greater than that of ``b`` on the same rows?

    Args:
        labels: Shape (n,) of 0 or 1.
        a: Scores, shape (n,).
        b: Scores, shape (n,).
        alpha: One-sided level of the interval.

    Returns:
        Statistic z, one-sided p, effect AUC(a) - AUC(b) with its interval. Identical rankings give
        z = 0 and p = 1.
    """
    areas = delong_areas(labels, np.stack([a, b]))
    effect = float(areas.auc[0] - areas.auc[1])
    contrast = np.array([1.0, -1.0])
    se = float(np.sqrt(max(contrast @ areas.covariance @ contrast, 0.0)))
    z = bootstrap.standardised(effect, se)
    margin = float(stats.norm.isf(alpha)) * se
    return TestResult(
        name="delong",
        statistic=z,
        p_value=_one_sided(z),
        effect=effect,
        low=effect - margin,
        high=effect + margin,
        detail={
            "effect_is": "difference of ROC-AUC",
            "se": se,
            "p_two_sided": float(2 * stats.norm.sf(abs(z))),
            "auc_a": float(areas.auc[0]),
            "auc_b": float(areas.auc[1]),
        },
    )


def delong_interval(labels: Vector, scores: Vector, *, alpha: float = 0.05) -> Estimate:
    """ROC-AUC with its DeLong interval of level 1 - 2 * alpha, cut to [0, 1].

    An area of exactly 0 or 1 has no variance to go by; its open end then comes from the k =
    min(positives, negatives) independent pairs, all of one outcome: alpha ** (1 / k).
    """
    areas = delong_areas(labels, scores[None, :])
    value = float(areas.auc[0])
    if value in (0.0, 1.0):
        pairs = int(min(labels.sum(), len(labels) - labels.sum()))
        bound = float(alpha ** (1 / pairs))
        ends = (bound, 1.0) if value else (0.0, 1 - bound)
        return Estimate(value=value, low=ends[0], high=ends[1])
    margin = float(stats.norm.isf(alpha) * np.sqrt(areas.covariance[0, 0]))
    return Estimate(value=value, low=max(0.0, value - margin), high=min(1.0, value + margin))


def mcnemar_exact(b: int, c: int, *, alpha: float = 0.05) -> TestResult:
    """Is ``a`` right more often than the other model? Exact and conditional on their disagreements.

    Source: McNemar 1947; exact and mid-p versions as in Fagerland, Lydersen and Laake 2013.

    Args:
        b: Rows where only ``a`` is right.
        c: Rows where only the other is right.
        alpha: One-sided level of the Clopper-Pearson interval.

    Returns:
        Statistic b, one-sided exact p, effect b / (b + c), which is 0.5 for equally good models.
    """
    if b < 0 or c < 0:
        raise ValueError(f"counts of rows cannot be negative, got {b} and {c}")
    m = b + c
    binomial = stats.binom(m, 0.5)
    tail = float(binomial.cdf(min(b, c)))
    mid = tail - float(binomial.pmf(min(b, c))) / 2
    return TestResult(
        name="mcnemar_exact",
        statistic=float(b),
        p_value=float(binomial.sf(b - 1)),
        effect=b / m if m else 0.5,
        low=float(stats.beta.ppf(alpha, b, c + 1)) if b else 0.0,
        high=float(stats.beta.isf(alpha, b + 1, c)) if c else 1.0,
        detail={
            "effect_is": "share of the disagreements won",
            "only_a_right": b,
            "only_b_right": c,
            "p_two_sided": min(1.0, 2 * tail),
            "p_two_sided_mid": 1 - float(binomial.pmf(b)) / 2 if b == c else 2 * mid,
        },
    )


def corrected_resampled_t(
    differences: Vector, n_train: int, n_test: int, *, alpha: float = 0.05
) -> TestResult:
    """Is the mean difference over resampled folds positive, given that training sets overlap?

    Source: Nadeau and Bengio 2003, Inference for the generalization error.

    Args:
        differences: Shape (J,), score of ``a`` minus score of ``b`` per fold; J >= 2.
        n_train: Training rows of one fold.
        n_test: Test rows of one fold.
        alpha: One-sided level of the interval.

    Returns:
        Statistic t with J - 1 degrees of freedom, one-sided p, effect the mean difference.
    """
    folds = len(differences)
    if folds < 2:
        raise ValueError(f"the corrected t-test needs two folds or more, got {folds}")
    effect = float(np.mean(differences))
    se = float(np.std(differences, ddof=1) * np.sqrt(1 / folds + n_test / n_train))
    t = bootstrap.standardised(effect, se)
    margin = float(stats.t.isf(alpha, folds - 1)) * se
    return TestResult(
        name="corrected_resampled_t",
        statistic=t,
        p_value=float(stats.t.sf(t, folds - 1)) if t else 1.0,
        effect=effect,
        low=effect - margin,
        high=effect + margin,
        detail={"effect_is": "mean difference over folds", "se": se, "folds": folds},
    )


def friedman_nemenyi(scores: Matrix, *, alpha: float = 0.05) -> Friedman:
    """Do k models differ over N data sets, and which pairs?

    Source: Demsar 2006, Statistical comparisons of classifiers over multiple data sets.

    Args:
        scores: Shape (N, k), higher is better; N >= 2, k >= 2.
        alpha: Level of the critical difference.

    Raises:
        ValueError: Fewer than two data sets or models, or a score that is NaN.
    """
    if scores.ndim != 2 or min(scores.shape) < 2 or np.isnan(scores).any():
        raise ValueError("give a complete (data sets, models) matrix of at least 2 x 2")
    n, k = scores.shape
    ranks = stats.rankdata(-scores, axis=1).mean(axis=0)
    chi2 = float(12 * n / (k * (k + 1)) * ((ranks**2).sum() - k * (k + 1) ** 2 / 4))
    room = n * (k - 1) - chi2
    f = (n - 1) * chi2 / room if room > 1e-12 else np.inf
    unit = np.sqrt(k * (k + 1) / (6 * n))
    apart = np.abs(ranks[:, None] - ranks[None, :]) / unit
    return Friedman(
        ranks=ranks,
        chi2=chi2,
        p_chi2=float(stats.chi2.sf(chi2, k - 1)),
        f=float(f),
        p_f=float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        critical_difference=float(_studentized(alpha, k) * unit),
        p_pairs=stats.studentized_range.sf(apart * np.sqrt(2), k, np.inf),
    )


def cliques(ranks: Vector, critical_difference: float) -> tuple[tuple[int, ...], ...]:
    """The groups of models that a critical-difference diagram joins with a bar.

    Source: Demsar 2006, figure 1: bars connect what is not significantly different. Ranks lie on a
    line, so the maximal groups are runs of it.

    Args:
        ranks: Shape (k,) average ranks.
        critical_difference: From ``friedman_nemenyi``; models less than this apart do not differ.

    Returns:
        Every maximal group of two or more as model numbers, best rank first.
    """
    order = np.argsort(ranks, kind="stable")
    found: list[tuple[int, ...]] = []
    reached = 0
    for start, first in enumerate(order):
        near = ranks[order[start:]] - ranks[first] < critical_difference
        end = start + int(near.sum())
        if end > reached and end - start > 1:
            found.append(tuple(order[start:end].tolist()))
        reached = max(reached, end)
    return tuple(found)


def holm(p_values: Vector) -> Vector:
    """Adjusted p-values that control the family-wise error (Holm 1979).

    Args:
        p_values: Shape (m,); may be empty.

    Returns:
        Shape (m,) in the same order: reject where the value is below the family's level.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return adjusted


def _studentized(alpha: float, k: int) -> float:
    return float(stats.studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2))


def _one_sided(z: float) -> float:
    return float(stats.norm.sf(z)) if z else 1.0
