"""The command line `assay`. It asks, calls ``operations`` or ``running``, and prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from orchestration.cli_alerts import add_alert_commands
from orchestration.cli_batch import batch
from orchestration.cli_compare import compare
from orchestration.cli_deploy import deploy
from orchestration.cli_keys import keys
from orchestration.cli_rollout import rollout
from orchestration.cli_serve import add_serving_commands

if TYPE_CHECKING:
    import dagster as dg

    from models.contracts.product import ModelProduct
    from orchestration.settings import Settings

app = typer.Typer(
    help="assay: a model must earn its traffic.", no_args_is_help=True, add_completion=False
)
out = Console()

Product = Annotated[str, typer.Argument(help="Key of a product, e.g. risk/sync_conflict")]
MaybeProduct = Annotated[str | None, typer.Argument(help="Key of a product; all when left out")]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Errors that name their next step are printed as one sentence, not as a traceback."""
    from models.core.artifact import ArtifactError
    from models.core.rivals import RivalsError
    from models.registry import ProductError
    from stores.batch import BatchError
    from stores.bento_store import BentoError
    from stores.deployer import RolloutError
    from stores.gateway_store import TableError
    from stores.home import MissingError
    from stores.ledger import LedgerError
    from stores.origin import OriginError
    from stores.router_process import RouterError

    known = (
        ArtifactError,
        BatchError,
        BentoError,
        LedgerError,
        MissingError,
        OriginError,
        ProductError,
        RivalsError,
        RolloutError,
        RouterError,
        TableError,
    )
    try:
        yield
    except known as error:
        out.print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(1) from error


@app.command()
def run(
    product: MaybeProduct = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run")] = False,
) -> None:
    """Run what changed: inputs, code or configuration; nothing when nothing did."""
    from orchestration.console import plan_table
    from orchestration.running import execute, instance, stale

    begun = time.perf_counter()
    with plain_errors(), instance(_settings()) as found:
        definitions = _definitions()
        reasons = stale(definitions, found, _settings(), product)
        if not reasons:
            out.print(f"nothing changed, nothing executed ({time.perf_counter() - begun:.1f} s)")
            return
        out.print(plan_table(reasons))
        if dry_run:
            return
        result = execute(definitions, found, list(reasons))
        _print_failed_checks(result)
        seconds = time.perf_counter() - begun
        out.print(f"{'done' if result.success else '[red]failed[/red]'} in {seconds:.1f} s")
        raise typer.Exit(0 if result.success else 1)


@app.command()
def monitor(
    product: MaybeProduct = None,
    no_act: Annotated[bool, typer.Option("--no-act", help="Only say what should follow")] = False,
) -> None:
    """Take the logs in, judge the traffic now, then do what the sensors would: once, or not at all.

    Outcomes reach it by POST /outcome or as files in <home>/inbox/outcomes.
    """
    from orchestration.console import monitoring_report
    from orchestration.jobs import way_back
    from orchestration.loop import Site, act
    from orchestration.running import execute, instance

    settings = _settings()
    with plain_errors(), instance(settings) as found:
        chosen, definitions = _chosen(product), _definitions()
        keys = way_back(chosen).resolve(definitions.resolve_asset_graph())
        result = execute(definitions, found, sorted(keys))
        _print_failed_checks(result)
        for one in chosen:
            out.print(monitoring_report(one, settings))
        if not result.success:
            raise typer.Exit(1)
        if no_act:
            return
        acts = act(Site(definitions, found, settings), chosen, out.print)
        for done in acts:
            out.print(f"{done.due.key}: {'done' if done.success else '[red]failed[/red]'}")
        raise typer.Exit(0 if all(done.success for done in acts) else 1)


@app.command()
def status(product: MaybeProduct = None) -> None:
    """Products, what serves, what the gate and monitoring last said, who is waited for."""
    from orchestration.console import front_door, product_table, status_table

    with plain_errors():
        chosen = _chosen(product)
        show = product_table(chosen[0], _settings()) if product else None
        out.print(show or status_table(chosen, _settings()))
        out.print(f"front door  {front_door(_settings())}")


@app.command()
def promote(product: Product) -> None:
    """Put the newest evaluation before the gate again and, if it says yes, pack and serve it.

    There is no way around the gate; after an approval this is the next step.
    """
    from orchestration.loop import release_keys
    from orchestration.running import execute, instance

    with plain_errors(), instance(_settings()) as found:
        result = execute(_definitions(), found, release_keys(_get(product)))
    status(product)
    raise typer.Exit(0 if result.success else 1)


@app.command()
def approve(
    product: Product, by: Annotated[str, typer.Option("--by", help="Name of the person")]
) -> None:
    """Approve the challenger that waits for a named person; then `assay promote`.

    In time only: a decision that waits longer than the gate's approval_hours must be judged anew.
    """
    from orchestration import operations

    with plain_errors():
        entry = operations.approve(_get(product), _settings(), by)
    out.print(
        f"approved by {entry.body['by']} at {entry.at:%Y-%m-%d %H:%M} UTC; "
        f"next: assay promote {product} (under `assay up` the sensor `approved` does it)"
    )


@app.command()
def rollback(
    product: Product,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Version, earlier or later; the previous one if unset"),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the ledger")] = "by hand",
    by: Annotated[str | None, typer.Option("--by", help="Who; this user if unset")] = None,
) -> None:
    """Serve the previous release again, or the one named by --to: an earlier one or a later one.

    Going forward is --to with the later version. Repeat it after a crash: it finishes.
    """
    from orchestration import operations

    with plain_errors():
        done = operations.go_to(_get(product), _settings(), to, reason, out.print, by=by)
    out.print(f"{product} now serves {done.bento} at {done.url}")


@app.command()
def explain(product: Product) -> None:
    """The decision record, from data hash to traffic."""
    from orchestration import operations
    from orchestration.console import explanation

    with plain_errors():
        out.print(explanation(operations.explain(_get(product), _settings())))


@app.command()
def versions(
    product: Product,
    metric: Annotated[
        str | None, typer.Option("--best", help="Only the best by this metric")
    ] = None,
) -> None:
    """Releases with their holdout figures."""
    from orchestration import operations
    from orchestration.console import versions_table

    with plain_errors():
        chosen = _get(product)
        found = (
            operations.best(chosen, _settings(), metric)
            if metric
            else operations.versions(chosen, _settings())
        )
        out.print(versions_table(chosen, found))


@app.command()
def demo() -> None:
    """Raw data to a served champion with real requests; stops what it started."""
    from orchestration.demo import run_demo

    with plain_errors():
        raise typer.Exit(run_demo(_settings(), out))


app.command()(compare)
app.command()(batch)
app.command()(deploy)
add_alert_commands(app)
add_serving_commands(app)
app.add_typer(keys, name="keys")
app.add_typer(rollout, name="rollout")


def _print_failed_checks(result: dg.ExecuteInProcessResult) -> None:
    for check in result.get_asset_check_evaluations():
        if not check.passed and not str(check.description).startswith("not run"):
            name = f"{check.asset_key.to_user_string()} / {check.check_name}"
            out.print(f"[red]check failed[/red] {name}: {check.description}", soft_wrap=True)


def _settings() -> Settings:
    from orchestration.settings import Settings

    return Settings()


def _definitions() -> dg.Definitions:
    from orchestration.definitions import defs

    return defs()


def _get(key: str) -> ModelProduct:
    from models.registry import get

    return get(key)


def _chosen(key: str | None) -> list[ModelProduct]:
    from models.registry import products

    return [_get(key)] if key else list(products())
