"""The newest known features of an entity, a user or a tenant, for requests that bring none.

Read only: ``stores.online_store`` writes ``<home>/online/<slug>.sqlite``, one row per key. A file
that is replaced is taken at the next request; one that is missing knows nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any, Literal, NamedTuple

Level = Literal["entity", "user", "tenant"]
LEVELS: tuple[Level, ...] = ("entity", "user", "tenant")
#: ``level, tenant, key`` of a row, and its features as JSON.
SCHEMA = (
    "create table newest (level text, tenant text, key text, features text,"
    " primary key (level, tenant, key)) without rowid"
)
_QUERY = "select features from newest where level = ? and tenant = ? and key = ?"


class Found(NamedTuple):
    """Features, and whose they are."""

    features: dict[str, Any]
    level: Level


class Online:
    """The online view of one product.

    Args:
        path: Of the database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._opened: sqlite3.Connection | None = None

    def row(self, tenant: str, user: str, entity: str) -> Found | None:
        """The newest features known: the entity's, else the user's, else the tenant's."""
        opened = self._open()
        if opened is None:
            return None
        for level, key in zip(LEVELS, (entity, user, ""), strict=True):
            found = opened.execute(_QUERY, (level, tenant, key)).fetchone()
            if found is not None:
                return Found(json.loads(found[0]), level)
        return None

    def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None:
            self._opened.close()
        self._opened, self._seen = None, None

    def _open(self) -> sqlite3.Connection | None:
        try:
            told = self._path.stat()
        except FileNotFoundError:
            self.close()
            return None
        if self._seen != (told.st_ino, told.st_mtime_ns):
            self.close()
            self._opened = sqlite3.connect(f"file:{self._path}?mode=ro&immutable=1", uri=True)
            self._seen = told.st_ino, told.st_mtime_ns
        return self._opened


def path_of(slug: str) -> Path:
    """Where a product's view is, by ``ASSAY_HOME``; a place that is not there without it."""
    return Path(os.environ.get("ASSAY_HOME", "/nonexistent"), "online", f"{slug}.sqlite")
