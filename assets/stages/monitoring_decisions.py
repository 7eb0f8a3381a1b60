"""What the monitoring stage fetches for the rules: profiles, verdicts, both models on one traffic.

The rules are ``models.core.retraining`` and ``models.core.rollback``.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from assets.stages.candidates import load_candidate
from assets.stages.evaluation import profile_of
from assets.stages.kept import candidate_file, find_candidate_file, read_watched
from assets.stages.monitoring_traffic import newer_rows
from assets.stages.monitoring_window import Judge
from assets.stages.snapshots import load_model, read_snapshot
from models.contracts.monitoring import (
    ReferenceProfile,
    RetrainDecision,
    RollbackDecision,
    VersionWindow,
    WindowReport,
)
from models.contracts.product import ModelProduct
from models.contracts.results import Estimate, Evaluation, Release
from models.kinds import kind_of
from stores.files import write_atomic
from stores.home import Home
from stores.ledger import Ledger

if TYPE_CHECKING:
    from models.contracts.learner import Matrix, Vector
    from models.core.rollback import SameRows, Standing

#: Newest rows of the champion's traffic that the release before it is scored on.
MAX_COMPARED = 20_000


def load_profile(product: ModelProduct, home: Home, release: Release) -> ReferenceProfile | None:
    """The profile kept with the release's evaluation, made again where the file is gone."""
    folder = home.evaluation(product, release.evaluation_id)
    path = find_candidate_file(folder, "profile", release.candidate_id)
    if path.exists():
        return ReferenceProfile.model_validate_json(path.read_bytes())
    evaluation = Evaluation.model_validate_json((folder / "evaluation.json").read_bytes())
    candidate = load_candidate(product, home, release.candidate_id)
    watched = read_watched(product, folder, release.candidate_id)
    profile = profile_of(product, evaluation, candidate, watched)
    if profile:
        write_atomic(
            candidate_file(folder, "profile", release.candidate_id), profile.model_dump_json()
        )
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
        as_of = read_snapshot(product, home, champion.snapshot_id).as_of
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

    standing, previous = _standing(ledger, clock), ledger.previous()
    policy = judge.product.monitoring
    reason = barred(standing, policy) or (previous and _not_comparable(judge, standing, previous))
    if previous is None or reason:
        return kept(standing, reason or "")
    try:
        same = _same_rows(judge, home, standing.champion, previous)
    except ArtifactError as error:
        return kept(standing, f"the release before cannot be loaded: {error}")
    if same is None:
        return kept(standing, "the log does not hold what this product's models read: not compared")
    return decide(standing, judge.product.gate, policy, same)


def _not_comparable(judge: Judge, standing: "Standing", previous: Release) -> str:
    """Why the two releases cannot be compared on traffic; empty when they can."""
    product = judge.product
    if product.serving.log_inputs != "values":
        return "the log keeps no inputs (serving.log_inputs): nothing to compare on"
    new, old = judge.profile(standing.champion), judge.profile(previous.version)
    if new is None or old is None:
        return "released while monitoring ran: compared the next time"
    if new.names != product.data.names or not set(old.names) <= set(new.names):
        return "the two releases and the product have other inputs: not comparable"
    return ""


def _standing(ledger: Ledger, clock: datetime) -> "Standing":
    """What the ledger says of champion and previous release."""
    from models.core.rollback import Standing

    champion, previous = ledger.current(), ledger.previous()
    moved, automatic = ledger.moved(), None
    for entry in ledger.entries():
        if entry.kind == "rollback" and entry.body.get("automatic"):
            automatic = entry.at
    return Standing(
        champion=champion.version if champion else "none",
        previous=previous.version if previous else None,
        released_at=moved.at if moved and moved.kind != "rollback" else None,
        last_rollback_at=automatic,
        now=clock,
    )


def _same_rows(judge: Judge, home: Home, version: str, release: Release) -> "SameRows | None":
    """Both models on the newest rows that the champion answered, and on the newest with outcomes.

    Outcomes come late: where traffic is dense, none of the newest rows has its own yet. None where
    the logged inputs are not what a model of this kind reads.
    """
    from models.core.rollback import SameRows
    from models.core.slices import Scores

    product = judge.product
    new, old = judge.profile(version), judge.profile(release.version)
    if new is None or old is None:
        return None
    rescore, parts = _scorer(product, home, release), []
    for outcomes in (False, True):
        rows, inputs = judge.traffic.newest_rows(
            version, MAX_COMPARED, len(product.data.names), outcomes=outcomes
        )
        mine = rows["score"].to_numpy().astype(float)
        theirs = rescore(inputs) if len(inputs) else mine
        if theirs is None:
            return None
        parts.append((rows["label"].to_numpy().astype(float), mine, theirs))
    (_, mine, theirs), known = parts
    mine_now, theirs_now = _estimate(product, mine, new), _estimate(product, theirs, old)
    both = None if mine_now is None or theirs_now is None else (mine_now, theirs_now)
    return SameRows(len(mine), Scores(*known, (new.threshold, old.threshold)), both)


def _scorer(
    product: ModelProduct, home: Home, release: Release
) -> "Callable[[Matrix], Vector | None]":
    """What another release says of logged inputs; verified before it is loaded."""
    kind, model = kind_of(product.contract), load_model(product, home, release.candidate_id)
    return lambda inputs: kind.rescore(product, model, inputs)


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
