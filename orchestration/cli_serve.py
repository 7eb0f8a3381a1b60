"""The commands `assay serve`, `stop` and `up`: what runs on this machine. They call and print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from models.contracts.product import ModelProduct
    from orchestration.settings import Settings

out = Console()

MaybeProduct = Annotated[str | None, typer.Argument(help="Key of a product; all when left out")]


def add_serving_commands(app: typer.Typer) -> None:
    """Put the commands into the application."""
    for command in (serve, stop, up):
        app.command()(command)


def serve(
    product: MaybeProduct = None,
    single: Annotated[
        bool, typer.Option("--single", help="All products in one process, for a small machine")
    ] = False,
) -> None:
    """Start what the ledger says should serve; for all products the router too.

    With --single, one process answers for all, on the router's address. `assay stop` ends it.
    """
    from assets.stages.service import roll_out
    from models.registry import get, products
    from orchestration.cli import plain_errors
    from orchestration.resources import build_deployer, build_router
    from orchestration.settings import Settings
    from stores.ledger import Ledger

    settings = Settings()
    home = settings.home_paths()
    with plain_errors():
        released = [one for one in products() if Ledger(home.ledger(one)).current()]
        if single:
            out.print(f"front door: {_serve_single(released, settings)}")
            return
        for one in [get(product)] if product else released:
            done = roll_out(one, home, build_deployer(settings), out.print)
            out.print(f"{one.key}: {done.bento} at {done.url}")
        if product is None:
            router = build_router(settings)
            out.print(f"front door: {(router.current() or router.start()).url}")


def _serve_single(released: Sequence[ModelProduct], settings: Settings) -> str:
    """Pack what serves, write the table, start the process; its address."""
    from assets.code_version import code_version
    from assets.stages.bento import current_release, pack
    from models.core.signing import ensure_keypair
    from orchestration.resources import build_router
    from stores.bento_store import build_front_door
    from stores.gateway_store import follow_ledger
    from stores.router_process import Single

    home = settings.home_paths()
    for one in released:
        pack(one, current_release(one, home), home)
        follow_ledger(home, one)
    ref = build_front_door(home.bentos, code_version("bentos.front_door.service"))
    _, public_key = ensure_keypair(home.keys)
    return build_router(settings).start(Single(ref.tag, home.bentos, public_key)).url


def stop(product: MaybeProduct = None) -> None:
    """Stop the services that run on this machine; of all products the router too."""
    from models.registry import get, products
    from orchestration.cli import plain_errors
    from orchestration.resources import build_deployer, build_router
    from orchestration.settings import Settings
    from stores.service_slot import CHALLENGER

    settings = Settings()
    with plain_errors():
        if product is None and build_router(settings).stop():
            out.print("stopped the router")
        deployer = build_deployer(settings)
        for one in [get(product)] if product else products():
            beside = deployer.slot(CHALLENGER).stop(one)
            if deployer.stop(one) or beside:
                out.print(f"stopped {one.key}")


def up() -> None:
    """Dagster UI and daemon, MLflow UI, the router and the services, until Ctrl-C."""
    from orchestration.cli import plain_errors
    from orchestration.processes import run_all
    from orchestration.settings import Settings

    with plain_errors():
        run_all(Settings(), out)
