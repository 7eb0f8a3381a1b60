"""The checks a dataset must pass before a model is fitted on it. Pure: frames in, results out.

Each check looks for one kind of fault, in a module of the same subject, and says what is wrong, in
how many rows, in which for example, and what to do. ``check_dataset`` makes all of them.
Does not belong here: reading frames, reporting to Dagster (``assets``), judging models (``gates``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from models.contracts.product import KNOWN_TIME, Data
from models.contracts.results import CheckResult
from models.core.checks.common import conclude
from models.core.checks.corrections import late_correction
from models.core.checks.drift import drift
from models.core.checks.freshness import freshness
from models.core.checks.keys import keys
from models.core.checks.labels import labels
from models.core.checks.leakage import future_leak, target_leak
from models.core.checks.overlap import overlap
from models.core.checks.schema import has_frame, schema, usable

if TYPE_CHECKING:
    import pandas as pd

    from models.core.splits import Split

#: Every check, in the order made, with the question it answers.
CHECKS: Mapping[str, str] = MappingProxyType(
    {
        "schema": "Are the columns there, of the declared kind, filled and in range?",
        "keys": "Is every event there once, and are those of the last snapshot still there?",
        "labels": "Are the labels 0 or 1, in a sane share, and connected with the inputs?",
        "target_leak": "Does no single input give the label away?",
        "future_leak": "Are inputs and outcomes used only after they were known?",
        "late_correction": "Were outcomes corrected in the open, and only few?",
        "overlap": "Does no holdout row also stand in the training rows?",
        "freshness": "Is the newest event new, and is no day missing?",
        "drift": "Do the new rows look like those of the last snapshot?",
    }
)

__all__ = [
    "CHECKS",
    "check_dataset",
    "drift",
    "freshness",
    "future_leak",
    "keys",
    "labels",
    "late_correction",
    "overlap",
    "schema",
    "target_leak",
]


def check_dataset(
    data: Data,
    current: pd.DataFrame,
    split: Split,
    previous: pd.DataFrame | None,
    *,
    same_definition: bool = True,
    only: Collection[str] = tuple(CHECKS),
) -> tuple[CheckResult, ...]:
    """Every check, or those of ``only``, in the order of ``CHECKS``.

    Args:
        data: The product's data.
        current: The feature table.
        split: Division of ``current``.
        previous: All rows of the last snapshot; None for the first.
        same_definition: False when the features' SQL changed since ``previous``.
        only: Names of the checks to make.

    Returns:
        One result per name. An input that is missing or mistyped fails ``schema``
        and is left out of the others; without a column that every table carries they cannot judge
        and fail, saying so.
    """
    inputs = usable(current, data)
    checks: dict[str, Callable[[], CheckResult]] = {
        "schema": lambda: schema(current=current, data=data)
    }
    if inputs and has_frame(current):
        known = data.model_copy(update={"columns": inputs})
        checks |= _of_values(known, current, split, previous, same_definition=same_definition)
    unjudged = ["not judged: mend the schema first"]
    return tuple(
        checks[name]() if name in checks else conclude(name, unjudged, "")
        for name in CHECKS
        if name in only
    )


def _of_values(
    known: Data,
    current: pd.DataFrame,
    split: Split,
    previous: pd.DataFrame | None,
    *,
    same_definition: bool,
) -> dict[str, Callable[[], CheckResult]]:
    """The checks that read values, for a table with ``known`` inputs and every common column."""
    both = known  # the inputs that the last snapshot had as well
    if previous is not None:
        both = known.model_copy(update={"columns": usable(previous, known)})
    before = None if previous is None else previous[KNOWN_TIME].max()
    return {
        "keys": lambda: keys(current=current, previous=previous),
        "labels": lambda: labels(current=current, previous=previous, data=both),
        "target_leak": lambda: target_leak(current=current, data=known),
        "future_leak": lambda: future_leak(
            current=current,
            previous=previous,
            data=both,
            split=split,
            same_definition=same_definition,
        ),
        "late_correction": lambda: late_correction(
            current=current, previous=previous, previous_as_of=before
        ),
        "overlap": lambda: overlap(current=current, data=known, split=split),
        "freshness": lambda: freshness(
            current=current, previous=previous, data=known, as_of=current[KNOWN_TIME].max()
        ),
        "drift": lambda: drift(current=current, previous=previous, data=both),
    }
