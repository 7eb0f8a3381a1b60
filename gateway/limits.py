"""What one client may take of a process: bytes, seconds, connections. Read once, at the start."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

from gateway.errors import StartError


class Limits(NamedTuple):
    """Bounds on a request and on connections.

    Attributes:
        body_bytes: Larger bodies are answered 413, whether announced or chunked.
        body_seconds: A body that takes longer to arrive is answered 408.
        header_bytes: A longer request line with headers is answered 431.
        header_seconds: Headers that take longer to arrive are answered 408.
        connections: Open at once; one more is answered 503.
    """

    body_bytes: int = 2_000_000
    body_seconds: float = 5.0
    header_bytes: int = 16_384
    header_seconds: float = 10.0
    connections: int = 1024


def from_environment() -> Limits:
    """The limits that ``ASSAY_MAX_BODY_BYTES``, ``ASSAY_BODY_SECONDS`` and so on set.

    Raises:
        StartError: One of them is no positive number.
    """
    usual = Limits()
    return usual._replace(
        body_bytes=int(_number("ASSAY_MAX_BODY_BYTES", usual.body_bytes)),
        body_seconds=_number("ASSAY_BODY_SECONDS", usual.body_seconds),
        header_seconds=_number("ASSAY_HEADER_SECONDS", usual.header_seconds),
        connections=int(_number("ASSAY_MAX_CONNECTIONS", usual.connections)),
    )


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise StartError(f"{name} is {text!r}; give a positive number or leave it out")
    return value
