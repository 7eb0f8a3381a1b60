"""Judges every candidate and the serving champion on the same holdout rows.

The challenger was picked by cross-validation before the holdout is read. Metrics, intervals and
slices are ``models.core.evaluation``'s; the pages are ``stores.reports``'s.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from assets.code_version import code_version
from assets.stages.candidates import load_candidate
from assets.stages.common import (
    learner_module,
    picture,
    slice_columns,
    stage_asset,
    stage_key,
    table,
)
from assets.stages.comparisons import folds_table, tenants_table
from assets.stages.pages import write_pages
from models.contracts.api import GoldenSet, to_rows
from models.contracts.monitoring import ReferenceProfile
from models.contracts.product import EVENT_ID, EVENT_TIME, JUDGED, LABEL, TENANT, ModelProduct
from models.contracts.results import Candidate, CandidateSet, Evaluation, Scorecard, Snapshot
from models.core.signing import ensure_keypair
from models.registry import load_learner
from stores.files import settle, unnamed_folder
from stores.home import Home
from stores.ledger import Ledger
from stores.tracking import Tracking

if TYPE_CHECKING:
    import pandas as pd

    from models.contracts.learner import Matrix, Predictor, Vector

#: What the judged rows looked like, beside ``evaluation.json``: monitoring compares traffic to it.
PROFILE = "profile.json"
GOLDEN_ROWS = 32
LATENCY_CALLS = 400


class Judged(NamedTuple):
    """One model on the holdout."""

    candidate: Candidate
    predictor: "Predictor"
    scores: "Vector"
    card: Scorecard


def evaluate(
    product: ModelProduct, home: Home, tracking: Tracking, say: Callable[[str], object]
) -> Evaluation:
    """Score the newest candidates and the champion, and keep everything the gate will need."""
    from models.core.evaluation import pick_challenger

    listed = CandidateSet.model_validate_json(
        home.candidate_set(product, home.require_latest(product, "candidates")).read_text()
    )
    release = Ledger(home.ledger(product)).current()
    champion = release.candidate_id if release else None
    manifests = [load_candidate(product, home, c) for c in listed.candidates]
    challenger = pick_challenger(manifests, product.gate.metric).candidate_id
    ids = list(dict.fromkeys([*listed.candidates, *([champion] if champion else [])]))
    rows = judged_rows(product, home, listed.snapshot_id)
    judged = {c: judge(product, home, c, rows) for c in ids}
    for one in judged.values():
        found = one.card.metrics["overall"][product.gate.metric]
        say(f"{one.candidate.trial}: {product.gate.metric} {found.value:.4f} "
            f"[{found.low:.4f}, {found.high:.4f}]")  # fmt: skip
    evaluation = Evaluation(
        product=product.key,
        evaluation_id=_identity(product, listed.snapshot_id, ids, champion),
        snapshot_id=listed.snapshot_id,
        challenger=challenger,
        champion=champion,
        scorecards={c: one.card for c, one in judged.items()},
    )
    _keep(product, home, evaluation, rows, judged)
    _track(home, product, tracking, listed, evaluation)
    home.set_latest(product, "evaluation", evaluation.evaluation_id)
    return evaluation


def judged_rows(product: ModelProduct, home: Home, snapshot_id: str) -> "pd.DataFrame":
    """The holdout rows that may judge a model, in time order."""
    import pandas as pd

    frame = pd.read_parquet(home.dataset(product, snapshot_id) / "holdout.parquet")
    return frame[frame[JUDGED]].reset_index(drop=True)


def judge(product: ModelProduct, home: Home, candidate_id: str, rows: "pd.DataFrame") -> Judged:
    """Load one verified model and measure it."""
    from models.core.artifact import load
    from models.core.evaluation import Holdout, scorecard
    from models.core.frames import labels, matrix

    folder = home.candidate(product, candidate_id)
    _, public_key = ensure_keypair(home.keys)
    candidate, predictor = load(folder, public_key, load_learner(product))
    inputs = matrix(rows, candidate.columns)
    scores = predictor.predict(inputs)
    slices = {c: rows[c].to_numpy(bool) for c in slice_columns(rows)}
    card = scorecard(
        candidate_id,
        candidate.trial,
        scores,
        Holdout(labels(rows), rows[TENANT].to_numpy(str), slices),
        candidate.threshold,
        latency_ms=_latency(predictor, inputs),
        size_bytes=sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
        importance=dict(predictor.importance()),
        alpha=product.gate.alpha,
    )
    return Judged(candidate, predictor, scores, card)


def _latency(predictor: "Predictor", inputs: "Matrix") -> tuple[float, float]:
    """Median and p95 of single-row predictions in milliseconds of CPU time, all threads.

    Not wall time: a gate must not depend on what else ran on this machine. Roll-outs and the
    latency benchmark measure wall time on the service.
    """
    import numpy as np

    taken = []
    for number in range(LATENCY_CALLS):
        row = inputs[number % len(inputs)][None, :]
        begun = time.process_time_ns()
        predictor.predict(row)
        taken.append((time.process_time_ns() - begun) / 1e6)
    p50, p95 = np.quantile(taken, (0.5, 0.95))
    return float(p50), float(p95)


def _identity(product: ModelProduct, snapshot_id: str, ids: list[str], champion: str | None) -> str:
    text = json.dumps([snapshot_id, ids, champion, code_version(__name__), product.gate.metric])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _keep(
    product: ModelProduct,
    home: Home,
    evaluation: Evaluation,
    rows: "pd.DataFrame",
    judged: dict[str, Judged],
) -> None:
    """Write scores, golden requests, profile and reports in one step under the evaluation's id."""
    import numpy as np

    from models.core.frames import labels
    from models.core.slices import enough_rows

    columns = [EVENT_ID, TENANT, LABEL, *slice_columns(rows)]
    kept = rows[columns].assign(**{c: one.scores for c, one in judged.items()})
    challenger = judged[evaluation.challenger]
    with unnamed_folder(home.evaluation(product, "-").parent) as aside:
        kept.to_parquet(aside / "scores.parquet")
        (aside / "evaluation.json").write_text(evaluation.model_dump_json(indent=1))
        (aside / "golden.json").write_text(golden(product, rows, challenger).model_dump_json())
        # with fewer rows, or one score for all, the gate releases nothing
        if enough_rows(labels(rows)) and np.ptp(challenger.scores) > 0:
            profile = profile_of(product, evaluation, challenger.candidate, rows, challenger.scores)
            (aside / PROFILE).write_text(profile.model_dump_json())
        write_pages(product, home, evaluation, aside, (rows, challenger.predictor))
        settle(aside, home.evaluation(product, evaluation.evaluation_id))


