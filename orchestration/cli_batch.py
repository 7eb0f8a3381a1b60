"""The command `assay batch`: a file of rows answered by the released model. It asks and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

out = Console()


def batch(
    product: Annotated[str, typer.Argument(help="Key of a product")],
    file: Annotated[
        Path | None, typer.Argument(help="Parquet or CSV; what waits already if left out")
    ] = None,
) -> None:
    """Answer files of rows without a service: each once, and on after a crash.

    What a service would refuse is kept beside the answers, with the reason.
    """
    from assets.batch import answer_waiting
    from models.registry import get
    from orchestration.cli import plain_errors
    from orchestration.settings import Settings
    from stores import batch as store

    home = Settings().home_paths()
    with plain_errors():
        found = get(product)
        place = store.folder(home, found)
        if file is not None:
            store.take_in(place, file)
        reports, problems = answer_waiting(found, home, _say)
    for one in reports:
        _say(f"{one.file}: {one.rows - one.bad} answered by {one.version}, {one.bad} bad rows")
    for problem in problems:
        _say(problem)
    _say(f"answers: {place / 'out'}")
    raise typer.Exit(1 if problems else 0)


def _say(line: str) -> None:
    out.print(escape(line), soft_wrap=True)
