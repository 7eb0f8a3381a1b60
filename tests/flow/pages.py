"""Runs without what only a person looks at: pictures and Evidently's pages.

Evidently takes ten seconds a page and a picture a tenth of one; together they were half of these
tests. They are made for real in ``test_chain`` (every page of an evaluation) and in ``tests/unit``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def plain_pages() -> Iterator[None]:
    """While it lasts, a page of Evidently is a line and a picture is empty."""
    from stores import reports
    from stores.reports import evidently_drift, evidently_report

    names = [found.name for found in pkgutil.iter_modules(reports.__path__, "stores.reports.")]
    # all of them before: one first imported while it lasts would keep the empty picture
    modules = [import_module(name) for name in names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidently_report, "write_evidently", _line)
        patch.setattr(evidently_drift, "write_drift", _line)
        for module in modules:
            if hasattr(module, "png"):
                patch.setattr(module, "png", _empty)
        yield


def _line(path: Path, *_: Any, **__: Any) -> None:
    path.write_text("<html>left out by the tests</html>")


def _empty(*_: Any, **__: Any) -> bytes:
    return b""
