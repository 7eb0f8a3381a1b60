"""Writes the online view of a product: the newest known features by entity, user and tenant.

From the feature table's Parquet file to ``<home>/online/<slug>.sqlite``, replaced whole; a gateway
reads it (``gateway.online``). The newest row of a tenant is always known; a user's where the table
has a column ``user``, an entity's where it has a column ``entity``: a list, rows may be about many.
"""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.online import LEVELS, SCHEMA
from models.contracts.product import EVENT_TIME, TENANT, ModelProduct
from stores.files import sync_folder
from stores.home import Home


def build(home: Home, product: ModelProduct) -> Path | None:
    """Write the view anew.

    Returns:
        Its file; None where no route asks for it, or while there is no feature table.
    """
    import pyarrow.parquet as pq

    from gateway.aliases import ALIASES

    table = home.table(product.data.features)
    asked = any(alias.product == product.key for alias in ALIASES if alias.known)
    if not asked or not table.is_file():
        return None
    names = set(pq.read_schema(table).names)
    levels = [level for level in LEVELS if level in names and level != TENANT]
    wanted = [TENANT, EVENT_TIME, *levels, *product.data.names]
    rows = pq.read_table(table, columns=wanted).sort_by(EVENT_TIME).to_pylist()
    newest: dict[tuple[str, str, str], str] = {}
    for row in rows:  # the newest last
        features = json.dumps(
            {name: _plain(row[name], product, name) for name in product.data.names}
        )
        newest[TENANT, row[TENANT], ""] = features
        for level in levels:
            for key in _listed(row[level]):
                newest[level, row[TENANT], key] = features
    target = home.root / "online" / f"{product.slug}.sqlite"
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_suffix(".half")
    half.unlink(missing_ok=True)
    with closing(sqlite3.connect(half)) as opened, opened:
        opened.execute(SCHEMA)
        opened.executemany(
            "insert into newest values (?, ?, ?, ?)",
            [(*key, features) for key, features in newest.items()],
        )
    half.replace(target)
    sync_folder(target.parent)
    return target


def _listed(keys: str | list[str] | None) -> list[str]:
    """Whom a row is about at one level; nobody when the source does not say."""
    if keys is None:
        return []
    return [keys] if isinstance(keys, str) else keys


def _plain(value: Any, product: ModelProduct, name: str) -> float | int | None:
    """A value as a request would send it."""
    if value is None or math.isnan(value):
        return None
    kind = next(column.kind for column in product.data.columns if column.name == name)
    return int(value) if kind == "int" else float(value)
