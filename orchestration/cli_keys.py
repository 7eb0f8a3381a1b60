"""The commands `assay keys add|list|revoke`: who may ask what. They ask and print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from getpass import getuser
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.contracts.keys import ALL, ROLES, ApiKey, Role

if TYPE_CHECKING:
    from stores.key_store import KeyStore

keys = typer.Typer(
    help="API keys: who may ask which product for which tenant, how fast. Without any key,"
    " everybody on this machine may ask.",
    no_args_is_help=True,
)
out = Console()


@keys.command()
def add(
    *,
    tenant: Annotated[
        list[str], typer.Option(help=f"Whose rows it may ask about; repeat it; {ALL}: everybody's")
    ],
    product: Annotated[
        list[str] | None, typer.Option(help=f"Key of a product; repeat it; {ALL} if left out")
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help=f"Of {', '.join(ROLES)}; repeat it; predict and outcome if left out"),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.001, help="Rows a second in the long run")] = 100.0,
    burst: Annotated[int, typer.Option(min=1, help="Rows at once after a pause")] = 1_000,
    days: Annotated[int | None, typer.Option(min=1, help="Expires after; never if unset")] = None,
    by: Annotated[str | None, typer.Option(help="Who makes it; this user if unset")] = None,
) -> None:
    """Make a key and show it once; running services know it within two seconds."""
    from models.registry import get

    with _plain_errors():
        products = [one if one == ALL else get(one).key for one in product or [ALL]]
        roles = [_role(one) for one in role or ("predict", "outcome")]
        made = _store().add(
            tenants=tenant, products=products, roles=roles, rate=rate, burst=burst, days=days,
            by=by or getuser(),
        )  # fmt: skip
    out.print(f"key {made.key.id}; this is shown once and kept nowhere:", soft_wrap=True)
    typer.echo(made.presented)
    out.print("send it as 'Authorization: Bearer <key>' or as 'X-API-Key'", soft_wrap=True)


@keys.command("list")
def list_keys() -> None:
    """Every key with its scope, without its secret; revoked ones too."""
    with _plain_errors():
        found = _store().keys()
    out.print(_table(found) if found else "no key yet: everybody on this machine may ask")


@keys.command()
def revoke(key: Annotated[str, typer.Argument(help="Id, as `assay keys list` shows it")]) -> None:
    """Close a key for good; running services refuse it within two seconds."""
    with _plain_errors():
        revoked = _store().revoke(key)
    out.print(f"revoked {revoked.id} at {revoked.revoked_at:%Y-%m-%d %H:%M} UTC")


def _table(found: tuple[ApiKey, ...]) -> Table:
    now = datetime.now(UTC)
    shown = Table(title="API keys", title_justify="left")
    for name in ("Key", "State", "Tenants", "Products", "Roles", "Rows/s", "Burst", "Made"):
        shown.add_column(name, overflow="fold")
    for key in found:
        shown.add_row(
            key.id,
            key.state(now),
            escape(", ".join(key.tenants)),
            ", ".join(key.products),
            ", ".join(key.roles),
            f"{key.rate:g}",
            str(key.burst),
            escape(f"{key.created_at:%Y-%m-%d} by {key.by}"),
        )
    return shown


def _role(name: str) -> Role:
    from stores.key_store import KeyStoreError

    for role in ROLES:
        if role == name:
            return role
    raise KeyStoreError(f"no role {name!r}; there are {', '.join(ROLES)}")


def _store() -> KeyStore:
    from orchestration.settings import Settings
    from stores.key_store import KeyStore, keys_path

    return KeyStore(keys_path(Settings().home_paths()))


@contextmanager
def _plain_errors() -> Iterator[None]:
    from models.registry import ProductError
    from stores.key_store import KeyStoreError

    try:
        yield
    except (KeyStoreError, ProductError) as error:
        out.print(f"[red]{escape(str(error))}[/red]", soft_wrap=True)
        raise typer.Exit(1) from error
