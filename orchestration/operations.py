"""What a person may do with a product: approve, roll back, ask for versions, judge performance.

Every act is a ledger entry first; aliases and services follow the ledger. No printing here.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping

from pydantic import JsonValue

from assets.stages.approval import newest_approval
from assets.stages.design import reason_of
from assets.stages.service import roll_out
from models.contracts.base import Frozen
from models.contracts.product import ModelProduct
from models.contracts.results import Evaluation, Release, Snapshot
from orchestration.resources import build_deployer
from orchestration.settings import Settings
from stores.deployer import Deployer, Rollout
from stores.ledger import Entry, Ledger, LedgerError


class Explanation(Frozen):
    """The decision record of a product, from data hash to traffic."""

    product: str
    release: Release | None
    snapshot: Snapshot | None
    evaluation: Evaluation | None
    history: tuple[Entry, ...]


def ledger_of(product: ModelProduct, settings: Settings) -> Ledger:
    """The product's ledger."""
    return Ledger(settings.home_paths().ledger(product))


def approve(product: ModelProduct, settings: Settings, by: str) -> Entry:
    """Let a named person approve the challenger that waits for it.

    Raises:
        LedgerError: Nothing waits, it is approved already, or the time for it has passed.
    """
    ledger = ledger_of(product, settings)
    newest = settings.home_paths().latest(product, "evaluation")
    asked = newest_approval(product, ledger, newest)
    if asked is None:
        raise LedgerError(f"{product.key}: nothing waits for approval; see `assay status`")
    if not asked.pending:
        raise LedgerError(f"{product.key}: {asked.sentence(product)}")
    if not by.strip():
        raise LedgerError(f"{product.key}: an approval needs the name of a person")
    body: dict[str, JsonValue] = {
        "candidate_id": asked.candidate_id,
        "evaluation_id": asked.evaluation_id,
        "by": by.strip(),
    }
    return ledger.append("approval", body)


def go_to(
    product: ModelProduct,
    settings: Settings,
    to_version: str | None,
    reason: str,
    say: Callable[[str], object],
    *,
    by: str | None = None,
    automatic: bool = False,
    deployer: Deployer | None = None,
) -> Rollout:
    """Serve an earlier (or later) release instead of the current one.

    Safe to repeat: when a rollback stands in the ledger and was not finished (a crash, a service
    that did not start), asking again finishes that one instead of going back further.

    Args:
        product: The product.
        settings: Where everything is.
        to_version: A release of the ledger, earlier or later; None: the one that served before.
        reason: Kept in the ledger.
        say: Receives progress.
        by: Who asked; None means the user of this process.
        automatic: Monitoring asked, no person; the ledger says so, and the cooldown sees it.
        deployer: Rolls the service out; None means this machine's.

    Raises:
        LedgerError: There is nothing to go back to, no such release, or it serves already.
        RolloutError: It did not answer as it did offline; the ledger keeps the intent and
            `assay serve` tries again.
    """
    ledger = ledger_of(product, settings)
    current = ledger.current()
    target = _target(ledger, to_version)
    if current is None or target is None:
        raise LedgerError(f"{product.key}: no earlier release to go back to")
    if target != current:
        body = _intent(current, target, by or getpass.getuser(), reason, automatic=automatic)
        ledger.append("rollback", body, while_serving=current.version)
    elif ledger.rolled_out() == target.version:
        _point_aliases(product, settings)
        raise LedgerError(f"{product.key}: {target.version} is what serves already")
    # traffic first: a registry that is down must not keep a bad release serving
    done = roll_out(product, settings.home_paths(), deployer or build_deployer(settings), say)
    _point_aliases(product, settings)
    return done


def _intent(
    current: Release, target: Release, by: str, reason: str, *, automatic: bool
) -> dict[str, JsonValue]:
    """A rollback as the ledger keeps it."""
    body: dict[str, JsonValue] = {
        "from_version": current.version,
        "to_version": target.version,
        "by": by,
        "reason": reason,
    }
    return {**body, "automatic": True} if automatic else body


def _point_aliases(product: ModelProduct, settings: Settings) -> None:
    ledger = ledger_of(product, settings)
    settings.tracking().point_aliases(product, ledger.current(), ledger.previous())


def _target(ledger: Ledger, to_version: str | None) -> Release | None:
    """The release to serve; a rollback that was not finished is finished first."""
    if to_version:
        return ledger.release(to_version)
    moved, current = ledger.moved(), ledger.current()
    if moved and moved.kind == "rollback" and current and ledger.rolled_out() != current.version:
        return current
    return ledger.previous()


def explain(product: ModelProduct, settings: Settings) -> Explanation:
    """Everything behind what serves, or, without a release, behind the last refusal."""
    home, ledger = settings.home_paths(), ledger_of(product, settings)
    release = ledger.current()
    identity = release.evaluation_id if release else home.latest(product, "evaluation")
    evaluation = snapshot = None
    if identity:
        text = (home.evaluation(product, identity) / "evaluation.json").read_text()
        evaluation = Evaluation.model_validate_json(text)
        manifest = home.dataset(product, evaluation.snapshot_id) / "manifest.json"
        snapshot = Snapshot.model_validate_json(manifest.read_text())
    return Explanation(
        product=product.key,
        release=release,
        snapshot=snapshot,
        evaluation=evaluation,
        history=ledger.entries(),
    )


class Version(Frozen):
    """One release with the figures it was released on.

    Attributes:
        semver_reason: Why its semantic version is the one it is.
    """

    release: Release
    semver_reason: str
    aliases: tuple[str, ...]
    metrics: dict[str, tuple[float, float, float]]


def versions(product: ModelProduct, settings: Settings) -> list[Version]:
    """Every release, newest first, with value, low and high of each holdout metric."""
    home, ledger = settings.home_paths(), ledger_of(product, settings)
    named = {
        "champion": ledger.current(),
        "previous": ledger.previous(),
        "staged": ledger.staged(),
    }
    found = []
    for release in reversed(ledger.releases()):
        text = (home.evaluation(product, release.evaluation_id) / "evaluation.json").read_text()
        card = Evaluation.model_validate_json(text).scorecards[release.candidate_id]
        metrics = {n: (e.value, e.low, e.high) for n, e in card.metrics["overall"].items()}
        aliases = tuple(name for name, other in named.items() if other == release)
        why = reason_of(product, home, release.evaluation_id, release.candidate_id)
        found.append(Version(release=release, semver_reason=why, aliases=aliases, metrics=metrics))
    return found


def best(product: ModelProduct, settings: Settings, metric: str) -> list[Version]:
    """Releases that may be the best by a metric: those whose interval reaches the best value.

    Raises:
        LedgerError: No release, or none was measured by this metric.
    """
    from models.core.metrics import METRICS

    measured = [v for v in versions(product, settings) if metric in v.metrics]
    if not measured:
        raise LedgerError(f"{product.key}: no release was measured by {metric!r}")
    if METRICS[metric].higher_is_better:
        top = max(v.metrics[metric][0] for v in measured)
        return [v for v in measured if v.metrics[metric][2] >= top]
    top = min(v.metrics[metric][0] for v in measured)
    return [v for v in measured if v.metrics[metric][1] <= top]


def record_performance(
    product: ModelProduct, settings: Settings, metrics: Mapping[str, float]
) -> Release:
    """Put realised metrics beside the current release in MLflow.

    Raises:
        LedgerError: Nothing is released.
    """
    release = ledger_of(product, settings).current()
    if release is None:
        raise LedgerError(f"{product.key}: nothing is released yet")
    settings.tracking().log_performance(product, release.mlflow_version, metrics)
    return release
