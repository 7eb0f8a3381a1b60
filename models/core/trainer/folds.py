"""One module per fold, and all of them as one model.

Belongs here: dividing rows, fitting the folds, averaging their answers. Does not belong here: one
training (``loop``), folds in time order (``models.core.splits``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.contracts.learner import FitContext
from models.core.trainer.config import TrainerConfig
from models.core.trainer.history import History
from models.core.trainer.loop import Task, train
from models.core.trainer.randomness import seeded

Rows = NDArray[np.int64]


class Fold(NamedTuple):
    """Row numbers to fit on and to validate on."""

    train: Rows
    validate: Rows


class FoldEnsemble(nn.Module):
    """Modules that saw different rows; the mean of their probabilities answers."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        """Keep the members; each answers logits for the same inputs."""
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: Any) -> Tensor:
        """Mean probability, in the shape of one member's logits."""
        return torch.stack([torch.sigmoid(member(*inputs)) for member in self.members]).mean(0)


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


def fit_folds(
    make: Callable[[Fold], Task],
    folds: Sequence[Fold],
    config: TrainerConfig,
    context: FitContext,
) -> tuple[FoldEnsemble, tuple[History, ...]]:
    """Train a fresh module on every fold.

    A killed run goes on in the fold it was in: every fold has its own folder of checkpoints.

    Args:
        make: The task of a fold, with a fresh module.
        folds: From ``divide``.
        config: The same for all; fold i is seeded with ``seed + i``.
        context: Lines and curves are told with the fold's number.

    Returns:
        The ensemble, and one history per fold: ``best_value`` is the fold's validation value.
    """
    members, histories = [], []
    for number, fold in enumerate(folds):
        own = config.model_copy(update={"seed": config.seed + number})
        with seeded(own.seed):
            task = make(fold)
        histories.append(train(task, own, of_fold(context, number, len(folds))))
        members.append(task.module)
    return FoldEnsemble(members), tuple(histories)


def of_fold(context: FitContext, number: int, count: int) -> FitContext:
    """What one fold is told: its own checkpoints, lines and curves that say which it is."""
    return context._replace(
        folder=context.folder / f"fold-{number}" if context.folder else None,
        say=lambda line: context.say(f"fold {number + 1}/{count}: {line}"),
        curve=lambda name, step, value: context.curve(f"fold-{number}/{name}", step, value),
    )
