"""The request that is being answered, as everything that answers it sees it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

from models.contracts.traffic import Purpose


class Asked(NamedTuple):
    """One HTTP request, as far as the log wants to know it.

    Attributes:
        started_ns: Monotonic clock at its first byte.
    """

    request_id: str
    started_ns: int
    purpose: Purpose


#: The request that is being answered; set for everything the application does for it.
ASKED: ContextVar[Asked] = ContextVar("asked")
