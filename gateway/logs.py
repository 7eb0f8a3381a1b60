"""The service's own log lines as JSON, one object a line. Never a payload: ids and reasons only.

What others of the process write keeps its form, and loses its secrets.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from gateway import redact
from gateway.asked import ASKED

#: Root of the loggers that are ours; BentoML's keep their own form.
NAME = "assay"


class JsonLines(logging.Formatter):
    """Time, level, logger, message, product, version and, within a request, its id."""

    def __init__(self, product: str, version: str) -> None:
        super().__init__()
        self._context = {"product": product, "version": version}

    def format(self, record: logging.LogRecord) -> str:
        """One line, also with a traceback."""
        asked = ASKED.get(None)
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._context,
            **({"request_id": asked.request_id} if asked else {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def install(product: str, version: str) -> None:
    """Send our lines to the standard output; in a worker, twice is once."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(redact.Redacting(JsonLines(product, version)))
    logger = logging.getLogger(NAME)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    redact.install()
