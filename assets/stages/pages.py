"""The pages of an evaluation: our report, Evidently's, and what they need beside the scores.

Written once by the evaluation, and rendered again by the promotion when the gate has spoken. What
a page looks like is ``stores.reports``'s affair.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assets.stages.candidates import load_candidate
from assets.stages.comparisons import average_ranks, every_pair, label_rows, model_answers
from assets.stages.kept import SCORES, read_watched
from assets.stages.snapshots import read_snapshot
from models.contracts.base import Frozen
from models.contracts.product import JUDGED, ModelProduct
from models.contracts.results import Evaluation, GateDecision
from models.kinds import Learned, kind_of
from models.registry import load_learner
from stores.home import Home
from stores.reports import LabelRow, Pair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.contracts.results import Candidate
    from models.kinds import Model, Tables
    from stores.reports import Curves, LearningCurve

EXTRAS = "extras.json"


class Extras(Frozen):
    """What is measured for the page only.

    Attributes:
        curve: The challenger's learning curve, where it has one.
        pairs: Any two models but forms, which are tested against their originals by the gate.
        labels: Challenger and champion label by label.
    """

    curve: Learned | None
    pairs: tuple[Pair, ...] = ()
    labels: tuple[LabelRow, ...] = ()


def write_pages(
    product: ModelProduct,
    home: Home,
    evaluation: Evaluation,
    folder: Path,
    judged: tuple[Model, Tables],
) -> None:
    """Measure what only the pages show, and write them beside the scores.

    Args:
        product: The product.
        home: Where results are kept.
        evaluation: What was found.
        folder: The evaluation's folder, not yet in its place.
        judged: The loaded challenger and the snapshot's tables.
    """
    from stores.reports.evidently_report import write_evidently

    challenger, tables = judged
    trial = next(trial for trial in product.trials if trial.name == challenger.candidate.trial)
    learned = kind_of(product.contract).learned(product, load_learner(product), trial, tables)
    extras = measure_extras(product, home, evaluation, folder, learned)
    (folder / EXTRAS).write_text(extras.model_dump_json(indent=1), encoding="utf-8")
    watched = read_watched(product, folder, evaluation.challenger)
    write_evidently(
        folder / "evidently.html",
        tables.holdout[tables.holdout[JUDGED]],
        tables.train,
        columns=product.data.names,
        labels=watched.labels,
        scores=watched.scores,
        threshold=challenger.candidate.threshold,
    )
    write_report_page(product, home, evaluation, folder, None)


def measure_extras(
    product: ModelProduct,
    home: Home,
    evaluation: Evaluation,
    folder: Path,
    learned: Learned | None,
) -> Extras:
    """Compare the models by the answers that lie in the evaluation's folder."""
    import pandas as pd

    from stores.reports.tables import model_names

    units = pd.read_parquet(folder / SCORES)
    names = model_names(list(evaluation.scorecards.values()))
    manifests = {c: load_candidate(product, home, c) for c in evaluation.scorecards}
    answered = {c: (manifests[c], model_answers(units, c)) for c in manifests}
    main = dict.fromkeys([evaluation.challenger, evaluation.champion or evaluation.challenger])
    return Extras(
        curve=learned,
        pairs=tuple(
            every_pair(
                product,
                units,
                {names[c]: one for c, one in answered.items() if not manifests[c].form},
            )
        ),
        labels=tuple(label_rows(product, units, {names[c]: answered[c] for c in main})),
    )


def write_report_page(
    product: ModelProduct,
    home: Home,
    evaluation: Evaluation,
    folder: Path,
    decision: GateDecision | None,
) -> None:
    """Render ``report.html`` from what lies in the evaluation's folder."""
    from models.core.metrics import METRICS, classification_report, confusion
    from stores.reports import ReportData
    from stores.reports.page import write_report
    from stores.reports.training_plot import of_candidates

    shown = read_watched(product, folder, evaluation.challenger)
    manifests = {c: load_candidate(product, home, c) for c in evaluation.scorecards}
    cards, candidates = list(evaluation.scorecards.values()), list(manifests.values())
    threshold, metric = manifests[evaluation.challenger].threshold, product.gate.metric
    extras = Extras.model_validate_json((folder / EXTRAS).read_text(encoding="utf-8"))
    curves = _curves(product, evaluation, manifests, folder)
    decides = not METRICS[metric].per_user  # a ranking decides about no row
    data = ReportData(
        title=product.title,
        evaluation_id=evaluation.evaluation_id,
        metric=metric,
        positive=_positive(product, decides=decides),
        level=1 - 2 * product.gate.alpha,
        snapshot=read_snapshot(product, home, evaluation.snapshot_id),
        challenger=evaluation.challenger,
        champion=evaluation.champion,
        scorecards=cards,
        candidates=candidates,
        curves=curves if decides else (),
        probabilities=curves,
        confusion=confusion(shown.labels, shown.scores, threshold) if decides else None,
        classes=classification_report(shown.labels, shown.scores, threshold) if decides else (),
        learning=_learning(product, evaluation, extras),
        training=of_candidates(candidates),
        labels=extras.labels,
        pairs=extras.pairs,
        ranks=average_ranks(metric, product.gate.alpha, cards, candidates),
        decision=decision,
    )
    write_report(folder, data)


def _positive(product: ModelProduct, *, decides: bool) -> str:
    """What the watched probability is of, in words."""
    if not decides:
        return "a hit"
    return (product.data.labels or (product.name,))[0].replace("_", " ")


def _curves(
    product: ModelProduct, evaluation: Evaluation, manifests: Mapping[str, Candidate], folder: Path
) -> list[Curves]:
    """Every model's watched scores as the plots want them."""
    from stores.reports import Curves
    from stores.reports.tables import model_names, role

    names = model_names(list(evaluation.scorecards.values()))
    seen = {c: read_watched(product, folder, c) for c in evaluation.scorecards}
    return [
        Curves(
            names[c],
            one.labels,
            one.scores,
            manifests[c].threshold,
            role(c, evaluation.challenger, evaluation.champion),
        )
        for c, one in seen.items()
    ]


def _learning(product: ModelProduct, evaluation: Evaluation, extras: Extras) -> list[LearningCurve]:
    """What ``write_pages`` measured, as the page wants it."""
    from stores.reports import LearningCurve

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
