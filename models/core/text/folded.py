"""A fold ensemble: one model per fold of the training texts, and the mean of their answers.

Belongs here: dividing, fitting a model on all but each fold, judging it on that fold, averaging,
saving and loading. Does not belong here: the models, heads that are weighed (``ensemble``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, JsonValue

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, Matrix, TextPredictor, TextRows
from models.contracts.product import Trial
from models.core import metrics, tabular
from models.core.text import predictor, saved
from models.core.text.augment import any_label
from models.core.text.encoding import Encoding
from models.core.text.rows import copies, take

KIND = "folds"
_MEMBERS = "members"
Fit = Callable[[Trial, TextRows, FitContext], TextPredictor]


class FoldsParams(Frozen):
    """Parameters of a fold ensemble.

    Attributes:
        k: Number of folds, and of models.
        of: Params of the trial that each of them is.
    """

    model: str = KIND
    k: int = Field(default=5, ge=2)
    of: dict[str, JsonValue]


@dataclass(frozen=True)
class FoldsText:
    """Models that saw different texts.

    Attributes:
        labels: The L labels answered.
        members: One per fold.
        held: Share of the texts that none of them was fitted on (see ``rows.held_out``).
        notes: How it was made; ``folds`` holds rows and ROC-AUC of each fold by its own model.
    """

    labels: tuple[str, ...]
    members: tuple[TextPredictor, ...]
    held: float
    notes: Mapping[str, Any]

    def predict(self, texts: Sequence[str]) -> Matrix:
        """Mean probability of every label, shape (n, L), over the members that learned it."""
        said = np.stack([member.predict(texts) for member in self.members])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a label that nobody learned is NaN
            scores: Matrix = np.nanmean(said, axis=0)
        return scores

    def in_form(self, convert: Callable[[Any, Encoding], Any]) -> FoldsText:
        """The same with every network of torch in it converted (see ``EnsembleText.in_form``)."""
        members = tuple(predictor.in_form(member, convert) for member in self.members)
        return replace(self, members=members, notes={**self.notes, "networks": predictor.ONNX})

    def importance(self) -> Mapping[str, float]:
        """Empty: a text has no columns."""
        return {}

    def save(self, folder: Path) -> None:
        """Write ``model.json``, and every member in a folder below."""
        for number, member in enumerate(self.members):
            below = folder / _MEMBERS / str(number)
            below.mkdir(parents=True)
            member.save(below)
        count = len(self.members)
        saved.write_model(folder, KIND, self, members=count, held=self.held, notes=self.notes)


def fit(trial: Trial, rows: TextRows, context: FitContext, fit_one: Fit) -> FoldsText:
    """Fit one model per fold on all other folds.

    Folds hold the same share of texts with any yes, and copies of a text stand in one fold. What
    stops a member's training is its own held-out share, so its fold judges it unseen.

    Args:
        trial: With ``FoldsParams`` as its params.
        rows: Training texts.
        context: Each fold has its own checkpoints and curves; ``roc_auc`` is told per fold.
        fit_one: Fits a trial by its params.

    Returns:
        The predictor; deterministic given the trial's seed (fold i is fitted with ``seed + i``).

    Raises:
        ValueError: ``of`` is a fold ensemble or a form, or goes on from another trial; or the rarer
            kind of texts is fewer than ``k``.
    """
    from models.core.trainer.folds import divide, of_fold

    params = FoldsParams.model_validate(trial.params)
    if trial.after or params.of.get("model") in (KIND, predictor.ONNX):
        raise ValueError(
            f"trial {trial.name!r} fits a model per fold: leave after empty, and let of be one "
            "that is fitted on texts, no form and no other folds"
        )
    strata = np.nan_to_num(any_label(rows.labels), nan=2.0)
    members, told = [], []
    for number, fold in enumerate(divide(strata, params.k, trial.seed, copies(rows.texts))):
        own = Trial(name=f"{trial.name}-{number}", params=params.of, seed=trial.seed + number)
        below = of_fold(context, number, params.k)
        if below.folder is not None:
            below.folder.mkdir(parents=True, exist_ok=True)
        members.append(fit_one(own, take(rows, fold.train), below))
        area = _area(members[-1], take(rows, fold.validate))
        context.curve("folds/roc_auc", number, area)
        told.append({"rows": len(fold.train), "roc_auc": None if np.isnan(area) else area})
    held = min(getattr(member, "held", 0.0) for member in members)
    return FoldsText(rows.names, tuple(members), held, {"folds": told, "of": params.of})


def _area(member: TextPredictor, rows: TextRows) -> float:
    """Mean ROC-AUC over the labels of which both values are known and which it answers."""
    scores, found = member.predict(rows.texts), []
    for truth, said in zip(rows.labels.T, scores.T, strict=True):
        known = ~np.isnan(truth) & ~np.isnan(said)
        if 0 < truth[known].sum() < known.sum():
            found.append(metrics.compute("roc_auc", truth[known], said[known]))
    return float(np.mean(found)) if found else float("nan")


def load(folder: Path, load_member: Callable[[Path], TextPredictor]) -> FoldsText:
    """Load what ``FoldsText.save`` wrote.

    Args:
        folder: The artifact.
        load_member: Loads any text model.

    Raises:
        ArtifactError: The probe is scored differently than when it was saved.
    """
    content = tabular.read_model(folder)
    members = tuple(load_member(folder / _MEMBERS / str(i)) for i in range(content["members"]))
    found = FoldsText(tuple(content["labels"]), members, content["held"], content["notes"])
    saved.check_probe(content, found)
    return found
