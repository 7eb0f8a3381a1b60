"""A benchmark that is told to end stops what it started, as it does when it is done."""

from __future__ import annotations

import signal
import sys


def leave_nothing_behind() -> None:
    """Have SIGTERM raise, as Ctrl-C does: without it no block is left and no service stopped."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
