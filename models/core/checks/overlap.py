"""Do holdout rows also stand in the training rows, under the same id or another?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.contracts.product import EVENT_ID, EVENT_TIME, LABEL, Data
from models.contracts.results import CheckResult
from models.core.checks.common import conclude, example

if TYPE_CHECKING:
    import pandas as pd

    from models.core.splits import Rows, Split

#: Share of holdout rows that may have an exact twin in the training rows. The 42,120 merges of the
#: first product have 0 % across the border (1.1 % inside the training rows, side by side).
MAX_TWINS = 0.01
#: Products with few, coarse columns have twins by chance: as many again are allowed as stand across
#: an earlier border.
CHANCE_FACTOR = 2.0


def overlap(*, current: pd.DataFrame, data: Data, split: Split) -> CheckResult:
    """Holdout rows that the model has seen: the same event, or the same inputs and label.

    Args:
        current: The feature table.
        data: Declares the inputs.
        split: Division of ``current``.

    Returns:
        Check ``overlap``.
    """
    problems = []
    ids = current[EVENT_ID]
    both = np.zeros(len(current), bool)
    both[split.holdout] = ids.iloc[split.holdout].isin(ids.iloc[split.train]).to_numpy()
    if both.any():
        problems.append(
            f"{both.sum()} events are in the training rows and in the holdout "
            f"({example(current, both)}): keep one row per event in the feature's SQL model"
        )
    prints = _fingerprints(current, data)
    twins = np.zeros(len(current), bool)
    twins[split.holdout] = np.isin(prints[split.holdout], prints[split.train])
    twins &= ~both
    share = float(twins.sum() / len(split.holdout))
    chance = _earlier_share(prints, split.train, data.split.holdout)
    if share > max(MAX_TWINS, CHANCE_FACTOR * chance):
        problems.append(
            f"{twins.sum()} of {len(split.holdout)} holdout rows ({share:.1%}) have the inputs and "
            f"label of a training row ({_pair(current, prints, twins, split)}), by chance it would "
            f"be {chance:.1%}: events were copied under new ids; remove the copies at the source"
        )
    fine = f"{twins.sum()} of {len(split.holdout)} holdout rows have a twin in the training rows"
    numbers = {"same_event": int(both.sum()), "twins": int(twins.sum()), "chance": chance}
    return conclude("overlap", problems, fine, numbers)


def _fingerprints(frame: pd.DataFrame, data: Data) -> NDArray[np.uint64]:
    import pandas as pd

    values = frame[[*data.names, LABEL]].astype(np.float64)
    return np.asarray(pd.util.hash_pandas_object(values, index=False), dtype=np.uint64)


def _earlier_share(prints: NDArray[np.uint64], train: Rows, holdout: float) -> float:
    """The same measure across a border inside the training rows."""
    border = max(1, round(len(train) * (1 - holdout)))
    later = prints[train[border:]]
    return float(np.isin(later, prints[train[:border]]).mean()) if len(later) else 0.0


def _pair(
    frame: pd.DataFrame, prints: NDArray[np.uint64], twins: NDArray[np.bool_], split: Split
) -> str:
    row = int(np.argmax(twins))
    other = split.train[np.argmax(prints[split.train] == prints[row])]
    first, second = frame.iloc[other], frame.iloc[row]
    return (
        f"e.g. {first[EVENT_ID]} of {first[EVENT_TIME]} and {second[EVENT_ID]} of "
        f"{second[EVENT_TIME]}"
    )
