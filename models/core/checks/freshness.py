"""Is the newest event new, and are days without events missing?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.contracts.learner import Vector
from models.contracts.product import EVENT_TIME, Data
from models.contracts.results import CheckResult
from models.core.checks.common import conclude

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

#: A quiet spell may be this many times the longest of the year before, plus a day.
QUIET_FACTOR = 2.0
#: Days with events that a year must have before it says what is usual.
MIN_DAYS = 30
_YEAR = 365


def freshness(
    *,
    current: pd.DataFrame,
    previous: pd.DataFrame | None,
    data: Data,
    as_of: datetime,
) -> CheckResult:
    """Old events, or days without events where there usually are some.

    Args:
        current: The feature table.
        previous: All rows of the last snapshot; None for the first. Quiet spells are looked for
            after its newest event, or in the last ``max_age_days``.
        data: Declares ``max_age_days``.
        as_of: Newest arrival in the source (not the clock: a rerun next year says the same).

    Returns:
        Check ``freshness``.
    """
    events = current[EVENT_TIME].to_numpy()
    newest = events.max()
    age = float((np.datetime64(as_of) - newest) / np.timedelta64(1, "D"))
    problems = []
    if age > data.max_age_days:
        problems.append(
            f"the newest event ({newest}) is {age:.1f} days older than the newest arrival "
            f"({as_of}), {data.max_age_days:g} are allowed: load the missing days, or raise "
            "max_age_days"
        )
    since = newest - _days(data.max_age_days)
    if previous is not None:
        since = min(previous[EVENT_TIME].to_numpy().max(), newest)
    quiet, usual = _quiet(events, since)
    if usual is not None and quiet > QUIET_FACTOR * usual + 1:
        problems.append(
            f"{quiet:.1f} days without an event since {since}, in the year before at most "
            f"{usual:.1f}: a day's file is missing; load it and materialise again"
        )
    fine = f"newest event {newest}, {max(age, 0):.1f} days before the newest arrival"
    return conclude("freshness", problems, fine, {"age_days": age, "longest_quiet_days": quiet})


def _quiet(events: Vector, since: np.datetime64) -> tuple[float, float | None]:
    """Longest spell between days with events after ``since``, and in the year before it.

    The second is None when that year has too few days to say.
    """
    days = np.unique(events.astype("datetime64[D]"))
    border = since.astype("datetime64[D]")
    before = days[(days <= border) & (days > border - np.timedelta64(_YEAR, "D"))]
    after = days[days >= border]
    gaps = np.diff(after).astype(float)
    quiet = float(gaps.max()) if len(gaps) else 0.0
    return quiet, float(np.diff(before).astype(float).max()) if len(before) >= MIN_DAYS else None


def _days(days: float) -> np.timedelta64:
    return np.timedelta64(round(days * 86_400), "s")
