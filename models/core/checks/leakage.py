"""Does an input know what it must not: the label, or the future?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from models.contracts.learner import Vector
from models.contracts.product import (
    EVENT_TIME,
    KNOWN_TIME,
    LABEL,
    TENANT,
    Data,
)
from models.contracts.results import CheckResult
from models.core.checks.common import changed, conclude, example, shared

if TYPE_CHECKING:
    import pandas as pd

    from models.core.splits import Split

#: An honest single input does not rank the label this well (ROC-AUC, either direction).
MAX_AUC = 0.99
#: Fewer rows of a class than this say nothing of an input.
MIN_CLASS_ROWS = 20


def target_leak(*, current: pd.DataFrame, data: Data) -> CheckResult:
    """An input that gives the label away, by its value or by being null.

    Args:
        current: The feature table.
        data: Declares the inputs.

    Returns:
        Check ``target_leak``; ``numbers`` holds the ROC-AUC of every input, direction removed.
    """
    label = current[LABEL].to_numpy(np.float64)
    areas: dict[str, float] = {}
    problems = []
    for name in data.names:
        values = current[name].to_numpy(np.float64, na_value=np.nan)
        empty = np.isnan(values)
        areas[name] = _area(values[~empty], label[~empty])
        if areas[name] >= MAX_AUC:
            problems.append(
                f"{name} alone ranks the label with ROC-AUC {areas[name]:.4f} (an honest input "
                f"stays below {MAX_AUC}): it is made from the outcome; compute it from what was "
                "known before the event, or take it out"
            )
        elif _area(empty.astype(float), label) >= MAX_AUC:
            problems.append(
                f"{name} is null in {empty.sum()} rows and whether it is null gives the label "
                "away: it is filled with the outcome; take it out or compute it before the event"
            )
    best = max(areas, key=lambda name: areas[name])
    fine = f"the strongest single input is {best} with ROC-AUC {areas[best]:.4f}"
    return conclude("target_leak", problems, fine, {k: round(v, 4) for k, v in areas.items()})


def future_leak(
    *,
    current: pd.DataFrame,
    previous: pd.DataFrame | None,
    data: Data,
    split: Split,
    same_definition: bool = True,
) -> CheckResult:
    """Outcomes known too early or used too early, and inputs that changed after the fact.

    An input of a past event depends on nothing later, so it is the same in every snapshot. When it
    is not, it sees the future, or something was dated back.

    Args:
        current: The feature table.
        previous: All rows of the last snapshot; None for the first.
        data: Declares inputs and gap.
        split: Division of ``current``.
        same_definition: False when the features' SQL changed since ``previous``: then inputs may
            differ, and are not compared.

    Returns:
        Check ``future_leak``.
    """
    problems = list(_too_early(current, data, split))
    compared = 0
    if previous is not None and same_definition:
        both = shared(current, previous)
        compared = len(both.now)
        if said := _rewritten(both.now, both.before, (TENANT, EVENT_TIME, *data.names)):
            problems.append(said)
    history = (
        f"{compared} rows are as in the last snapshot" if compared else "no history to compare"
    )
    fine = f"no outcome is known before its event or used before it was known; {history}"
    return conclude("future_leak", problems, fine, {"compared": compared})


def _too_early(current: pd.DataFrame, data: Data, split: Split) -> Iterator[str]:
    known, event = current[KNOWN_TIME].to_numpy(), current[EVENT_TIME].to_numpy()
    impossible = known < event
    if impossible.any():
        yield (
            f"{impossible.sum()} outcomes are known before their event "
            f"({example(current, impossible)}): known_at and event_time are swapped, or in "
            "different time zones; mend the source"
        )
    limit = split.split_at.to_datetime64() - np.timedelta64(round(data.split.gap_hours * 3600), "s")
    late = np.zeros(len(current), bool)
    late[split.train] = known[split.train] > limit
    if late.any():
        yield (
            f"{late.sum()} training rows have an outcome that was known after {limit} "
            f"({example(current, late)}): move them to the gap, as models.core.splits.split does"
        )


def _rewritten(now: pd.DataFrame, before: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    masks = {name: changed(now[name], before[name]) for name in names}
    rows = np.logical_or.reduce(list(masks.values()))
    if not rows.any():
        return None
    counts = {name: int(mask.sum()) for name, mask in masks.items() if mask.any()}
    worst = sorted(counts, key=lambda name: -counts[name])
    first = int(np.argmax(rows))
    name = next(name for name, mask in masks.items() if mask[first])
    return (
        f"{rows.sum()} of {len(now)} rows of the last snapshot have other inputs now "
        f"({', '.join(f'{n}: {counts[n]}' for n in worst[:5])}; e.g. {now.index[first]}: {name} "
        f"{before[name].iloc[first]} -> {now[name].iloc[first]}): the features see the future, or "
        "events were dated back; compute features from what was known before the event, and give "
        "corrections the time they became known; after a meant backfill start the snapshots anew "
        "(docs/operations.md)"
    )


def _area(values: Vector, label: Vector) -> float:
    """ROC-AUC of one input, at least 0.5 whatever its direction; 0.5 with too few rows."""
    from scipy.stats import rankdata

    positive = label == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < MIN_CLASS_ROWS:
        return 0.5
    wins = rankdata(values)[positive].sum() - m * (m + 1) / 2
    return float(max(wins, m * n - wins) / (m * n))
