"""Is every event there once, and are those of the last snapshot still there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.contracts.product import EVENT_ID
from models.contracts.results import CheckResult
from models.core.checks.common import conclude, example

if TYPE_CHECKING:
    import pandas as pd

#: Single events may be erased at a person's request; a larger share was lost.
MAX_LOST = 0.01


def keys(*, current: pd.DataFrame, previous: pd.DataFrame | None) -> CheckResult:
    """Duplicated event ids, and events of the last snapshot that are gone.

    Args:
        current: The feature table.
        previous: All rows of the last snapshot; None for the first.

    Returns:
        Check ``keys``.
    """
    problems = []
    again = current[EVENT_ID].duplicated().to_numpy()
    if again.any():
        problems.append(
            f"{again.sum()} rows repeat an event_id ({example(current, again)}): an event arrived "
            "twice or a join fans out; keep one row per event in the feature's SQL model"
        )
    lost = 0
    if previous is not None:
        gone = ~previous[EVENT_ID].isin(current[EVENT_ID]).to_numpy()
        lost = int(gone.sum())
        if lost > MAX_LOST * len(previous):
            problems.append(
                f"{lost} of {len(previous)} events of the last snapshot are gone "
                f"({example(previous, gone)}): restore the raw files, or widen a filter in SQL; "
                "after a meant erasure start the snapshots anew (docs/operations.md)"
            )
    fine = f"{len(current)} rows, every event once, {lost} gone since the last snapshot"
    return conclude("keys", problems, fine, {"duplicates": int(again.sum()), "gone": lost})
