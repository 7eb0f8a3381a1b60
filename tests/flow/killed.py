"""Runs what changed in a home, again and again, each time killed right before a write it names.

``python -m tests.flow.killed HOME EVENT FRAGMENT [EVENT FRAGMENT ...]``: EVENT is an audit event of
Python (`os.rename` or `open`), FRAGMENT a part of the path written to. Each run is a process of its
own that ends by SIGKILL, as in a power cut. Prints the exit codes as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.flow.chain import Place

#: Imported once, before the runs are forked: together they take longer than a run.
HEAVY = ("mlflow", "pandas", "pyarrow.parquet", "sklearn.linear_model", "skops.io", "model_signing")


def kill_before(event: str, fragment: str) -> None:
    """End this process before the first write that fits."""

    def watch(name: str, arguments: tuple[Any, ...]) -> None:
        if name != event:
            return
        path = str(arguments[1] if name == "os.rename" else arguments[0])
        writes = name == "os.rename" or set(str(arguments[1])) & set("wax")
        if writes and fragment in path:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def run_killed(place: Place, event: str, fragment: str) -> int:
    """Exit code of one run; negative: the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        kill_before(event, fragment)
        os._exit(0 if place.refresh().success else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    home, *kills = sys.argv[1:]
    for module in HEAVY:
        importlib.import_module(module)
    place = Place(Path(home))
    codes = [run_killed(place, *pair) for pair in zip(kills[::2], kills[1::2], strict=True)]
    sys.stdout.write(json.dumps(codes))
