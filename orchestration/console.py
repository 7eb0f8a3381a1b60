"""Tables and trees for the terminal. Reads typed results, decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
from pathlib import Path

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table

from assets.stages.approval import newest_approval
from assets.stages.monitoring import read_latest, read_reports
from assets.stages.monitoring_window import watched_metrics
from models.contracts.monitoring import OVERALL, VersionWindow, WindowVerdict
from models.contracts.product import ModelProduct
from models.contracts.results import Estimate, Evaluation, GateDecision, Snapshot
from models.kinds import as_watched
from orchestration.operations import Explanation, Version
from orchestration.refresh import Reasons
from orchestration.resources import build_deployer, build_router
from orchestration.settings import Settings
from stores import gateway_store
from stores.home import Home
from stores.ledger import Entry, Ledger
from stores.reports.monitoring_page import verdict_word
from stores.reports.words import serves

#: Metrics of an explanation, of every contract; a model shows those it was judged by.
SHOWN_METRICS = (
    "roc_auc",
    "average_precision",
    "macro_f1",
    "f1",
    "brier",
    "ndcg_at_10",
    "recall_at_10",
    "map_at_10",
    "hit_rate_at_10",
    "novelty_at_10",
)
#: Windows a person wants to see at a glance.
SHOWN_WINDOWS = 12


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
    """One short row per product."""
    table = _folding("product", "champion", "last decision", "monitoring")
    for product in products:
        facts = _facts(product, settings)
        name = f"{product.key}\n{facts['url']}"
        champion = facts["champion"].replace(" ", "\n")
        if facts["holdout"] != "-":
            champion += f"\n{facts['metric']}\n{facts['holdout']}"
        word = facts["approval"] if facts["approval"] != "-" else facts["decision"]
        table.add_row(name, champion, word, _verdict(product, settings.home_paths(), verdict_word))
    return table


def front_door(settings: Settings) -> str:
    """Where all products are asked, and which routing table is followed."""
    running = build_router(settings).current()
    if running is None:
        return "not running; `assay up` or `assay serve` starts it"
    generation = gateway_store.read_table(settings.home_paths()).generation
    return f"{running.url} (routing table {generation})"


def _folding(*names: str) -> Table:
    """A table that breaks long cells instead of cutting them."""
    table = Table()
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def product_table(product: ModelProduct, settings: Settings) -> Table:
    """Everything a person asks first of one product, a line each."""
    table = Table(title=product.key, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(product, settings).items():
        table.add_row(name, value)
    return table


def _facts(product: ModelProduct, settings: Settings) -> dict[str, str]:
    home = settings.home_paths()
    ledger = Ledger(home.ledger(product))
    release, decision = ledger.current(), last_decision(ledger)
    running = build_deployer(settings).current(product)
    facts = {
        "champion": f"{release.trial} {release.version}" if release else "none yet",
        "metric": product.gate.metric,
        "holdout": "-",
        "decision": decision.outcome if decision else "never asked",
        "why": decision.reason if decision else "-",
        "approval": _approval(product, home, ledger),
        "monitoring": _verdict(product, home, attrgetter("reason")),
        "bento": running.bento if running else "-",
        "url": running.url if running else "not running",
        "report": "-",
    }
    if release:
        folder = home.evaluation(product, release.evaluation_id)
        card = load_evaluation(folder / "evaluation.json").scorecards[release.candidate_id]
        facts["holdout"] = interval(card.metrics["overall"][product.gate.metric])
        facts["report"] = str(folder / "report.html")
    return facts


def _approval(product: ModelProduct, home: Home, ledger: Ledger) -> str:
    """Whose word is waited for, until when; a dash when nobody's is."""
    asked = newest_approval(product, ledger, home.latest(product, "evaluation"))
    return asked.sentence(product) if asked else "-"


