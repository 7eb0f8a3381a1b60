"""Takes work off every request that nobody reads the result of: spans without exporter, log lines.

Counts and latencies of all requests are in ``/metrics``.
"""

from __future__ import annotations

import logging
from typing import Any

from pydantic import ValidationError

#: BentoML opens five spans per request, a third of its time, also when nothing exports them. Who
#: wants traces sets ``services: <slug>: tracing: {excluded_urls: "", ...}`` in ``BENTOML_CONFIG``.
TRACING: dict[str, Any] = {"excluded_urls": ".*"}


def install() -> None:
    """Set the filters; in a worker, after BentoML has configured logging."""
    logging.getLogger("bentoml.access").addFilter(_is_no_success)
    logging.getLogger("bentoml._internal.server.http_app").addFilter(_without_traceback)


def _is_no_success(record: logging.LogRecord) -> bool:
    """Keep access lines of refused and failed requests only."""
    args = record.args
    return not (isinstance(args, tuple) and len(args) == 4 and "status=2" in str(args[2]))


def _without_traceback(record: logging.LogRecord) -> bool:
    """A refused request is no error of ours: one line without traceback, not twenty."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ValidationError):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = "refused: %s", (f"{error.error_count()} invalid fields",)
        record.exc_info = None
    return True
