"""Were outcomes corrected in the open, or rewritten behind our back?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.contracts.product import KNOWN_TIME, LABEL
from models.contracts.results import CheckResult
from models.core.checks.common import changed, conclude, shared

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

#: Share of the last snapshot's outcomes that may be corrected before a person must look.
MAX_CORRECTED = 0.01


def late_correction(
    *,
    current: pd.DataFrame,
    previous: pd.DataFrame | None,
    previous_as_of: datetime | None,
) -> CheckResult:
    """Labels that differ from the last snapshot's.

    A correction that became known after the last snapshot is counted and allowed up to
    ``MAX_CORRECTED``. One that claims to have been known already was dated back: never allowed,
    because every model judged in between would have been judged on other labels.

    Args:
        current: The feature table.
        previous: All rows of the last snapshot; None for the first.
        previous_as_of: What that snapshot knew, as its newest known time.

    Returns:
        Check ``late_correction``.
    """
    if previous is None or previous_as_of is None:
        return conclude("late_correction", [], "first snapshot: nothing to correct yet")
    now, before = shared(current, previous)
    other = changed(now[LABEL], before[LABEL])
    known_already = now[KNOWN_TIME].to_numpy() <= np.datetime64(previous_as_of)
    backdated, late = other & known_already, other & ~known_already
    problems = []
    if backdated.any():
        problems.append(
            f"{backdated.sum()} labels changed and claim to have been known by {previous_as_of} "
            f"({_example(now, before, backdated)}): add the correction as a new row whose known_at "
            "is when it became known, and restore the old row"
        )
    if late.sum() > MAX_CORRECTED * len(now):
        problems.append(
            f"{late.sum()} of {len(now)} labels were corrected since the last snapshot "
            f"({_example(now, before, late)}), more than {MAX_CORRECTED:.0%}: ask the owner of the "
            "source what happened; if the corrections are right, start the snapshots anew "
            "(docs/operations.md)"
        )
    fine = f"{late.sum()} of {len(now)} labels were corrected since {previous_as_of}, in the open"
    numbers = {"late": int(late.sum()), "backdated": int(backdated.sum()), "compared": len(now)}
    return conclude("late_correction", problems, fine, numbers)


def _example(now: pd.DataFrame, before: pd.DataFrame, mask: np.ndarray) -> str:
    row = int(np.argmax(mask))
    return f"e.g. {now.index[row]}: {before[LABEL].iloc[row]} -> {now[LABEL].iloc[row]}"
