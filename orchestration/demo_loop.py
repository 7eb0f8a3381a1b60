"""The part of `assay demo` that shows the way back: two chapters of traffic and what follows.

First the world drifts in a way that hurts nothing: shown, not acted on. Then in a way that does:
one retraining, the gate, a new champion, all of it in the ledger. Only says what others did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.stages.monitoring import read_latest
from models.contracts.monitoring import MonitoringResult
from models.contracts.product import ModelProduct
from models.registry import get
from orchestration.console import monitoring_report
from orchestration.loop import Site, act
from orchestration.rehearsal import Chapter, RehearsalError, happen, look_back, was_dropped
from orchestration.resources import build_deployer
from orchestration.settings import Settings
from orchestration.traffic import TrafficError
from stores.home import Home
from stores.ledger import Entry, Ledger

PRODUCT = "risk/sync_conflict"
HARMLESS_ROWS, HARMFUL_ROWS = 1_500, 4_320


class Show(NamedTuple):
    """Who plays where, and before whom."""

    site: Site
    product: ModelProduct
    out: Console

    @property
    def home(self) -> Home:
        """Where everything is kept."""
        return self.site.settings.home_paths()

    @property
    def ledger(self) -> Ledger:
        """The product's."""
        return Ledger(self.home.ledger(self.product))

    def say(self, text: str) -> None:
        """Progress, set in."""
        self.out.print(f"  {escape(text)}")


def show_loop(site: Site, out: Console) -> bool:
    """Play both chapters against the serving champion and do what monitoring asks for.

    Returns:
        Whether drift without harm was left alone and harm led to one retraining and a new champion;
        True as well where there is nothing to show.
    """
    show = Show(site, get(PRODUCT), out)
    harmless, harmful = chapters(site.settings)
    if site.settings.data_origin().chosen() != "generator":
        out.print("The loop is shown on generated data only (ASSAY_ORIGIN=generator, new home).")
        return True
    if was_dropped(show.home, harmless):
        out.print(
            "The loop was shown in this home already; another ASSAY_HOME, or `make clean` before, "
            "shows it again. What came of it:"
        )
        out.print(ledger_table(show.ledger.entries()))
        return True
    try:
        return _harmless(show, harmless) and _harmful(show, harmful)
    except (RehearsalError, TrafficError) as error:
        out.print(f"[red]{escape(str(error))}[/red]", soft_wrap=True)
        return False


def chapters(settings: Settings) -> tuple[Chapter, Chapter]:
    """What happens after the generated rows: drift that hurts nothing, then drift that does."""
    rows = settings.generator_rows
    return (
        Chapter(1, HARMLESS_ROWS, "harmless", after=rows),
        Chapter(2, HARMFUL_ROWS, "harmful", after=rows + HARMLESS_ROWS),
    )


def _harmless(show: Show, chapter: Chapter) -> bool:
    show.out.rule("The loop, 1: drift that hurts nothing", align="left")
    show.out.print(
        f"For {chapter.rows} merges repositories are split into smaller files and people commit "
        "more often.\nInputs move; what makes a conflict does not. Expected: drift is shown, "
        "nothing is retrained."
    )
    result = _live(show, chapter)
    return not result.retrain.retrain


def _harmful(show: Show, chapter: Chapter) -> bool:
    show.out.rule("The loop, 2: drift that hurts", align="left")
    show.out.print(
        f"For {chapter.rows} merges a code generator rewrites files: thousands of lines that the "
        "champion never saw,\nand that conflict by another rule. Expected: windows that hurt, one "
        "retraining, the gate, a new champion."
    )
    before, known = show.ledger.current(), len(show.ledger.entries())
    _live(show, chapter)
    done = act(show.site, [show.product], show.say)
    again = act(show.site, [show.product], show.say)
    show.out.print(f"{len(done)} run for it; asked once more: {len(again)}.")
    show.out.print(ledger_table(show.ledger.entries()[known:]))
    now = show.ledger.current()
    versions = [release.version if release else "none" for release in (before, now)]
    show.out.print(f"champion before: {versions[0]}, now: {versions[1]}")
    return len(done) == 1 and done[0].success and not again and now != before


def _live(show: Show, chapter: Chapter) -> MonitoringResult:
    """The chapter happens; monitoring looks at it."""
    product = show.product
    running = build_deployer(show.site.settings).current(product)
    if running is None:
        raise RehearsalError(f"{product.key} is not served; `assay serve {product.key}`")
    happen(show.site, product, chapter, running.url, show.say)
    look_back(show.site, product)
    result = read_latest(product, show.home)
    if result is None:
        raise RehearsalError(f"{product.key}: monitoring left no result; `assay monitor`")
    show.out.print(monitoring_report(product, show.site.settings))
    return result


def ledger_table(entries: Sequence[Entry]) -> Table:
    """What the ledger says, with its reasons."""
    table = Table("#", "at (UTC)", "entry", "what", title="ledger", title_justify="left")
    for entry in entries:
        said = f"{entry.at:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(entry.sequence), said, entry.kind, escape(_said(entry)))
    return table


def _said(entry: Entry) -> str:
    body = entry.body
    if entry.kind == "decision" and isinstance(body["decision"], dict):
        return f"{body['decision']['outcome']}: {body['decision']['reason']}"
    plain = {name: value for name, value in body.items() if not isinstance(value, dict | list)}
    chosen = ("version", "window", "reason", "from_version", "to_version", "by", "trial")
    return "  ".join(f"{name} {plain[name]}" for name in chosen if name in plain)
