"""The checks a dataset must pass before a model is fitted on it. Pure: frames in, results out.

Each check looks for one kind of fault, in a module of the same subject, and says what is wrong, in
how many rows, in which for example, and what to do. ``run`` makes all of them.
Does not belong here: reading frames, reporting to Dagster (``assets``), judging models (``gates``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.contracts.product import Data
from models.contracts.results import CheckResult
from models.core.checks.corrections import late_correction
from models.core.checks.drift import drift
from models.core.checks.freshness import freshness
from models.core.checks.keys import keys
from models.core.checks.labels import labels
from models.core.checks.leakage import future_leak, target_leak
from models.core.checks.overlap import overlap
from models.core.checks.schema import schema

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from models.core.splits import Split

#: Names of all checks, in the order of ``run``.
NAMES = (
    "schema",
    "keys",
    "labels",
    "target_leak",
    "future_leak",
    "late_correction",
    "overlap",
    "freshness",
    "drift",
)

__all__ = [
    "NAMES",
    "drift",
    "freshness",
    "future_leak",
    "keys",
    "labels",
    "late_correction",
    "overlap",
    "run",
    "schema",
    "target_leak",
]


def run(
    *,
    current: pd.DataFrame,
    previous: pd.DataFrame | None,
    data: Data,
    split: Split,
    as_of: datetime,
    previous_as_of: datetime | None,
    arrived_rows: int | None = None,
    same_definition: bool = True,
) -> tuple[CheckResult, ...]:
    """Every check, in the order of ``NAMES``.

    Args:
        current: The feature table.
        previous: All rows of the last snapshot; None for the first.
        data: The product's data.
        split: Division of ``current``.
        as_of: Newest arrival in the source.
        previous_as_of: The last snapshot's ``as_of``; None for the first.
        arrived_rows: Rows the newest arrival brought; None when nothing arrived since.
        same_definition: The features are computed as they were for ``previous``.

    Returns:
        One result per name; only ``schema`` when it fails, for nothing else can be judged then.

    Raises:
        ValueError: Only one of ``previous`` and ``previous_as_of``.
    """
    if (previous is None) != (previous_as_of is None):
        raise ValueError("give previous and previous_as_of together, or neither")
    first = schema(current=current, data=data)
    if not first.passed:
        return (first,)
    return (
        first,
        keys(current=current, previous=previous),
        labels(current=current, previous=previous, data=data),
        target_leak(current=current, data=data),
        future_leak(
            current=current,
            previous=previous,
            data=data,
            split=split,
            same_definition=same_definition,
        ),
        late_correction(current=current, previous=previous, previous_as_of=previous_as_of),
        overlap(current=current, data=data, split=split),
        freshness(
            current=current, previous=previous, data=data, as_of=as_of, arrived_rows=arrived_rows
        ),
        drift(current=current, previous=previous, data=data),
    )
