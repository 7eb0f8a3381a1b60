"""What an ingestion remembers between two steps: the batch under way and what has landed.

Small files in ``<home>/spool/.ingestion``, beside the services' folders, which hold segments only.
``stores.spool`` decides what they say.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from models.contracts.base import Frozen
from stores.files import sync_folder
from stores.home import Home
from stores.spool_account import Arrived
from stores.spool_parts import write_again


class StateError(Exception):
    """A file of the ingestion that cannot be read; the message names it and the next step."""


class Batch(Frozen):
    """Segments that land together; ``name`` is a digest of theirs."""

    name: str
    segments: tuple[str, ...]


class State(Frozen):
    """What is known of a product's log.

    Attributes:
        landed: The last batch whose parts are all there.
        writers: Writer to its last number.
        unreported: What arrived since the last report.
    """

    landed: str = ""
    writers: dict[str, int] = Field(default_factory=dict)
    unreported: Arrived = Arrived()


_Kept = TypeVar("_Kept", Batch, State)


def folder(home: Home) -> Path:
    """Where the files and the ingestion's lock are."""
    return home.root / "spool" / ".ingestion"


def load(home: Home, slug: str) -> State:
    """What is known; nothing before the first batch.

    Raises:
        StateError: The file is damaged.
    """
    path = folder(home) / f"{slug}.state.json"
    step = (
        "restore it from a backup, or remove it: then the next ingestion may call lines missing"
        " that have landed, once"
    )
    return _read(path, State, step) or State()


def save(home: Home, slug: str, state: State) -> None:
    """Commit."""
    write_again(folder(home) / f"{slug}.state.json", state.model_dump_json())


def batch_file(home: Home, slug: str) -> Path:
    """Is there while a batch is under way."""
    return folder(home) / f"{slug}.batch.json"


def begun(home: Home, slug: str) -> Batch | None:
    """The batch that a crash cut short.

    Raises:
        StateError: The file is damaged.
    """
    step = "remove it: its segments land anew, and what landed twice counts once, by its id"
    return _read(batch_file(home, slug), Batch, step)


def begin(home: Home, slug: str, batch: Batch) -> None:
    """Name what is about to land."""
    write_again(batch_file(home, slug), batch.model_dump_json())


def end(home: Home, slug: str) -> None:
    """The batch has landed and its segments are gone."""
    batch_file(home, slug).unlink()
    sync_folder(folder(home))


def _read(path: Path, kind: type[_Kept], step: str) -> _Kept | None:
    if not path.exists():
        return None
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        found = error.errors()[0]["msg"]
        raise StateError(f"{path} is damaged ({found}); {step}. Then ingest again") from error
