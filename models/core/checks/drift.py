"""Do the new rows look like those of the last snapshot?

A blocking check of the data, so only a change that no ordinary change of the world makes fails it.
Following smaller drift over time belongs to monitoring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.contracts.learner import Vector
from models.contracts.product import EVENT_TIME, LABEL, Data
from models.contracts.results import CheckResult
from models.core.checks.common import arrived, conclude
from models.core.drift_effect import bin_counts, quantile_edges

if TYPE_CHECKING:
    import pandas as pd

#: A population stability index above this is a large shift (Siddiqi 2006, Credit Risk Scorecards).
LARGE_PSI = 0.25
#: Share of inputs that may shift that much. Over 20 years of real merges, 500 to 3,000 new rows at
#: a time, it was at most 0.36; broken joins and changed units reach most columns.
MAX_SHIFTED = 0.5
#: Fewer new rows than this, and the newest rows of both snapshots are compared instead.
MIN_NEW_ROWS = 200


def drift(*, current: pd.DataFrame, previous: pd.DataFrame | None, data: Data) -> CheckResult:
    """Population stability index of every input: new rows against the last snapshot's holdout.

    Args:
        current: The feature table.
        previous: All rows of the last snapshot; None for the first.
        data: Declares inputs and the holdout's share.

    Returns:
        Check ``drift``; ``numbers`` holds the index of every input and both shares of positives.
    """
    if previous is None:
        return conclude("drift", [], "first snapshot: nothing to compare with yet")
    before = _newest(previous, data.split.holdout)
    new = current[arrived(current, previous)]
    if len(new) < MIN_NEW_ROWS:
        new = _newest(current, data.split.holdout)
    shifts = {name: _psi(_floats(before, name), _floats(new, name)) for name in data.names}
    large = sorted((n for n in shifts if shifts[n] > LARGE_PSI), key=lambda name: -shifts[name])
    named = ", ".join(f"{name} {shifts[name]:.2f}" for name in large[:5])
    problems = []
    if len(large) > MAX_SHIFTED * len(shifts):
        problems.append(
            f"{len(large)} of {len(shifts)} inputs shifted by more than {LARGE_PSI} PSI ({named}) "
            f"between {len(before)} rows of the last snapshot and {len(new)} now: look for a "
            "changed unit, a broken join or a new population; if the change is real, start the "
            "snapshots anew (docs/operations.md)"
        )
    rates = {"rate_before": _rate(before), "rate_now": _rate(new)}
    fine = (
        f"{len(large)} of {len(shifts)} inputs shifted by more than {LARGE_PSI} PSI"
        f"{f' ({named})' if named else ''}, at most {MAX_SHIFTED:.0%} may; positives "
        f"{rates['rate_before']:.1%} -> {rates['rate_now']:.1%}"
    )
    return conclude("drift", problems, fine, {k: round(v, 4) for k, v in (shifts | rates).items()})


def _psi(before: Vector, now: Vector) -> float:
    """Population stability index over deciles of ``before``; null is a bin of its own.

    A bin that is empty on one side counts as half a row there, so that the logarithm exists.
    """
    edges = quantile_edges(before)
    counts = np.stack([bin_counts(edges, values) for values in (before, now)])
    occupied = counts[:, counts.any(axis=0)]
    a, b = np.maximum(occupied, 0.5) / [[len(before)], [len(now)]]
    return float(((b - a) * np.log(b / a)).sum())


def _newest(frame: pd.DataFrame, share: float) -> pd.DataFrame:
    return frame.sort_values(EVENT_TIME, kind="stable").tail(max(1, round(share * len(frame))))


def _floats(frame: pd.DataFrame, name: str) -> Vector:
    return frame[name].to_numpy(np.float64, na_value=np.nan)


def _rate(frame: pd.DataFrame) -> float:
    return float(frame[LABEL].mean())
