"""What a person may do with a product: approve, roll back, ask for versions, judge performance.

Every act is a ledger entry first; aliases and services follow the ledger. No printing here.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping

from pydantic import JsonValue

from assets.stages.service import roll_out
from models.contracts.base import Frozen
from models.contracts.product import ModelProduct
from models.contracts.results import Evaluation, Release, Snapshot
from orchestration.resources import build_deployer
from orchestration.settings import Settings
from stores.deployer import Rollout
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
        LedgerError: Nothing waits.
    """
    ledger = ledger_of(product, settings)
    newest = settings.home_paths().latest(product, "evaluation")
    decision = ledger.decision(newest) if newest else None
    if decision is None or decision.outcome != "awaiting_approval":
        raise LedgerError(f"{product.key}: nothing waits for approval; see `assay status`")
    body: dict[str, JsonValue] = {"candidate_id": decision.challenger, "by": by}
    return ledger.append("approval", body)


def go_to(
    product: ModelProduct,
    settings: Settings,
    to_version: str | None,
    reason: str,
    say: Callable[[str], object],
) -> Rollout:
    """Serve an earlier (or later) release instead of the current one.

    Args:
        product: The product.
        settings: Where everything is.
        to_version: A release of the ledger; None means the one that served before.
        reason: Kept in the ledger.
        say: Receives progress.

    Raises:
        LedgerError: There is nothing to go back to, or no such release.
        RolloutError: It did not answer as it did offline; the ledger keeps the intent and
            `assay serve` tries again.
    """
    ledger = ledger_of(product, settings)
    current = ledger.current()
    target = ledger.release(to_version) if to_version else ledger.previous()
    if current is None or target is None:
        raise LedgerError(f"{product.key}: no earlier release to go back to")
    if target == current:
        raise LedgerError(f"{product.key}: {target.version} is what serves already")
    ledger.append(
        "rollback",
        {
            "from_version": current.version,
            "to_version": target.version,
            "by": getpass.getuser(),
            "reason": reason,
        },
    )
    settings.tracking().point_aliases(product, ledger.current(), ledger.previous())
    return roll_out(product, settings.home_paths(), build_deployer(settings), say)


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
    """One release with the figures it was released on."""

    release: Release
    aliases: tuple[str, ...]
    metrics: dict[str, tuple[float, float, float]]


def versions(product: ModelProduct, settings: Settings) -> list[Version]:
    """Every release, newest first, with value, low and high of each holdout metric."""
    home, ledger = settings.home_paths(), ledger_of(product, settings)
    named = {"champion": ledger.current(), "previous": ledger.previous()}
    found = []
    for release in reversed(ledger.releases()):
        text = (home.evaluation(product, release.evaluation_id) / "evaluation.json").read_text()
        card = Evaluation.model_validate_json(text).scorecards[release.candidate_id]
        metrics = {n: (e.value, e.low, e.high) for n, e in card.metrics["overall"].items()}
        aliases = tuple(name for name, other in named.items() if other == release)
        found.append(Version(release=release, aliases=aliases, metrics=metrics))
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
