"""Evidently's pages left out: they take ten seconds each. Written for real where they are tested.

That is ``test_chain`` (an evaluation's page) and ``tests/unit/test_monitoring_page.py`` (drift).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def without_evidently() -> Iterator[None]:
    """While it lasts, both pages of Evidently are a line."""
    from stores.reports import evidently_drift, evidently_report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidently_report, "write_evidently", _line)
        patch.setattr(evidently_drift, "write_drift", _line)
        yield


def _line(path: Path, *_: Any, **__: Any) -> None:
    path.write_text("<html>left out by the tests</html>")
