"""Balanced folds of rows, and what the fit of one fold is told.

Belongs here: dividing rows by class and group. Does not belong here: one training (``loop``), what
is fitted on a fold (``models.core.text.folded``, ``models.core.rivals``), folds in time order
(``models.core.splits``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import FitContext

Rows = NDArray[np.int64]


class Fold(NamedTuple):
    """Row numbers to fit on and to validate on."""

    train: Rows
    validate: Rows


def divide(
    strata: NDArray[Any], k: int, seed: int, groups: NDArray[Any] | None = None
) -> tuple[Fold, ...]:
    """Folds with the same balance of classes.

    Args:
        strata: Shape (n,), the class of each row.
        k: Number of folds.
        seed: Of the shuffling.
        groups: Shape (n,); rows of one group (an author, a thread) are validated together.

    Raises:
        ValueError: A class has fewer rows, or groups, than there are folds, or groups are so uneven
            that a fold's share of a class is more than twice or less than half the overall one.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    scarcest = _scarcest(strata, groups)
    if scarcest < k:
        raise ValueError(f"the rarest class has {scarcest} rows or groups: use k <= {scarcest}")
    divider = StratifiedKFold if groups is None else StratifiedGroupKFold
    parts = divider(k, shuffle=True, random_state=seed).split(strata, strata, groups)
    folds = tuple(Fold(np.asarray(fit), np.asarray(held)) for fit, held in parts)
    _balanced(strata, folds)
    return folds


def _scarcest(strata: NDArray[Any], groups: NDArray[Any] | None) -> int:
    owners = np.arange(len(strata)) if groups is None else groups
    return min(len(np.unique(owners[strata == value])) for value in np.unique(strata))


def _balanced(strata: NDArray[Any], folds: Sequence[Fold]) -> None:
    for value in np.unique(strata):
        overall = (strata == value).mean()
        shares = [(strata[fold.validate] == value).mean() for fold in folds]
        # one row more or less is no imbalance, however rare the class is
        slack = 1.0 / min(len(fold.validate) for fold in folds)
        if min(shares) + slack < overall / 2 or max(shares) - slack > overall * 2:
            raise ValueError(
                f"class {value!r} is {overall:.1%} of all rows and {min(shares):.1%} to "
                f"{max(shares):.1%} of a fold: groups are too large, use fewer folds"
            )


def of_fold(context: FitContext, number: int, count: int) -> FitContext:
    """What one fold is told: its own checkpoints, lines and curves that say which it is."""
    return context._replace(
        folder=context.folder / f"fold-{number}" if context.folder else None,
        say=lambda line: context.say(f"fold {number + 1}/{count}: {line}"),
        curve=lambda name, step, value: context.curve(f"fold-{number}/{name}", step, value),
    )
