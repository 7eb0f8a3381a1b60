"""The request that is being answered, as everything that answers it sees it."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from typing import Any, NamedTuple

from models.contracts.keys import OPEN, Principal
from models.contracts.traffic import Purpose

#: Milliseconds that whoever asks will still wait, from the arrival of the request on.
DEADLINE_HEADER = b"x-assay-deadline-ms"


#: The rung of the ladder that everybody is asked on, unless the one above could not answer.
CHAMPION = "champion"


class Asked(NamedTuple):
    """One HTTP request, as far as the log and the model want to know it.

    Attributes:
        started_ns: Monotonic clock at its first byte.
        principal: Who asks.
        deadline: Monotonic clock in seconds, from which on nobody waits for the answer.
        rung: Of the ladder, who is to answer.
        trace: Its span, where requests are traced.
    """

    request_id: str
    started_ns: int
    purpose: Purpose
    principal: Principal = OPEN
    deadline: float = math.inf
    rung: str = CHAMPION
    trace: Any = None

    @property
    def seconds(self) -> float:
        """Since its first byte."""
        return (time.monotonic_ns() - self.started_ns) / 1e9

    def within(self, seconds: float, told: bytes = b"") -> Asked:
        """The same with a deadline no later than so many seconds after its first byte.

        Args:
            seconds: That the service allows.
            told: Value of `DEADLINE_HEADER`; what is no number is passed over.
        """
        if told.isdigit() and len(told) < 10:
            seconds = min(seconds, int(told) / 1000)
        return self._replace(deadline=min(self.deadline, self.started_ns / 1e9 + seconds))


#: The request that is being answered; set for everything the application does for it.
ASKED: ContextVar[Asked] = ContextVar("asked")
