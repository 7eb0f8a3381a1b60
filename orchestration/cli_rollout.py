"""The commands `assay rollout start|status|abort|promote|override|flag`. They ask and print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from models.contracts.product import ModelProduct
    from models.contracts.rollout import RolloutPlan, RolloutStep
    from models.contracts.routing import RoutingTable
    from orchestration.settings import Settings
    from stores.reports.rollout_page import RolloutData
    from stores.reports.tables import Row

rollout = typer.Typer(
    help="Rollouts: a challenger earns its traffic. `start` gives it the first share; the admin"
    " service of `assay up` counts, raises the share, aborts or promotes.",
    no_args_is_help=True,
)
out = Console()

Product = Annotated[str, typer.Argument(help="Key of a product, e.g. risk/sync_conflict")]
By = Annotated[str | None, typer.Option("--by", help="Who; this user if unset")]


@rollout.command()
def start(
    product: Product,
    version: Annotated[
        str | None, typer.Option("--version", help="The challenger; the newest staged release")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="shadow, canary or ab; what the product plans, else a canary"),
    ] = None,
    by: By = None,
) -> None:
    """Start a challenger beside the champion and give it its first share of the traffic."""
    from orchestration import rollouts

    with _plain_errors():
        chosen, settings = _get(product), _settings()
        step = rollouts.start(chosen, settings, version, _plan(chosen, kind), by, say=_say)
    _told(chosen, step)
    raise typer.Exit(1 if step.phase == "refused" else 0)


@rollout.command()
def status(
    product: Annotated[
        str | None, typer.Argument(help="Key of a product; all when left out")
    ] = None,
) -> None:
    """Where each rollout is: share served against weight, evidence by rule, the report."""
    from models.registry import products
    from orchestration.rollout_report import gather
    from stores.ledger import Ledger, LedgerError

    with _plain_errors():
        home = _settings().home_paths()
        chosen = [_get(product)] if product else list(products())
        shown = [one for one in chosen if Ledger(home.ledger(one)).rollout_step()]
        if product and not shown:
            raise LedgerError(f"{product}: no rollout yet; `assay rollout start {product}`")
        for one in shown:
            _show(gather(one, home))
        _show_switches()
        if not shown:
            out.print("no rollout yet; `assay rollout start PRODUCT` begins one")


@rollout.command()
def abort(
    product: Product,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the ledger")] = "by hand",
    by: By = None,
) -> None:
    """Take the challenger's traffic away at once and end its rollout."""
    from orchestration import rollouts

    with _plain_errors():
        _told(_get(product), rollouts.abort(_get(product), _settings(), reason, by, say=_say))


@rollout.command()
def promote(
    product: Product,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the ledger")] = "by hand",
    by: By = None,
) -> None:
    """Make the challenger the champion on your word, whatever is proven by now."""
    from orchestration import rollouts

    with _plain_errors():
        _told(_get(product), rollouts.promote(_get(product), _settings(), reason, by, say=_say))


@rollout.command()
def override(
    product: Product,
    tenant: Annotated[str, typer.Option("--tenant", help="Who is answered by it")],
    version: Annotated[
        str | None, typer.Option("--version", help="A running release; unset: as everybody")
    ] = None,
) -> None:
    """Let one tenant be answered by one release; the rollout does not count these requests."""
    from orchestration import switches

    with _plain_errors():
        switches.override(_get(product), _settings(), tenant, version)
        _show_switches()


@rollout.command()
def flag(
    name: Annotated[str, typer.Argument(help="serve, explain, cache, mirror or fallback")],
    *,
    scope: Annotated[
        str, typer.Option("--scope", help="*, a product, or <product>@<version>")
    ] = "*",
    on: Annotated[bool, typer.Option("--on/--off", help="What it is from now on")] = True,
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", help="Whom it is about; repeat it; all if unset")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget this switch")] = False,
) -> None:
    """Switch a feature on or off; the most specific switch counts."""
    from orchestration import switches

    with _plain_errors():
        switches.flag(
            _settings(), name, scope, on=None if clear else on, tenants=tuple(tenant or ())
        )
        _show_switches()


def _plan(product: ModelProduct, kind: str | None) -> RolloutPlan | None:
    from typing import get_args

    from models.contracts.rollout import RolloutKind, RolloutPlan
    from stores.ledger import LedgerError

    if kind is None:
        return None
    if kind not in get_args(RolloutKind):
        raise LedgerError(f"no kind {kind!r}; there are {', '.join(get_args(RolloutKind))}")
    own = product.serving.rollout
    return own if own and own.kind == kind else RolloutPlan.model_validate({"kind": kind})


def _told(product: ModelProduct, step: RolloutStep) -> None:
    """Where it is and what to do next."""
    following = {
        "running": f"assay rollout status {product.key}",
        "promoted": f"back: assay rollback {product.key}",
        "refused": f"then: assay rollout start {product.key}",
    }.get(step.phase, f"assay explain {product.key}")
    reason = f": {step.reason}" if step.reason else ""
    out.print(escape(f"{step.rollout_id} is {step.phase}{reason}"), soft_wrap=True)
    out.print(f"next: {following}", soft_wrap=True)


def _show(data: RolloutData) -> None:
    from models.core.rollouts.decide import lift
    from orchestration.rollout_report import REPORT
    from stores.reports import words
    from stores.reports.rollout_page import evidence_table, share_table
    from stores.rollout_journal import folder

    step = data.newest
    head = f"{data.product.key}: {step.kind} {step.rollout_id} is {step.phase}"
    out.print(f"[bold]{head}[/bold]" + (escape(f": {step.reason}") if step.reason else ""))
    out.print(_table(share_table(data)))
    out.print(_table(evidence_table(data.plan, data.evidence)))
    if (found := lift(data.evidence)) is not None:
        _say(f"lift by outcomes: {words.points(found)} percentage points")
    place = folder(_settings().home_paths(), data.product, step.rollout_id)
    out.print(f"report: {place / REPORT}", soft_wrap=True)


def _show_switches() -> None:
    from stores.gateway_store import read_table

    table: RoutingTable = read_table(_settings().home_paths())
    rows: list[Row] = [
        {
            "Switch": f"override {one.tenant}",
            "Where": routes.product,
            "Is": one.version,
            "For": one.tenant,
        }
        for routes in table.products.values()
        for one in routes.overrides
    ]
    rows += [
        {"Switch": one.name, "Where": one.scope, "Is": "on" if one.on else "off",
         "For": ", ".join(one.tenants) or "all"}
        for one in table.flags
    ]  # fmt: skip
    if rows:
        out.print(_table(rows))


def _table(rows: list[Row]) -> Table:
    shown = Table()
    for name in rows[0]:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(escape(str(value)) for value in row.values()))
    return shown


def _say(line: str) -> None:
    out.print(escape(line), soft_wrap=True)


def _get(key: str) -> ModelProduct:
    from models.registry import get

    return get(key)


def _settings() -> Settings:
    from orchestration.settings import Settings

    return Settings()


@contextmanager
def _plain_errors() -> Iterator[None]:
    from models.registry import ProductError
    from stores.deployer import RolloutError
    from stores.gateway_store import TableError
    from stores.home import MissingError
    from stores.ledger import LedgerError
    from stores.rollout_journal import JournalError

    known = (JournalError, LedgerError, MissingError, ProductError, RolloutError, TableError)
    try:
        yield
    except known as error:
        out.print(f"[red]{escape(str(error))}[/red]", soft_wrap=True)
        raise typer.Exit(1) from error
