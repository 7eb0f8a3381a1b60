"""What the monitoring stage fetches for the rules: profiles, verdicts, both models on one traffic.

The rules are ``models.core.retraining`` and ``models.core.rollback``.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from assets.stages.evaluation import PROFILE, judged_rows, profile_of
from assets.stages.monitoring_traffic import newer_rows
from assets.stages.monitoring_window import Judge
from models.contracts.monitoring import (
    ReferenceProfile,
    RetrainDecision,
    RollbackDecision,
    VersionWindow,
    WindowReport,
)
from models.contracts.product import ModelProduct
from models.contracts.results import Candidate, Estimate, Evaluation, Release, Snapshot
from models.core.signing import ensure_keypair
from models.registry import load_learner
from stores.files import write_atomic
from stores.home import Home
from stores.ledger import Ledger

if TYPE_CHECKING:
    from models.contracts.learner import Matrix, Vector
    from models.core.rollback import SameRows, Standing

#: Newest rows of the champion's traffic that the release before it is scored on.
MAX_COMPARED = 20_000


def load_profile(product: ModelProduct, home: Home, release: Release) -> ReferenceProfile:
    """The profile kept with the release's evaluation.

    An evaluation from before profiles gets one from its scores and its snapshot, by the same
    function, and keeps it.
    """
    import pandas as pd

    folder = home.evaluation(product, release.evaluation_id)
    path = folder / PROFILE
    if path.exists():
        return ReferenceProfile.model_validate_json(path.read_bytes())
    evaluation = Evaluation.model_validate_json((folder / "evaluation.json").read_bytes())
    manifest = home.candidate(product, release.candidate_id) / "manifest.json"
    scores = pd.read_parquet(folder / "scores.parquet")[release.candidate_id].to_numpy(float)
    profile = profile_of(
        product,
        evaluation,
        Candidate.model_validate_json(manifest.read_bytes()),
        judged_rows(product, home, release.snapshot_id),
        scores,
    )
    write_atomic(path, profile.model_dump_json())
    return profile


def standing_windows(
    reports: Sequence[WindowReport], champion: Release | None
) -> list[tuple[datetime, VersionWindow]]:
    """The champion's part of each window, newest last."""
    return [
        (report.start, one)
        for report in reports
        for one in report.versions
        if champion and one.version == champion.version
    ]


def retrain(
    product: ModelProduct,
    home: Home,
    ledger: Ledger,
    judged: Sequence[tuple[datetime, VersionWindow]],
    clock: datetime,
) -> RetrainDecision:
    """Ask the retrain rule; a window that was asked for once is not asked for again."""
    from models.core.retraining import Seen, decide

    champion, last = ledger.current(), ledger.newest("retrain")
    new_rows = 0
    if champion:
        manifest = home.dataset(product, champion.snapshot_id) / "manifest.json"
        as_of = Snapshot.model_validate_json(manifest.read_bytes()).as_of
        new_rows = newer_rows(home, product, as_of)
    decision = decide(
        [Seen(start, one.verdict) for start, one in judged],
        product.monitoring,
        new_rows=new_rows,
        last_retrain_at=last.at if last else None,
        now=clock,
    )
    if decision.retrain and decision.window:
        named = decision.window.isoformat()  # as in the run key: whoever was champion then
        for entry in ledger.entries():
            if entry.kind == "retrain" and entry.body["window"] == named:
                said = f"retraining on this window was asked for at {entry.at:%Y-%m-%d %H:%M} UTC"
                return decision.model_copy(update={"retrain": False, "reason": said})
    return decision


def rollback(judge: Judge, home: Home, ledger: Ledger, clock: datetime) -> RollbackDecision:
    """Score the release before the champion on the champion's traffic and ask the rollback rule."""
    from models.core.artifact import ArtifactError
    from models.core.rollback import barred, decide, kept

    product, standing = judge.product, _standing(ledger, clock)
    previous = ledger.previous()
    if previous is None or barred(standing, product.monitoring):
        return kept(standing, barred(standing, product.monitoring) or "")
    if product.serving.log_inputs != "values":
        return kept(standing, "the log keeps no inputs (serving.log_inputs): nothing to compare on")
    new, old = judge.profile(standing.champion), judge.profile(previous.version)
    if new is None or old is None:
        return kept(standing, "released while monitoring ran: compared the next time")
    if new.names != product.data.names or not set(old.names) <= set(new.names):
        return kept(standing, "the two releases and the product have other inputs: not comparable")
    try:
        same = _same_rows(judge, home, (standing.champion, new), (previous, old))
    except ArtifactError as error:
        return kept(standing, f"the release before cannot be loaded: {error}")
    return decide(standing, product.gate, product.monitoring, same)


def _standing(ledger: Ledger, clock: datetime) -> "Standing":
    """What the ledger says of champion and previous release."""
    from models.core.rollback import Standing

    champion, previous = ledger.current(), ledger.previous()
    moved, automatic = ledger.newest("release", "rollback"), None
    for entry in ledger.entries():
        if entry.kind == "rollback" and entry.body.get("automatic"):
            automatic = entry.at
    return Standing(
        champion=champion.version if champion else "none",
        previous=previous.version if previous else None,
        released_at=moved.at if moved and moved.kind == "release" else None,
        last_rollback_at=automatic,
        now=clock,
    )


def _same_rows(
    judge: Judge,
    home: Home,
    champion: tuple[str, ReferenceProfile],
    previous: tuple[Release, ReferenceProfile],
) -> "SameRows":
    """Both models on the newest rows that the champion answered, and on the newest with outcomes.

    Outcomes come late: where traffic is dense, none of the newest rows has its own yet.
    """
    from models.core.rollback import SameRows
    from models.core.slices import Scores

    product, (version, new), (release, old) = judge.product, champion, previous
    rescore, parts = _scorer(product, home, release), []
    for outcomes in (False, True):
        rows, inputs = judge.traffic.newest_rows(
            version, MAX_COMPARED, len(product.data.names), outcomes=outcomes
        )
        mine = rows["score"].to_numpy().astype(float)
        theirs = rescore(inputs) if len(inputs) else mine
        parts.append((rows["label"].to_numpy().astype(float), mine, theirs))
    (_, mine, theirs), known = parts
    mine_now, theirs_now = _estimate(product, mine, new), _estimate(product, theirs, old)
    both = None if mine_now is None or theirs_now is None else (mine_now, theirs_now)
    return SameRows(len(mine), Scores(*known, (new.threshold, old.threshold)), both)


def _scorer(product: ModelProduct, home: Home, release: Release) -> "Callable[[Matrix], Vector]":
    """What another release says of rows; verified before it is loaded."""
    import numpy as np

    from models.core.artifact import load

    _, public_key = ensure_keypair(home.keys)
    folder = home.candidate(product, release.candidate_id)
    candidate, predictor = load(folder, public_key, load_learner(product))
    places = [product.data.names.index(name) for name in candidate.columns]
    return lambda inputs: predictor.predict(np.ascontiguousarray(inputs[:, places]))


def _estimate(
    product: ModelProduct, scores: "Vector", profile: ReferenceProfile
) -> Estimate | None:
    """The gate metric without labels, when it can be estimated at all."""
    from models.core.label_free import ESTIMABLE, estimate

    gate = product.gate
    if gate.metric not in ESTIMABLE or not len(scores):
        return None
    found = estimate(
        scores, profile.recalibration, profile.threshold, [gate.metric], alpha=gate.alpha
    )
    return found[gate.metric]
