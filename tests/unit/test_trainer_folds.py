"""Rows divided evenly, and what the fit of one fold is told."""

from pathlib import Path

import numpy as np
import pytest

from models.contracts.learner import FitContext
from models.core.trainer.folds import divide, of_fold

STRATA = np.array([1] * 10 + [0] * 40)


def test_folds_hold_each_row_once_in_the_same_balance() -> None:
    folds = divide(STRATA, 5, seed=3)
    assert sorted(np.concatenate([fold.validate for fold in folds])) == list(range(50))
    for fold in folds:
        assert STRATA[fold.validate].sum() == 2
        assert set(fold.train) | set(fold.validate) == set(range(50))
        assert not set(fold.train) & set(fold.validate)


def test_groups_are_never_on_both_sides() -> None:
    groups = np.arange(50) // 2
    for fold in divide(STRATA, 5, seed=3, groups=groups):
        assert not set(groups[fold.train]) & set(groups[fold.validate])


def test_what_cannot_be_divided_is_said() -> None:
    with pytest.raises(ValueError, match="use k <= 10"):
        divide(STRATA, 11, seed=0)
    with pytest.raises(ValueError, match="use k <= 1"):
        divide(STRATA, 2, seed=0, groups=(STRATA == 0) * np.arange(50))
    lumps = np.array([0] * 9 + [1] + list(range(2, 42)))  # 9 of the 10 positives are one author's
    with pytest.raises(ValueError, match="groups are too large"):
        divide(STRATA, 2, seed=0, groups=lumps)


def test_every_fold_has_a_folder_lines_and_curves_of_its_own(tmp_path: Path) -> None:
    lines: list[str] = []
    points: list[tuple[str, int, float]] = []
    whole = FitContext(folder=tmp_path, say=lines.append, curve=lambda *told: points.append(told))
    own = of_fold(whole, 1, 5)
    own.say("epoch 1")
    own.curve("validation", 1, 0.5)
    assert own.folder == tmp_path / "fold-1"
    assert (lines, points) == (["fold 2/5: epoch 1"], [("fold-1/validation", 1, 0.5)])
    assert of_fold(FitContext(), 0, 5).folder is None
