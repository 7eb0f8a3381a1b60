"""What stops a process that answers requests from starting, and what stops a request."""

from __future__ import annotations

from collections.abc import Sequence

Header = tuple[bytes, bytes]


class StartError(Exception):
    """The process must not start; the message says why and what to do."""


class Refused(Exception):  # noqa: N818 - a decision about a request, not a fault of ours
    """A request that goes no further.

    Attributes:
        status: HTTP status: 4xx, or 503 when it may come again.
        headers: Of the answer, beside those that every answer has.
    """

    def __init__(self, status: int, message: str, headers: Sequence[Header] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = tuple(headers)
