"""The pages of an evaluation: our report, Evidently's, and what they need beside the scores.

Written once by the evaluation, and rendered again by the promotion when the gate has spoken. What
a page looks like is ``stores.reports``'s affair.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assets.stages.candidates import load_candidate, training_rows
from models.contracts.base import Frozen
from models.contracts.product import LABEL, ModelProduct
from models.contracts.results import Evaluation, GateDecision, Snapshot
from models.registry import load_learner
from stores.home import Home

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from models.contracts.learner import Predictor
    from models.contracts.results import Candidate
    from models.core.evaluation import Perturbation
    from stores.reports import Curves, LearningCurve

#: Shares of the past that the learning curve fits on, and the newest folds it is judged on.
FRACTIONS, CURVE_FOLDS = (0.25, 0.5, 1.0), 3
EXTRAS = "extras.json"


class Curve(Frozen):
    """The challenger's learning curve: mean rows, mean and deviation over the newest folds."""

    rows: tuple[int, ...]
    train: tuple[float, ...]
    train_sd: tuple[float, ...]
    validation: tuple[float, ...]
    validation_sd: tuple[float, ...]


class Disturbance(Frozen):
    """The primary metric under one disturbance of the inputs (``models.core.evaluation``)."""

    name: str
    column: str | None
    value: float
    error_increase: float


class Extras(Frozen):
    """What is measured for the page only."""

    curve: Curve
    robustness: tuple[Disturbance, ...]


def write_pages(
    product: ModelProduct,
    home: Home,
    evaluation: Evaluation,
    folder: Path,
    challenger: tuple[pd.DataFrame, Predictor],
) -> None:
    """Measure what only the pages show, and write them beside ``scores.parquet``.

    Args:
        product: The product.
        home: Where results are kept.
        evaluation: What was found.
        folder: The evaluation's folder, not yet in its place.
        challenger: The judged rows and the loaded challenger.
    """
    import pandas as pd

    from stores.reports.evidently_report import write_evidently

    rows, predictor = challenger
    extras = Extras(
        curve=_curve(product, home, evaluation),
        robustness=_robustness(product, rows, predictor),
    )
    (folder / EXTRAS).write_text(extras.model_dump_json(indent=1), encoding="utf-8")
    scores = pd.read_parquet(folder / "scores.parquet")[evaluation.challenger].to_numpy(float)
    train = pd.read_parquet(home.dataset(product, evaluation.snapshot_id) / "train.parquet")
    write_evidently(
        folder / "evidently.html",
        rows,
        train,
        columns=product.data.names,
        scores=scores,
        threshold=load_candidate(product, home, evaluation.challenger).threshold,
    )
    write_report_page(product, home, evaluation, folder, None)


def write_report_page(
    product: ModelProduct,
    home: Home,
    evaluation: Evaluation,
    folder: Path,
    decision: GateDecision | None,
) -> None:
    """Render ``report.html`` from what lies in the evaluation's folder."""
    import pandas as pd

    from models.core.metrics import classification_report, confusion
    from stores.reports import ReportData
    from stores.reports.page import write_report

    scores = pd.read_parquet(folder / "scores.parquet")
    labels = scores[LABEL].to_numpy(float)
    judged = scores[evaluation.challenger].to_numpy(float)
    manifests = {c: load_candidate(product, home, c) for c in evaluation.scorecards}
    threshold = manifests[evaluation.challenger].threshold
    manifest = home.dataset(product, evaluation.snapshot_id) / "manifest.json"
    curve, robustness = _measured(product, evaluation, folder)
    data = ReportData(
        title=product.title,
        evaluation_id=evaluation.evaluation_id,
        metric=product.gate.metric,
        positive=product.name.replace("_", " "),
        level=1 - 2 * product.gate.alpha,
        snapshot=Snapshot.model_validate_json(manifest.read_text(encoding="utf-8")),
        challenger=evaluation.challenger,
        champion=evaluation.champion,
        scorecards=list(evaluation.scorecards.values()),
        candidates=list(manifests.values()),
        curves=_curves(evaluation, manifests, scores),
        confusion=confusion(labels, judged, threshold),
        classes=classification_report(labels, judged, threshold),
        learning=[curve],
        robustness=robustness,
        decision=decision,
    )
    write_report(folder, data)


def _curves(
    evaluation: Evaluation, manifests: Mapping[str, Candidate], scores: pd.DataFrame
) -> list[Curves]:
    """Every model's scores as the plots want them."""
    from stores.reports import Curves
    from stores.reports.tables import model_names, role

    names = model_names(list(evaluation.scorecards.values()))
    labels = scores[LABEL].to_numpy(float)
    return [
        Curves(
            names[c],
            labels,
            scores[c].to_numpy(float),
            manifests[c].threshold,
            role(c, evaluation.challenger, evaluation.champion),
        )
        for c in evaluation.scorecards
    ]


def _measured(
    product: ModelProduct, evaluation: Evaluation, folder: Path
) -> tuple[LearningCurve, list[Perturbation]]:
    """What ``write_pages`` measured, as the page wants it."""
    from models.core.evaluation import Perturbation
    from stores.reports import LearningCurve

    extras = Extras.model_validate_json((folder / EXTRAS).read_text(encoding="utf-8"))
    curve = LearningCurve(
        name=evaluation.scorecards[evaluation.challenger].trial,
        metric=product.gate.metric,
        sizes=extras.curve.rows,
        train=extras.curve.train,
        train_sd=extras.curve.train_sd,
        validation=extras.curve.validation,
        validation_sd=extras.curve.validation_sd,
    )
    return curve, [Perturbation(**found.model_dump()) for found in extras.robustness]


def _robustness(
    product: ModelProduct, rows: pd.DataFrame, predictor: Predictor
) -> tuple[Disturbance, ...]:
    from models.core.evaluation import robustness
    from models.core.frames import labels, matrix

    found = robustness(
        predictor.predict,
        matrix(rows, product.data.names),
        labels(rows),
        product.data.columns,
        product.gate.metric,
    )
    return tuple(Disturbance(**one._asdict()) for one in found)


def _curve(product: ModelProduct, home: Home, evaluation: Evaluation) -> Curve:
    """The challenger's trial fitted on more and more of the past, judged on the newest folds."""
    import numpy as np

    from models.core.metrics import compute
    from models.core.splits import folds
    from models.core.training import learning_curve

    name = evaluation.scorecards[evaluation.challenger].trial
    trial = next(trial for trial in product.trials if trial.name == name)
    rows = training_rows(product, home.dataset(product, evaluation.snapshot_id))
    parts = folds(rows.labels, product.data.folds, trial.seed)[-CURVE_FOLDS:]
    learner, metric = load_learner(product), product.gate.metric
    curves = [
        learning_curve(
            learner, trial, rows, part, fractions=FRACTIONS, metric=metric, compute=compute
        )
        for part in parts
    ]
    values = np.array([[(p.rows, p.train, p.validation) for p in curve] for curve in curves])
    mean, spread = values.mean(axis=0).T.tolist(), values.std(axis=0).T.tolist()
    return Curve(
        rows=tuple(round(n) for n in mean[0]),
        train=tuple(mean[1]),
        train_sd=tuple(spread[1]),
        validation=tuple(mean[2]),
        validation_sd=tuple(spread[2]),
    )
