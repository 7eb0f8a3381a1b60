"""The pages of an evaluation: our report, Evidently's, and what they need beside the scores.

Written once by the evaluation, and rendered again by the promotion when the gate has spoken. What
a page looks like is ``stores.reports``'s affair.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assets.stages.candidates import load_candidate
from assets.stages.snapshots import read_snapshot
from models.contracts.base import Frozen
from models.contracts.product import JUDGED, LABEL, ModelProduct
from models.contracts.results import Evaluation, GateDecision
from models.kinds import Learned, kind_of
from models.registry import load_learner
from stores.home import Home

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from models.contracts.results import Candidate
    from models.kinds import Model, Tables
    from stores.reports import Curves, LearningCurve

EXTRAS, WATCHED = "extras.json", "watched.parquet"


class Extras(Frozen):
    """What is measured for the page only: the challenger's learning curve, where it has one."""

    curve: Learned | None


def write_pages(
    product: ModelProduct,
    home: Home,
    evaluation: Evaluation,
    folder: Path,
    judged: tuple[Model, Tables],
) -> None:
    """Measure what only the pages show, and write them beside ``watched.parquet``.

    Args:
        product: The product.
        home: Where results are kept.
        evaluation: What was found.
        folder: The evaluation's folder, not yet in its place.
        judged: The loaded challenger and the snapshot's tables.
    """
    import pandas as pd

    from stores.reports.evidently_report import write_evidently

    challenger, tables = judged
    trial = next(trial for trial in product.trials if trial.name == challenger.candidate.trial)
    learned = kind_of(product.contract).learned(product, load_learner(product), trial, tables)
    (folder / EXTRAS).write_text(Extras(curve=learned).model_dump_json(indent=1), encoding="utf-8")
    watched = pd.read_parquet(folder / WATCHED)
    write_evidently(
        folder / "evidently.html",
        tables.holdout[tables.holdout[JUDGED]],
        tables.train,
        columns=product.data.names,
        labels=watched[LABEL].to_numpy(float),
        scores=watched[evaluation.challenger].to_numpy(float),
        threshold=challenger.candidate.threshold,
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

    watched = pd.read_parquet(folder / WATCHED)
    labels = watched[LABEL].to_numpy(float)
    shown = watched[evaluation.challenger].to_numpy(float)
    manifests = {c: load_candidate(product, home, c) for c in evaluation.scorecards}
    threshold = manifests[evaluation.challenger].threshold
    data = ReportData(
        title=product.title,
        evaluation_id=evaluation.evaluation_id,
        metric=product.gate.metric,
        positive=product.name.replace("_", " "),
        level=1 - 2 * product.gate.alpha,
        snapshot=read_snapshot(product, home, evaluation.snapshot_id),
        challenger=evaluation.challenger,
        champion=evaluation.champion,
        scorecards=list(evaluation.scorecards.values()),
        candidates=list(manifests.values()),
        curves=_curves(evaluation, manifests, watched),
        confusion=confusion(labels, shown, threshold),
        classes=classification_report(labels, shown, threshold),
        learning=_learning(product, evaluation, folder),
        decision=decision,
    )
    write_report(folder, data)


def _curves(
    evaluation: Evaluation, manifests: Mapping[str, Candidate], watched: pd.DataFrame
) -> list[Curves]:
    """Every model's watched scores as the plots want them."""
    from stores.reports import Curves
    from stores.reports.tables import model_names, role

    names = model_names(list(evaluation.scorecards.values()))
    labels = watched[LABEL].to_numpy(float)
    return [
        Curves(
            names[c],
            labels,
            watched[c].to_numpy(float),
            manifests[c].threshold,
            role(c, evaluation.challenger, evaluation.champion),
        )
        for c in evaluation.scorecards
    ]


def _learning(product: ModelProduct, evaluation: Evaluation, folder: Path) -> list[LearningCurve]:
    """What ``write_pages`` measured, as the page wants it."""
    from stores.reports import LearningCurve

    extras = Extras.model_validate_json((folder / EXTRAS).read_text(encoding="utf-8"))
    if extras.curve is None:
        return []
    return [
        LearningCurve(
            name=evaluation.scorecards[evaluation.challenger].trial,
            metric=product.gate.metric,
            sizes=extras.curve.rows,
            train=extras.curve.train,
            train_sd=extras.curve.train_sd,
            validation=extras.curve.validation,
            validation_sd=extras.curve.validation_sd,
        )
    ]
