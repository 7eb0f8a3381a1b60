"""The command `assay deploy`. It asks and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

out = Console()


def deploy(
    folder: Annotated[Path, typer.Argument(help="Made when missing", file_okay=False)],
    released: Annotated[
        bool, typer.Option("--released", help="Name the releases that serve in this home")
    ] = False,
    webhook: Annotated[
        str | None, typer.Option("--webhook", help="URL that Alertmanager tells; nobody if unset")
    ] = None,
) -> None:
    """Write what puts assay into containers: Compose, Kubernetes, nginx, Prometheus, Grafana.

    Nothing is built, started or applied; FOLDER/README.md says how.
    """
    from models.registry import products
    from orchestration.cli import plain_errors
    from stores.deploy_files import write_deploy

    chosen = products()
    with plain_errors():
        releases = _releases() if released else {}
    written = write_deploy(folder, chosen, releases, webhook)
    for path in written:
        out.print(path, soft_wrap=True)
    for product in chosen:
        if released:
            out.print(f"{product.key}: {releases.get(product.key, 'no release yet')}")
    out.print(f"{folder / 'README.md'} says how images are made and started", soft_wrap=True)


def _releases() -> dict[str, str]:
    """Product to the version its ledger says should serve; makes the token they share."""
    from models.registry import products
    from orchestration.settings import Settings
    from stores.key_store import service_token
    from stores.ledger import Ledger

    home = Settings().home_paths()
    service_token(home)  # router and services are given it as a file
    current = {one.key: Ledger(home.ledger(one)).current() for one in products()}
    return {key: release.version for key, release in current.items() if release}
