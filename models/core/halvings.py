"""Two models over five halvings of the same rows (5x2cv): a t-test and an F-test.

Belongs here: both tests on the ten differences. Does not belong here: the fits (``rivals``), tests
on one holdout (``significance``).

The rows are halved at random five times; each half trains what the other tests. Difference (i, 0)
is score of ``a`` less score of ``b`` on the first test half of halving i, (i, 1) on the second.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from models.contracts.learner import Matrix, Vector
from models.contracts.results import TestResult
from models.core import bootstrap


def five_by_two_t(differences: Matrix, *, alpha: float = 0.05) -> TestResult:
    """Is ``a`` better? The 5x2cv paired t-test.

    Source: Dietterich 1998, Approximate statistical tests for comparing supervised classification
    learning algorithms. It holds its level where a t-test over ten folds does not; its numerator is
    the first difference alone, so the order of the halvings matters (``combined_f`` mends that).

    Args:
        differences: Shape (5, 2).
        alpha: One-sided level of the interval.

    Returns:
        Statistic t with 5 degrees of freedom, one-sided p, effect the first difference.

    Raises:
        ValueError: Another shape, or a difference that is not finite.
    """
    variances = _variances(differences)
    effect, se = float(differences[0, 0]), float(np.sqrt(variances.mean()))
    t = bootstrap.standardised(effect, se)
    margin = float(stats.t.isf(alpha, 5)) * se
    return TestResult(
        name="five_by_two_t",
        statistic=t,
        p_value=float(stats.t.sf(t, 5)) if t else 1.0,
        effect=effect,
        low=effect - margin,
        high=effect + margin,
        detail={
            "effect_is": "first difference",
            "se": se,
            "mean_difference": float(differences.mean()),
            "p_two_sided": float(2 * stats.t.sf(abs(t), 5)),
        },
    )


def combined_f(differences: Matrix) -> TestResult:
    """Do two models differ, in either direction? The combined 5x2cv F-test.

    Source: Alpaydin 1999, Combined 5x2cv F test for comparing supervised classification learning
    algorithms. It uses all ten differences and has more power than the t-test.

    Args:
        differences: Shape (5, 2).

    Returns:
        Statistic F with (10, 5) degrees of freedom, two-sided p, effect the mean difference. The
        test has no interval: its ends are NaN.

    Raises:
        ValueError: Another shape, or a difference that is not finite.
    """
    variances = _variances(differences)
    squares, spread = float((differences**2).sum()), float(2 * variances.sum())
    f = bootstrap.standardised(squares, spread)
    return TestResult(
        name="combined_f",
        statistic=f,
        p_value=float(stats.f.sf(f, 10, 5)),
        effect=float(differences.mean()),
        low=np.nan,
        high=np.nan,
        detail={"effect_is": "mean difference", "two_sided": True},
    )


def _variances(differences: Matrix) -> Vector:
    """Per halving the sum of squares about its mean, shape (5,)."""
    if differences.shape != (5, 2) or not np.isfinite(differences).all():
        raise ValueError(
            f"differences {differences.shape} must be 5 halvings x 2 halves, all finite; "
            "score both models on every half"
        )
    variances: Vector = ((differences - differences.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    return variances
