"""When so much waits that who comes now would be late: the one rule, before models and releases.

``ASSAY_QUEUE_MS`` says how long the estimated wait may be. Who waits for what is not known here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from gateway.errors import StartError
from gateway.ports import Shed
from models.contracts.traffic import Purpose

QUEUE = "ASSAY_QUEUE_MS"
#: Estimated wait in seconds from which on requests are sent away.
LONGEST_WAIT = 2.0


def longest_wait(environment: Mapping[str, str] = os.environ) -> float:
    """`LONGEST_WAIT`, or what ``ASSAY_QUEUE_MS`` says instead.

    Raises:
        StartError: The variable holds no whole number above 0.
    """
    text = environment.get(QUEUE, "")
    if not text:
        return LONGEST_WAIT
    if not text.isdecimal() or int(text) == 0:
        raise StartError(f"{QUEUE} is {text!r}; give the longest wait in milliseconds")
    return int(text) / 1000


def check(wait: float, left: float, longest: float, purpose: Purpose) -> None:
    """Let a request wait, or not.

    Args:
        wait: Estimated, in seconds.
        left: Seconds until the answer must be given; may be infinite.
        longest: See `longest_wait`.
        purpose: Golden requests may always wait, copies half as long as others.

    Raises:
        Shed: It would probably be late.
    """
    most = min(longest, max(0.0, left) / 2)
    if purpose != "golden" and wait > (most / 2 if purpose == "shadow" else most):
        raise Shed(max(1, math.ceil(wait)))
