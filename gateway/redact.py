"""Keeps secrets out of log lines, whoever writes them: keys, bearer tokens, passwords in URLs.

The last thing before a line is written, so tracebacks and other libraries' lines are covered. What
a line should not say in the first place (bodies, texts, tenants) is not for here.
"""

from __future__ import annotations

import logging
import re

from models.contracts.keys import PRESENTED

_GONE = "[redacted]"
_FORMS = (
    # the id stays: it says whose key leaked
    (re.compile(PRESENTED), rf"ak_\1_{_GONE}"),
    (re.compile(r"(?i)\b(bearer\s+)(?!ak_)[\w.~+/=-]+"), rf"\1{_GONE}"),
    (re.compile(r"(?i)(x-(?:api-key|assay-service-token)\W{1,8})(?!ak_)[\w.~+/=-]{8,}"),
     rf"\1{_GONE}"),
    (re.compile(r"(://)[^/\s:@'\"]*:[^/\s@'\"]+@"), rf"\1{_GONE}@"),
)  # fmt: skip


def redacted(text: str) -> str:
    """The text without the known forms of secrets."""
    for form, instead in _FORMS:
        text = form.sub(instead, text)
    return text


class Redacting(logging.Formatter):
    """Another formatter's lines without secrets."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self.inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """The whole line, its traceback included."""
        return redacted(self.inner.format(record))


def install() -> None:
    """Cover every handler there is by now in this process; twice is once."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for logger in loggers:
        for handler in logger.handlers:
            if not isinstance(handler.formatter, Redacting):
                handler.setFormatter(Redacting(handler.formatter))