def _verdict(product: ModelProduct, home: Home, said: Callable[[WindowVerdict], str]) -> str:
    """What ``said`` makes of the newest judged window of the champion."""
    result = read_latest(product, home)
    if result is None:
        return "never; `assay monitor`"
    for report in reversed(read_reports(product, home)):
        for one in report.versions:
            if one.version == result.champion and one.verdict.judged:
                return f"{report.start:%Y-%m-%d %H:%M}: {said(one.verdict)}"
    return "no window of the champion was judged yet"


def monitoring_report(product: ModelProduct, settings: Settings) -> RenderableType:
    """The newest windows and what monitoring concluded from them."""
    home, metric = settings.home_paths(), as_watched(product).gate.metric
    result = read_latest(product, home)
    if result is None:
        return f"{product.key}: no monitoring result yet"
    shown = _folding("window", "version", "rows", "drifted", "estimated", "realised", "verdict")
    shown.title, shown.title_justify = f"{product.key}, as of {result.as_of:%Y-%m-%d %H:%M}", "left"
    for report in read_reports(product, home)[-SHOWN_WINDOWS:]:
        for one in report.versions:
            shown.add_row(*_window_row(metric, report.start, one))
    concluded = {
        "retrain": result.retrain.reason,
        "rollback": result.rollback.reason if result.rollback else "no champion",
        "regression": result.regression or "none",
    }
    lines = (f"{name}: {reason}" for name, reason in concluded.items())
    return Group(shown if shown.row_count else f"{product.key}: no closed window yet", *lines)


def _window_row(metric: str, start: datetime, one: VersionWindow) -> tuple[str, ...]:
    values = [found.get(OVERALL, {}).get(metric) for found in (one.estimated, one.realised)]
    moved = sum(effect.drifted for effect in (*one.drift, one.score_drift))
    return (
        f"{start:%Y-%m-%d %H:%M}",
        one.version,
        f"{one.rows:,}",
        f"{moved} of {len(one.drift) + 1}",
        *(interval(value) if value else "-" for value in values),
        one.verdict.reason,
    )


def load_evaluation(path: Path) -> Evaluation:
    """An evaluation from its file."""
    return Evaluation.model_validate_json(path.read_text(encoding="utf-8"))


def last_decision(ledger: Ledger) -> GateDecision | None:
    """What the gate last said of this product."""
    for entry in reversed(ledger.entries()):
        if entry.kind == "decision":
            return GateDecision.model_validate(entry.body["decision"])
    return None


def versions_table(product: ModelProduct, versions: Sequence[Version]) -> Table:
    """Releases, newest first, with their main figures."""
    shown = watched_metrics(product)
    table = _folding("release", "what changed", *shown)
    table.columns[0].no_wrap = True
    for version in versions:
        figures = [
            "{:.4f} [{:.4f}, {:.4f}]".format(*version.metrics[n]) if n in version.metrics else "-"
            for n in shown
        ]
        release = version.release
        named = [release.version, release.semver, release.trial, f"MLflow {release.mlflow_version}"]
        lines = "\n".join(filter(None, [*named, *version.aliases]))
        table.add_row(lines, version.semver_reason or "-", *figures)
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
    """One row per model, so that a dozen of them still fit."""
    cards = evaluation.scorecards
    shown = [n for n in SHOWN_METRICS if any(n in c.metrics[OVERALL] for c in cards.values())]
    roles = {evaluation.challenger: "challenger", evaluation.champion: "champion"}
    table = _folding("model", "p95 (ms)", *shown)
    for identity, card in cards.items():
        found = [card.metrics[OVERALL].get(name) for name in shown]
        table.add_row(
            "\n".join(filter(None, [card.trial, identity, roles.get(identity)])),
            f"{card.latency_p95_ms:.1f}",
            *(interval(one).replace(" [", "\n[") if one else "-" for one in found),
        )
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
    lines += [
        f"form {form.trial}: {'passed' if form.passed else 'not passed'}; {form.reason}"
        for form in decision.forms
    ]
    if decision.forms:
        lines.append(f"serves when released: {serves(decision)}")
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
