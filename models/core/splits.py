"""Division of rows: train before, judge after; folds inside the training rows.

Belongs here: which row goes where, and whether the folds are balanced.
Does not belong here: reading or writing rows, fitting on them (``training``).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import Vector
from models.contracts.product import EVENT_TIME, KNOWN_TIME, PART, Folds, TimeSplit
from models.contracts.results import CheckResult

if TYPE_CHECKING:
    import pandas as pd

Rows = NDArray[np.intp]
Parts = tuple[tuple[Rows, Rows], ...]

#: Stratified folds may differ from the whole by this much in their share of positives.
SHARE_TOLERANCE = 0.01
#: Folds in time order follow the world: they only must stay within this factor, both ways.
SHARE_FACTOR = 4.0
#: Fewer rows than this beside published parts are not divided.
MIN_FREE = 20
#: Fewer positives than this in a judged fold, and its metrics mean nothing.
MIN_POSITIVES = 5


class Split(NamedTuple):
    """Row positions of a frame, each group in time order.

    Attributes:
        train: Rows before ``split_at`` whose outcome was known in time.
        gap: Rows before ``split_at`` whose outcome came too late to learn from.
        holdout: Rows from ``split_at`` on.
        split_at: First holdout event time.
    """

    train: Rows
    gap: Rows
    holdout: Rows
    split_at: pd.Timestamp


def split(frame: pd.DataFrame, spec: TimeSplit) -> Split:
    """Divide rows by time, with a gap for outcomes that arrive late.

    Rows of the same event time never straddle: all of them are holdout. So the holdout may be
    slightly larger than asked for, never smaller. Rows with a ``part`` keep it: a published split
    is compared with others only as it was published. Time divides the rest, and fewer than
    ``MIN_FREE`` of these wait in the gap.

    Args:
        frame: Rows with ``event_time`` and ``known_time``, in any order.
        spec: Share of holdout rows and the gap in hours.

    Returns:
        The positions of training, gap and holdout rows.

    Raises:
        ValueError: A time column is missing, no rows, or none left to learn from.
    """
    if missing := {EVENT_TIME, KNOWN_TIME} - set(frame.columns):
        raise ValueError(f"{sorted(missing)} are not in the table; add them to its SQL model")
    given = _given(frame)
    if given is None:
        return _by_time(frame, spec)
    published, free = _published(frame, given), np.flatnonzero(given == "")
    if len(free) < MIN_FREE:
        return published._replace(gap=free)
    mine = _by_time(frame.iloc[free], spec)
    event = frame[EVENT_TIME].to_numpy()
    groups = zip((mine.train, mine.gap, mine.holdout), published[:3], strict=True)
    both = (np.concatenate([free[timed], theirs]) for timed, theirs in groups)
    train, gap, holdout = (rows[np.argsort(event[rows], kind="stable")] for rows in both)
    return Split(train, gap, holdout, mine.split_at)


def _given(frame: pd.DataFrame) -> NDArray[np.str_] | None:
    """Each row's published part, "" where there is none; None without such a column.

    Raises:
        ValueError: A part that is neither ``train`` nor ``holdout``.
    """
    if PART not in frame.columns:
        return None
    parts = frame[PART].fillna("").to_numpy(str)
    if unknown := set(parts.tolist()) - {"train", "holdout", ""}:
        raise ValueError(f"parts {sorted(unknown)} are unknown; give train, holdout or null")
    return parts if (parts != "").any() else None


def _published(frame: pd.DataFrame, given: NDArray[np.str_]) -> Split:
    """Rows as their part says, in time order; there is no gap."""
    import pandas as pd

    event = frame[EVENT_TIME].to_numpy()
    order = np.argsort(event, kind="stable")
    train, holdout = (order[given[order] == part] for part in ("train", "holdout"))
    if not len(train) or not len(holdout):
        raise ValueError(f"parts give {len(train)} training and {len(holdout)} holdout rows")
    return Split(train, order[:0], holdout, pd.Timestamp(event[holdout[0]]))


def _by_time(frame: pd.DataFrame, spec: TimeSplit) -> Split:
    import pandas as pd

    event = frame[EVENT_TIME].to_numpy()
    order = np.argsort(event, kind="stable")
    first = len(frame) - round(len(frame) * spec.holdout)
    if not 0 < first < len(frame):
        raise ValueError(f"{len(frame)} rows are too few for a holdout of {spec.holdout:.0%}")
    split_at = pd.Timestamp(event[order[first]])
    known_by = split_at - pd.Timedelta(hours=spec.gap_hours)
    before = event < split_at.to_datetime64()
    known = frame[KNOWN_TIME].to_numpy() <= known_by.to_datetime64()
    groups = (before & known, before & ~known, ~before)
    train, gap, holdout = (order[mask[order]] for mask in groups)
    if not len(train):
        raise ValueError(
            f"no outcome was known {spec.gap_hours:g} h before {split_at}: {len(gap)} rows are in "
            "the gap; make gap_hours or holdout smaller, or wait for more rows"
        )
    return Split(train, gap, holdout, split_at)


def folds(labels: Vector, spec: Folds, seed: int = 0) -> Parts:
    """Divide training rows for cross-validation.

    Args:
        labels: Shape (n,) of 0.0 or 1.0, in time order.
        spec: ``stratified``: k shuffled folds of equal class shares. ``time``: k + 1 equal blocks;
            fold i fits on blocks 0 to i and judges block i + 1, so the first block judges nothing.
            ``newest``: one fold, whose judged rows are the newest 1 / k.
        seed: Of the shuffle; unused by ``time``.

    Returns:
        k pairs (rows to fit on, rows to judge), positions in time order.

    Raises:
        ValueError: Too few rows, or fewer rows of a class than folds.
    """
    n, rarer = len(labels), int(min(labels.sum(), len(labels) - labels.sum()))
    if n < 2 * (spec.k + 1) or rarer < spec.k:
        raise ValueError(
            f"{n} rows with {rarer} of the rarer class are too few for {spec.k} folds; lower "
            "folds.k or wait for more rows"
        )
    if spec.kind == "time":
        edges = np.linspace(0, n, spec.k + 2).round().astype(int)
        rows = np.arange(n)
        return tuple((rows[:low], rows[low:high]) for low, high in itertools.pairwise(edges[1:]))
    if spec.kind == "newest":
        return (newest(n, spec),)
    from sklearn.model_selection import StratifiedKFold

    dealer = StratifiedKFold(spec.k, shuffle=True, random_state=seed)
    return tuple((fit, judge) for fit, judge in dealer.split(np.zeros(n), labels))


def newest(n: int, spec: Folds) -> tuple[Rows, Rows]:
    """The one division of ``newest``: rows to fit on, and the newest 1 / k to judge."""
    rows = np.arange(n)
    first = n - n // spec.k
    return rows[:first], rows[first:]


def fold_balance(labels: Vector, parts: Parts, spec: Folds) -> CheckResult:
    """Whether every judged fold has its share of positives.

    Args:
        labels: Shape (n,) of 0.0 or 1.0.
        parts: From ``folds``.
        spec: What they were made by: stratified folds must agree within ``SHARE_TOLERANCE``, folds
            in time order within a factor of ``SHARE_FACTOR`` of the whole.

    Returns:
        Check ``fold_balance``; ``numbers`` holds the share of positives per fold.
    """
    overall = float(labels.mean())
    shares = [float(labels[judge].mean()) for _, judge in parts]
    counts = [int(labels[judge].sum()) for _, judge in parts]
    low, high = overall - SHARE_TOLERANCE, overall + SHARE_TOLERANCE
    if spec.kind != "stratified":
        low, high = overall / SHARE_FACTOR, overall * SHARE_FACTOR
    bad = [
        f"fold {i} has {count} positives ({share:.1%})"
        for i, (share, count) in enumerate(zip(shares, counts, strict=True), 1)
        if not low <= share <= high or count < MIN_POSITIVES
    ]
    message = (
        f"{'; '.join(bad)}, the whole {overall:.1%}: lower folds.k, or look for a period in which "
        "outcomes were not recorded"
        if bad
        else f"{len(parts)} folds with {min(shares):.1%} to {max(shares):.1%} positives, the whole "
        f"{overall:.1%}"
    )
    numbers = {f"fold_{i}": share for i, share in enumerate(shares, 1)}
    return CheckResult(
        name="fold_balance",
        passed=not bad,
        message=message,
        numbers={"overall": overall, **numbers},
    )
