"""Tables and trees for the terminal. Reads typed results, decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table

from models.contracts.product import ModelProduct
from models.contracts.results import Estimate, Evaluation, GateDecision, Snapshot
from orchestration.operations import Explanation, Version
from orchestration.refresh import Reasons
from orchestration.resources import build_deployer
from orchestration.settings import Settings
from stores.ledger import Entry, Ledger


def plan_table(reasons: Reasons) -> Table:
    """What will run and why."""
    table = Table("asset", "why", title=f"{len(reasons)} assets to run", title_justify="left")
    for key, reason in reasons.items():
        table.add_row(key.to_user_string(), reason)
    return table


def interval(estimate: Estimate) -> str:
    """Value with its bounds."""
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def status_table(products: Sequence[ModelProduct], settings: Settings) -> Table:
    """One row per product: champion, figure, last decision, bento, address, report."""
    home, deployer = settings.home_paths(), build_deployer(settings)
    table = Table("product", "champion", "metric", "last decision", "service", "report")
    for product in products:
        ledger = Ledger(home.ledger(product))
        release, decision = ledger.current(), last_decision(ledger)
        running = deployer.current(product)
        figure = address = report = "-"
        if release:
            folder = home.evaluation(product, release.evaluation_id)
            card = load_evaluation(folder / "evaluation.json").scorecards[release.candidate_id]
            figure = f"{product.gate.metric}\n" + interval(
                card.metrics["overall"][product.gate.metric]
            )
            report = str(folder / "report.html")
        if running:
            address = f"{running.bento}\n{running.url}"
        table.add_row(
            product.key,
            f"{release.trial}\n{release.version}" if release else "none yet",
            figure,
            f"{decision.outcome}\n{decision.reason}" if decision else "never asked",
            address,
            report,
        )
    return table


def load_evaluation(path: object) -> Evaluation:
    """An evaluation from its file."""
    from pathlib import Path

    return Evaluation.model_validate_json(Path(str(path)).read_text(encoding="utf-8"))


def last_decision(ledger: Ledger) -> GateDecision | None:
    """What the gate last said of this product."""
    for entry in reversed(ledger.entries()):
        if entry.kind == "decision":
            return GateDecision.model_validate(entry.body["decision"])
    return None


def versions_table(product: ModelProduct, versions: Sequence[Version]) -> Table:
    """Releases, newest first, with their main figures."""
    names = (product.gate.metric, "average_precision", "f1", "brier")
    shown = tuple(dict.fromkeys(names))
    table = Table("version", "alias", "trial", "MLflow", *shown, title=product.key)
    for version in versions:
        figures = [
            "{:.4f} [{:.4f}, {:.4f}]".format(*version.metrics[n]) if n in version.metrics else "-"
            for n in shown
        ]
        release = version.release
        table.add_row(
            release.version,
            ", ".join(version.aliases) or "-",
            release.trial,
            release.mlflow_version,
            *figures,
        )
    return table


def explanation(found: Explanation) -> RenderableType:
    """The decision record as panels, from data to traffic."""
    parts: list[RenderableType] = []
    if found.snapshot:
        parts.append(Panel(_snapshot(found.snapshot), title="1 data", title_align="left"))
    if found.evaluation:
        parts.append(Panel(_evaluation(found.evaluation), title="2 evaluation", title_align="left"))
    decisions = [entry for entry in found.history if entry.kind == "decision"]
    if decisions:
        text = _decision(GateDecision.model_validate(decisions[-1].body["decision"]))
        parts.append(Panel(text, title="3 gate (last decision)", title_align="left"))
    if found.release:
        release = found.release
        text = (
            f"version {release.version}  trial {release.trial}\n"
            f"candidate {release.candidate_id}  MLflow version {release.mlflow_version}\n"
            f"artifact {release.artifact}"
        )
        parts.append(Panel(text, title="4 release", title_align="left"))
    parts.append(_history(found.history))
    return Group(*parts)


def _snapshot(snapshot: Snapshot) -> str:
    return (
        f"snapshot {snapshot.snapshot_id}  source {snapshot.source}\n"
        f"content sha256 {snapshot.content_hash}\n"
        f"as of {snapshot.as_of}  holdout from {snapshot.split_at}  gap {snapshot.gap_hours} h\n"
        f"{snapshot.train_rows} training, {snapshot.gap_rows} gap, {snapshot.holdout_rows} holdout "
        f"rows, {snapshot.judged_rows} of them judged"
    )


def _evaluation(evaluation: Evaluation) -> RenderableType:
    table = Table("trial", "candidate", "roc_auc", "average_precision", "f1", "brier", "")
    for identity, card in evaluation.scorecards.items():
        overall = card.metrics["overall"]
        shown = [interval(overall[n]) for n in ("roc_auc", "average_precision", "f1", "brier")]
        role = "challenger" if identity == evaluation.challenger else ""
        role = "champion" if identity == evaluation.champion else role
        table.add_row(card.trial, identity, *shown, role)
    return table


def _decision(decision: GateDecision) -> str:
    lines = [f"{decision.outcome}: {decision.reason}"]
    lines += [
        f"{test.name}: effect {test.effect:.4f} [{test.low:.4f}, {test.high:.4f}], "
        f"p = {test.p_value:.4g}"
        for test in decision.tests
    ]
    lines += [
        f"guardrail {rail.metric} on {rail.slice}: {rail.status}" for rail in decision.guardrails
    ]
    return "\n".join(lines)


def _history(entries: Sequence[Entry]) -> Table:
    table = Table("#", "at (UTC)", "entry", "what", title="ledger", title_justify="left")
    for entry in entries:
        body = {k: v for k, v in entry.body.items() if not isinstance(v, dict | list)}
        if entry.kind == "decision":
            decision = entry.body["decision"]
            body = {"outcome": str(decision["outcome"])} if isinstance(decision, dict) else body
        text = "  ".join(f"{name} {value}" for name, value in body.items())
        table.add_row(str(entry.sequence), f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.kind, text)
    return table
