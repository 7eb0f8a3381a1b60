"""Are the labels labels: 0 or 1, in a sane share, and connected with the inputs?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.contracts.learner import TrainingRows
from models.contracts.product import EVENT_TIME, JUDGED, LABEL, Data, Trial
from models.contracts.results import CheckResult
from models.core.checks.common import arrived, conclude, example

if TYPE_CHECKING:
    import pandas as pd

#: Share of positives outside of which labels were not recorded, or recorded upside down.
MIN_RATE, MAX_RATE = 0.0005, 0.9
#: The odds of a positive may change by this factor since the last snapshot. In 20 years of real
#: merges, 500 at a time, they changed by up to 8.
MAX_ODDS_RATIO = 12.0
#: Rows of the rarer class needed to say anything of new rows.
MIN_CLASS_ROWS = 20
#: Standard errors that a difference must have: chance alone makes one in a thousand.
SIGNIFICANT = 3.1
#: Of the advantage over chance that a quick model used to have, this much must be left.
MIN_LEFT = 0.25
#: A quick model: enough to see a connection, not to use it.
_QUICK = Trial(
    name="quick", params={"rounds": 40, "depth": 4, "rate": 0.2, "rows": 0.8, "columns": 0.5}
)
_QUICK_ROWS = 12_000


class _Area(NamedTuple):
    value: float
    error: float


def labels(*, current: pd.DataFrame, previous: pd.DataFrame | None, data: Data) -> CheckResult:
    """Values, share of positives, and whether inputs still tell the labels apart.

    Shuffled labels keep every share. So a quick model is fitted on the past (the last snapshot, or
    the first 70 % of rows) and ranks the new rows: on shuffled ones it ranks like chance.

    Args:
        current: The feature table.
        previous: All rows of the last snapshot; None for the first.
        data: Declares the inputs.

    Returns:
        Check ``labels``.
    """
    values = current[LABEL].to_numpy(np.float64)
    wrong = ~np.isin(values, (0.0, 1.0))
    if wrong.any():
        said = (
            f"{wrong.sum()} labels are neither 0 nor 1 ({example(current, wrong)}: "
            f"{values[np.argmax(wrong)]:g}): mend the feature's SQL model"
        )
        return conclude("labels", [said], "")
    rate = float(values.mean())
    numbers: dict[str, float] = {"rate": rate}
    if not MIN_RATE <= rate <= MAX_RATE or not 0 < rate < 1:
        said = (
            f"{rate:.3%} of {len(values)} labels are positive, outside {MIN_RATE:.2%} to "
            f"{MAX_RATE:.0%}: outcomes were not recorded, or 0 and 1 are swapped; look at the "
            "source's outcome column"
        )
        return conclude("labels", [said], "", numbers)
    old, new = _past_and_new(current, previous)
    problems = [*_odds(old, new, numbers)] if previous is not None else []
    problems += _connection(old, new, data, numbers, first=previous is None)
    fine = f"{rate:.1%} of {len(values)} labels are positive; " + (
        f"a quick model ranks the newest rows with ROC-AUC {numbers['auc']:.3f}"
        if "auc" in numbers
        else "too few new rows to say more"
    )
    return conclude("labels", problems, fine, {k: round(v, 4) for k, v in numbers.items()})


def _past_and_new(
    current: pd.DataFrame, previous: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    if previous is not None:
        return previous, current[arrived(current, previous)]
    ordered = current.sort_values(EVENT_TIME, kind="stable")
    border = round(0.7 * len(ordered))
    return ordered.iloc[:border], ordered.iloc[border:]


def _odds(old: pd.DataFrame, new: pd.DataFrame, numbers: dict[str, float]) -> Iterator[str]:
    counts = [(frame[LABEL].sum(), len(frame)) for frame in (old, new)]
    if counts[1][1] < 10 * MIN_CLASS_ROWS:
        return
    # half a row each: the odds exist without a positive (Haldane 1956, Anscombe 1956)
    before, now = ((positive + 0.5) / (rows - positive + 0.5) for positive, rows in counts)
    numbers["odds_ratio"] = float(now / before)
    if not 1 / MAX_ODDS_RATIO <= now / before <= MAX_ODDS_RATIO:
        yield (
            f"{counts[1][0]} of {counts[1][1]} new labels are positive, {counts[0][0]} of "
            f"{counts[0][1]} were: the odds changed by a factor of {now / before:.3g}; look at how "
            "outcomes of the new rows were recorded"
        )


def _connection(
    old: pd.DataFrame, new: pd.DataFrame, data: Data, numbers: dict[str, float], *, first: bool
) -> Iterator[str]:
    area = _quick_area(old, new, data)
    if area is None:
        return
    numbers["auc"] = area.value
    clear = area.value - SIGNIFICANT * area.error > 0.5
    if first and not clear:
        yield (
            f"a quick model fitted on the first {len(old)} rows ranks the other {len(new)} like "
            f"chance (ROC-AUC {area.value:.3f}): labels are shuffled or joined to the wrong rows; "
            "look at the join of outcomes to events"
        )
    usual = None if first else _quick_area(*_past_and_new(old, None), data)
    if usual is None:
        return
    numbers["auc_before"] = usual.value
    left = (area.value - 0.5) / max(usual.value - 0.5, 1e-9)
    fall = usual.value - area.value
    if left < MIN_LEFT and fall > SIGNIFICANT * np.hypot(area.error, usual.error):
        yield (
            f"on the {len(new)} new rows a quick model ranks like chance (ROC-AUC "
            f"{area.value:.3f}; inside the last snapshot {usual.value:.3f}): the new labels are "
            "shuffled or joined to the wrong rows; look at the join of outcomes to events"
        )


def _quick_area(old: pd.DataFrame, new: pd.DataFrame, data: Data) -> _Area | None:
    """ROC-AUC on judged new rows of a quick model fitted on old ones; None with too few rows."""
    from models.core import boosting, significance, training
    from models.core.frames import training_rows

    teach, judge = (training_rows(frame, data.names) for frame in (old, new))
    judge = training.take(judge, np.flatnonzero(new[JUDGED].to_numpy(bool)))
    for label in (teach.labels, judge.labels):
        if min(label.sum(), len(label) - label.sum()) < MIN_CLASS_ROWS:
            return None
    step = max(1, len(teach.labels) // _QUICK_ROWS)
    inputs = np.where(np.isfinite(teach.inputs), teach.inputs, np.nan)[::step]
    sample = TrainingRows(inputs, teach.labels[::step], teach.names)
    scores = boosting.fit(_QUICK, sample).predict(judge.inputs)
    areas = significance.delong_areas(judge.labels, scores[None, :])
    return _Area(float(areas.auc[0]), float(np.sqrt(areas.covariance[0, 0])))
