"""Has a released model fallen below its promise? A rule with a test behind it. Pure."""

from __future__ import annotations

from models.contracts.base import Frozen

#: Metrics that are shares of rows, so that the binomial law holds.
SHARES = ("accuracy", "precision", "recall")


class Regression(Frozen):
    """The verdict and its numbers; ``reason`` is one sentence for a person."""

    degraded: bool
    promised: float
    current: float
    p_value: float
    reason: str


def judge_regression(
    metric: str,
    promised: float,
    current: float,
    rows: int,
    *,
    threshold: float = 0.05,
    alpha: float = 0.05,
) -> Regression:
    """Whether the true value lies more than ``threshold`` below the promised one.

    One-sided exact binomial test of H0: value >= promised - threshold.

    Args:
        metric: One of ``SHARES``.
        promised: Value the release was evaluated at, 0 to 1.
        current: Value seen in traffic, 0 to 1.
        rows: Rows the current value was measured on.
        threshold: Drop that is tolerated.
        alpha: Level of the test.

    Raises:
        ValueError: The metric is no share, or a number is out of range.
    """
    from scipy.stats import binomtest

    if metric not in SHARES:
        raise ValueError(f"metric must be one of {', '.join(SHARES)}, got {metric!r}")
    if not (0 <= current <= 1 and 0 <= threshold < promised and rows >= 1):
        raise ValueError("need 0 <= current <= 1, 0 <= threshold < promised and rows >= 1")
    bound = promised - threshold
    p_value = float(binomtest(round(current * rows), rows, bound, alternative="less").pvalue)
    degraded = p_value < alpha
    drop = promised - current
    reason = (
        f"{metric} fell by {drop:.3f} to {current:.3f} on {rows} rows "
        f"(tolerated {threshold:.3f}, p = {p_value:.4g})"
    )
    return Regression(
        degraded=degraded,
        promised=promised,
        current=current,
        p_value=p_value,
        reason=f"{reason}: {'go back' if degraded else 'not proven, keep'}",
    )
