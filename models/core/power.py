"""How much data a comparison needs: the smallest effect it can see, and the rows to see one.

Belongs here: arithmetic between standard error, level, power and rows.
Does not belong here: where a standard error comes from (``significance``), decisions (``gates``).
"""

from __future__ import annotations

import math

from scipy import stats

#: Rows asked for above the formula's: the standard error behind it is itself an estimate.
ROWS_MARGIN = 1.1


def detectable_effect(se: float, alpha: float, power: float) -> float:
    """Smallest true effect that a one-sided test finds with this power.

    Args:
        se: Standard error of the effect, in the effect's unit.
        alpha: One-sided level.
        power: Wanted probability to find it.

    Returns:
        ``(z(1 - alpha) + z(power)) * se``.
    """
    return float((stats.norm.isf(alpha) + stats.norm.ppf(power)) * se)


def rows_needed(rows: int, se: float, effect: float, alpha: float, power: float) -> int | None:
    """Rows at which ``effect`` would be found with this power, all else equal.

    Args:
        rows: Rows behind ``se``; a standard error falls with their square root.
        se: Standard error of the effect at ``rows``.
        effect: The true effect to find, positive, in the unit of ``se``.
        alpha: One-sided level.
        power: Wanted probability to find it.

    Returns:
        The rows with ``ROWS_MARGIN``, rounded up; None when ``se`` is zero or unknown: two models
        that never disagree cannot say how much data a disagreement would take.
    """
    if not (math.isfinite(se) and se > 0):
        return None
    return math.ceil(ROWS_MARGIN * rows * (detectable_effect(se, alpha, power) / effect) ** 2)
