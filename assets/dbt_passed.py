"""The record beside a table's file: that its dbt tests passed on it as it is, and what defines it.

Written by the build (``assets.dbt``), asked for by whoever reads the table. Makes no asset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from assets.dbt_manifest import Node
from models.contracts.base import Frozen
from stores.files import sha256, write_atomic
from stores.home import Home


class Passed(Frozen):
    """What is known of a table's file since its tests last passed.

    Attributes:
        sha256: Digest of the file.
        definition: Digest over the SQL of the table and of everything above it.
    """

    sha256: str
    definition: str


def passed(home: Home, key: str) -> Passed | None:
    """The record of a table; None when its tests never passed."""
    record = _record(home, key)
    text = record.read_text(encoding="utf-8") if record.exists() else None
    return Passed.model_validate_json(text) if text else None


def write_passed(home: Home, model: Node, models: Sequence[Node]) -> Passed | None:
    """Record that a table's tests passed on the file as it is; None when it leaves no file."""
    key = model.key.to_user_string()
    file = home.table(key)
    if not file.exists():
        return None
    record = Passed(sha256=sha256(file), definition=_definition(model, models))
    write_atomic(_record(home, key), record.model_dump_json())
    return record


def _record(home: Home, key: str) -> Path:
    return home.table(key).with_suffix(".passed")


def _definition(model: Node, models: Sequence[Node]) -> str:
    """Digest over the code versions of a model and its ancestors."""
    known = {one.key: one for one in models}
    waiting, found = [model], {model.key: model.code_version}
    while waiting:
        for parent in waiting.pop().deps:
            if parent in known and parent not in found:
                found[parent] = known[parent].code_version
                waiting.append(known[parent])
    text = "".join(sorted(found.values()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
