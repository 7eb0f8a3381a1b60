"""One module per fold, and their mean."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.contracts.learner import FitContext
from models.core.trainer.config import TrainerConfig
from models.core.trainer.folds import Fold, FoldEnsemble, divide, fit_folds
from tests.unit.trainer_tasks import Regression, one_thread


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


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


def test_the_ensemble_is_the_mean_of_the_members_probabilities() -> None:
    members = [nn.Linear(1, 1, bias=False) for _ in range(2)]
    for member, weight in zip(members, (0.0, 2.0), strict=True):
        nn.init.constant_(member.weight, weight)
    found = FoldEnsemble(members)(torch.tensor([[1.0]]))
    assert found.item() == pytest.approx((0.5 + 0.880797) / 2, abs=1e-6)


class Part(Regression):
    def __init__(self, fold: Fold) -> None:
        super().__init__(batch=len(fold.train))
        self.fold = fold
        self.inputs, self.held = self.inputs[fold.train], self.inputs[fold.validate]
        self.targets, self.asked = self.targets[fold.train], self.targets[fold.validate]

    def batches(self, generator: torch.Generator):
        yield self.inputs, self.targets

    def batch_count(self) -> int:
        return 1

    def validate(self) -> float:
        return -float(((self.module(self.held)[:, 0] - self.asked) ** 2).mean())


def test_every_fold_is_fitted_in_a_folder_of_its_own(tmp_path: Path) -> None:
    folds = divide(np.arange(40) % 2, 2, seed=0)
    points: list[str] = []
    config = TrainerConfig(max_epochs=2, learning_rate=0.02)
    context = FitContext(folder=tmp_path, curve=lambda name, *_: points.append(name))
    ensemble, histories = fit_folds(Part, folds, config, context)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["fold-0", "fold-1"]
    assert "fold-1/validation" in points
    for member, history, fold in zip(ensemble.members, histories, folds, strict=True):
        own = Part(fold)
        own.module = member
        with torch.no_grad():
            assert own.validate() == pytest.approx(history.best_value)
