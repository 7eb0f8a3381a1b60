"""What a person sees of an evaluation. Here: the typed inputs of the plots, the page, the tables.

The figures themselves are measured elsewhere (``models.core``): nothing in this package decides or
measures a metric of its own, and nothing knows Dagster. ``plots`` (and ``*_plot``) draw, ``page``
writes the HTML report, ``tables``, ``compared`` and ``examinations`` make rows and Markdown,
``evidently_report`` runs Evidently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from models.contracts.base import Frozen
from models.contracts.learner import Vector
from models.contracts.results import Candidate, Estimate, GateDecision, Scorecard, Snapshot

if TYPE_CHECKING:
    from models.core.metrics import ClassRow, Confusion

#: Who a model is in this comparison; it fixes the colour and the line of its curves.
Role = Literal["challenger", "champion", "candidate"]


class ReportError(Exception):
    """Input that cannot be shown; the message says what is wrong with it."""


@dataclass(frozen=True)
class Curves:
    """Scores of one model on the holdout.

    Attributes:
        name: Shown in the legend; unique within a plot.
        labels: Shape (n,) of 0.0 or 1.0, both present.
        scores: Shape (n,), probability of the positive class, 0 to 1.
        threshold: Decision threshold; its operating point is marked.
        role: Fixes colour and line style.
    """

    name: str
    labels: Vector
    scores: Vector
    threshold: float
    role: Role = "candidate"

    def __post_init__(self) -> None:
        if self.labels.ndim != 1 or self.labels.shape != self.scores.shape:
            raise ReportError(
                f"{self.name}: labels {self.labels.shape} and scores {self.scores.shape} must be "
                "two vectors of one length"
            )
        if set(np.unique(self.labels).tolist()) != {0.0, 1.0}:
            raise ReportError(f"{self.name}: labels must be 0 and 1, with both present")
        if not bool(np.all((self.scores >= 0) & (self.scores <= 1))):
            raise ReportError(f"{self.name}: scores must be probabilities; found NaN or off 0..1")


@dataclass(frozen=True)
class LearningCurve:
    """Scores of one trial against the number of training rows, cross-validated.

    Attributes:
        name: Trial.
        metric: Name in ``models.core.metrics.METRICS``.
        sizes: Training rows at each step, rising.
        train: Mean score on the rows fitted, per step.
        train_sd: Its standard deviation over the folds.
        validation: Mean score on the rows left out, per step.
        validation_sd: Its standard deviation over the folds.
    """

    name: str
    metric: str
    sizes: Sequence[int]
    train: Sequence[float]
    train_sd: Sequence[float]
    validation: Sequence[float]
    validation_sd: Sequence[float]

    def __post_init__(self) -> None:
        parts = (self.train, self.train_sd, self.validation, self.validation_sd)
        if not self.sizes or any(len(part) != len(self.sizes) for part in parts):
            raise ReportError(f"{self.name}: a learning curve wants one value per size, all five")


@dataclass(frozen=True)
class TrainingCurve:
    """What one fit showed epoch by epoch.

    Attributes:
        name: Trial, with its part where it has several; folds of one fit share a name.
        loss: Mean training loss of each epoch.
        validation: Validation metric after each epoch, higher is better.
    """

    name: str
    loss: Sequence[float]
    validation: Sequence[float]

    def __post_init__(self) -> None:
        if not self.loss or not self.validation:
            raise ReportError(f"{self.name}: a training curve wants at least one epoch")


class Pair(Frozen):
    """Two models on the same units.

    Attributes:
        better: Name of the model with the smaller error.
        other: Name of the other.
        effect: Relative reduction of the other's error.
        p: Test to its two-sided p-value after Holm's correction over all pairs.
    """

    better: str
    other: str
    effect: Estimate
    p: dict[str, float]


class Ranks(Frozen):
    """Friedman's test over data sets with Nemenyi's critical difference (Demsar 2006).

    Attributes:
        over: What the data sets are: ``tenants``, ``folds`` or ``slices``.
        sets: How many.
        models: Names.
        ranks: Average rank of each; 1 is best.
        critical_difference: Ranks further apart than this differ.
        p: Of Friedman's test, in Iman and Davenport's form.
        cliques: Groups of models, by number, that do not differ.
    """

    over: str
    sets: int
    models: tuple[str, ...]
    ranks: tuple[float, ...]
    critical_difference: float
    p: float
    cliques: tuple[tuple[int, ...], ...]


class LabelRow(Frozen):
    """One model on one label; a metric that is not defined is NaN.

    Attributes:
        known: Units of which the label is known.
        threshold: Where F1 is taken.
    """

    label: str
    model: str
    known: int
    positives: int
    roc_auc: float
    average_precision: float
    f1: float
    threshold: float


@dataclass(frozen=True)
class ReportData:
    """Everything one report shows. Parts that were not measured stay empty and are left out.

    Attributes:
        title: The product in words.
        evaluation_id: Names the evaluation, so that the page can be traced.
        metric: Primary metric of the gate.
        positive: What the watched probability is of, e.g. ``conflict``.
        level: Level of every interval (0.90 when the gate's alpha is 0.05).
        challenger: ``candidate_id`` of the best candidate.
        champion: ``candidate_id`` of the serving champion; None when there is none.
        scorecards: Every model judged, champion included.
        candidates: Manifests of the models judged (the champion's may be missing).
        curves: Scores of models that decide about each unit; empty leaves these plots out.
        probabilities: Watched probabilities of the models, for the calibration.
        confusion: The challenger's counts at its threshold.
        classes: The challenger's classification report.
        learning: Learning curves of the trials that have one.
        training: Loss and validation by epoch, of the trials that have them.
        labels: Challenger and champion label by label, where there are several.
        pairs: Any two models on the holdout.
        ranks: Average ranks over data sets, where there are enough of them.
        decision: The gate's, or None while it has not decided.
    """

    title: str
    evaluation_id: str
    metric: str
    positive: str
    level: float
    snapshot: Snapshot
    challenger: str
    champion: str | None
    scorecards: Sequence[Scorecard]
    candidates: Sequence[Candidate]
    curves: Sequence[Curves] = ()
    probabilities: Sequence[Curves] = ()
    confusion: Confusion | None = None
    classes: Sequence[ClassRow] = ()
    learning: Sequence[LearningCurve] = ()
    training: Sequence[TrainingCurve] = ()
    labels: Sequence[LabelRow] = ()
    pairs: Sequence[Pair] = ()
    ranks: Ranks | None = None
    decision: GateDecision | None = None

    def scorecard(self, candidate_id: str) -> Scorecard:
        """The scorecard of one model.

        Raises:
            ReportError: That model was not judged.
        """
        for card in self.scorecards:
            if card.candidate_id == candidate_id:
                return card
        known = ", ".join(card.candidate_id for card in self.scorecards)
        raise ReportError(f"no scorecard for {candidate_id!r}; judged were: {known}")
