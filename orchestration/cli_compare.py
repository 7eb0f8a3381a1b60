"""The command `assay compare`. It asks and prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.contracts.results import TestResult
    from orchestration.compare import Kept, Refitted
    from stores.reports.tables import Row

out = Console()

Model = Annotated[str | None, typer.Argument(help="Trial (or id of a candidate); all if left out")]


def compare(
    product: Annotated[str, typer.Argument(help="Key of a product, e.g. risk/sync_conflict")],
    a: Model = None,
    b: Model = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit A and B ten times each and test that (5x2cv)")
    ] = False,
) -> None:
    """Is A better than B? Prints the tests of the last evaluation, or of ten new fits of each.

    Without --refit nothing is fitted: any two models on the same holdout units, and average ranks.
    With it both trials learn from five random halvings of the newest snapshot's training rows:
    whether one learns better than the other, whatever fits and holdout happened to be drawn.
    """
    from models.registry import get
    from orchestration import compare as compared
    from orchestration.cli import plain_errors
    from orchestration.settings import Settings

    wanted = [word for word in (a, b) if word is not None]
    with plain_errors():
        chosen = get(product)
        alpha, metric = chosen.gate.alpha, chosen.gate.metric
        if refit:
            _print_refitted(compared.refit(chosen, Settings(), wanted, _say))
        else:
            _print_kept(compared.kept(chosen, Settings(), wanted), metric, alpha)


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_kept(found: Kept, metric: str, alpha: float) -> None:
    from stores.reports.compared import pairs_table, ranks_table
    from stores.reports.words import metric as worded

    out.print(
        _table(f"{worded(metric)}, evaluation {found.evaluation_id}", pairs_table(found.pairs))
    )
    _say(
        f"Error removed: share of the other's error, with its {1 - 2 * alpha:.0%} interval. Below "
        f"p = {alpha:g} the two differ; p are two-sided, each test's corrected over all "
        f"{found.tested} pairs (Holm). They inform; only the gate decides."
    )
    if found.ranks is None:
        _say("No average ranks: they take three models and five tenants, folds or slices.")
        return
    title = f"Average ranks over {found.ranks.sets} {found.ranks.over} (Friedman, Nemenyi)"
    out.print(_table(title, ranks_table(found.ranks)))
    _say("Models whose ranks are less than the critical difference apart are not shown to differ.")


def _print_refitted(found: Refitted) -> None:
    from stores.reports.words import test

    def row(one: TestResult, p: object) -> Row:
        return {
            "Test": test(one.name),
            "Statistic": f"{one.statistic:.3f}",
            "p (two-sided)": f"{p:.3g}",
            "Effect": f"{one.effect:+.4f} ({one.detail['effect_is']})",
        }

    rows = [row(found.t, found.t.detail["p_two_sided"]), row(found.f, found.f.p_value)]
    out.print(_table("Five halvings, two fits each (5x2cv)", rows))
    _say(found.verdict)
    _say(
        "This compares two ways to learn from half of the training rows, drawn without regard to "
        "time. What serves next is decided by the gate, on the newest rows."
    )


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for one in rows:
        table.add_row(*map(str, one.values()))
    return table