def golden(product: ModelProduct, rows: "pd.DataFrame", one: Judged) -> GoldenSet:
    """Requests spread over the holdout with the answers the model gave here."""
    import numpy as np

    from models.core.frames import matrix

    known = np.flatnonzero(rows[TENANT].isin(one.candidate.tenants))
    chosen = known[np.linspace(0, len(known) - 1, min(GOLDEN_ROWS, len(known))).astype(int)]
    inputs = matrix(rows.iloc[chosen], product.data.names)
    tenants = rows[TENANT].iloc[chosen].tolist()
    return GoldenSet(
        rows=to_rows(product, inputs, tenants), expected=tuple(one.predictor.predict(inputs))
    )


def profile_of(
    product: ModelProduct,
    evaluation: Evaluation,
    candidate: Candidate,
    rows: "pd.DataFrame",
    scores: "Vector",
) -> ReferenceProfile:
    """The reference profile of one judged model, from the rows it was judged on."""
    from models.core.frames import labels, matrix
    from models.core.profile import build_profile
    from models.core.slices import OVERALL

    names = product.data.names
    return build_profile(
        product.key,
        evaluation.evaluation_id,
        candidate.candidate_id,
        matrix(rows, names),
        names,
        scores,
        labels(rows),
        rows[EVENT_TIME].to_numpy("datetime64[us]"),
        evaluation.scorecards[candidate.candidate_id].metrics[OVERALL],
        candidate.threshold,
    )


def _track(
    home: Home,
    product: ModelProduct,
    tracking: Tracking,
    listed: CandidateSet,
    evaluation: Evaluation,
) -> None:
    folder = home.evaluation(product, evaluation.evaluation_id)
    step = int(evaluation.evaluation_id[:7], 16)
    for candidate_id, run in listed.runs.items():
        pages = [folder / "report.html"] if candidate_id == evaluation.challenger else []
        tracking.log_evaluation(run, evaluation.scorecards[candidate_id], pages, step)


def build(product: ModelProduct) -> dg.AssetsDefinition:
    """The evaluation asset."""

    @stage_asset(
        product,
        "evaluation",
        after=stage_key(product, "candidates"),
        modules=(__name__, learner_module(product)),
        salt=product.gate.metric,
        kinds={"evidently", "python"},
    )
    def evaluation(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        tracking: dg.ResourceParam[Tracking],
    ) -> dg.MaterializeResult[None]:
        """Candidates and champion on the same holdout: intervals, slices, calibration, latency."""
        found = evaluate(product, home, tracking, context.log.info)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(found.evaluation_id),
            metadata=_metadata(product, home, found),
        )

    return evaluation


def _metadata(product: ModelProduct, home: Home, found: Evaluation) -> dict[str, Any]:
    from stores.reports import forest, tables

    manifest = home.dataset(product, found.snapshot_id) / "manifest.json"
    snapshot = Snapshot.model_validate_json(manifest.read_text())
    cards, metric = list(found.scorecards.values()), product.gate.metric
    manifests = [load_candidate(product, home, c) for c in found.scorecards]
    challenger = found.scorecards[found.challenger]
    champion = found.scorecards[found.champion] if found.champion else None
    compared = tables.candidates_table(cards, manifests, found.challenger, found.champion, metric)
    report, evidently = (
        dg.MetadataValue.url(home.page_url(product, found.evaluation_id, name))
        for name in ("report.html", "evidently.html")
    )
    return {
        "challenger": challenger.trial,
        "judged rows": snapshot.judged_rows,
        "candidates": table(compared),
        "slices": table(tables.slices_table(challenger, champion, metric)),
        "over folds": table(folds_table(product, snapshot, manifests)),
        "over tenants": table(tenants_table(product, cards)),
        "report": report,
        "evidently": evidently,
        "path": dg.MetadataValue.path(str(home.evaluation(product, found.evaluation_id))),
        "slices plot": picture(forest.slices(challenger, champion, metric, dpi=60), "slices"),
    }
