"""Runs what changed in a home and kills itself, by SIGKILL, right before a write that is named.

``python -m tests.flow.killed HOME EVENT FRAGMENT``: EVENT is an audit event of Python (`os.rename`
or `open`), FRAGMENT a part of the path written to. Without a kill the process ends by itself.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.flow.chain import Place


def kill_before(event: str, fragment: str) -> None:
    """End this process, as a power cut would, before the first write that fits."""

    def watch(name: str, arguments: tuple[Any, ...]) -> None:
        if name != event:
            return
        path = str(arguments[1] if name == "os.rename" else arguments[0])
        writes = name == "os.rename" or set(str(arguments[1])) & set("wax")
        if writes and fragment in path:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


if __name__ == "__main__":
    home, event, fragment = sys.argv[1:]
    place = Place(Path(home))
    kill_before(event, fragment)
    done = place.refresh()
    sys.exit(0 if done.success else done.error)
