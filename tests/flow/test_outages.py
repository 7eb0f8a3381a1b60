"""A full disk, a locked warehouse, a tracking server that is down, a clock that goes back.

While the fault lasts the run fails and says what to do; when it is gone the next run ends where a
clean one does.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.contracts.incidents import Incident
from orchestration.running import instance
from orchestration.settings import Settings
from orchestration.watch import sweep
from stores import ledger
from tests.flow.chain import CHEAP, TREES, Place, with_trials
from tests.flow.test_kill import made

#: What is written in each stage; the disk is full for exactly this.
FULL = [
    "/raw/merges/",
    "/features/",
    "/datasets/",
    "/candidates/",
    "/evaluations/",
    "/ledger/",
    "/bentos/",
]
_full_for: list[str] = []


def _watch(name: str, arguments: tuple[object, ...]) -> None:
    if name == "open" and _full_for:
        path, mode, flags = str(arguments[0]), arguments[1], arguments[2]
        writes = set(mode) & set("wxa+") if isinstance(mode, str) else int(str(flags)) & os.O_CREAT
        if writes and _full_for[0] in path and not path.endswith(".lock"):
            raise OSError(errno.ENOSPC, "No space left on device", path)


@contextmanager
def full_disk(fragment: str) -> Iterator[None]:
    """No file of which the path has this fragment can be opened for writing."""
    _full_for.append(fragment)
    try:
        yield
    finally:
        _full_for.clear()


@pytest.fixture(scope="module", autouse=True)
def _hook() -> None:
    sys.addaudithook(_watch)  # cannot be taken out again; outside `full_disk` it does nothing


def test_a_disk_that_is_full_in_any_stage_costs_a_rerun_and_nothing_else(
    base: Place, tmp_path: Path
):
    place = Place(tmp_path / "home", CHEAP)
    for fragment in FULL:
        with full_disk(fragment):
            ran = place.refresh()
        assert not ran.success, fragment
        assert "No space left on device" in ran.error, fragment
    assert place.refresh().success
    assert made(place) == made(base)
    told = [one for one in swept(place) if one.kind == "run_failed"]
    assert len(told) == len(FULL)
    assert all("No space left on device" in one.model_dump_json() for one in told)


def swept(place: Place) -> tuple[Incident, ...]:
    """What the watch tells of a home that nobody watched until now."""
    with instance(place.settings) as found:
        return sweep(place.settings, found, None, datetime.now(UTC), [place.product])


def test_a_locked_warehouse_is_named_and_the_next_run_goes_through(place: Place):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place.root / "warehouse.duckdb")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        before = place.state()
        ran = place.run(["staging/merges"])
        assert not ran.success
        assert "lock" in ran.error
        assert str(holder.pid) in ran.error
    finally:
        holder.communicate("go")
    assert place.run(["staging/merges"]).success
    assert place.state() == before


HOLD = """
import sys, duckdb
kept = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Untracked(Place):
    """A home whose tracking server is down."""

    @property
    def settings(self) -> Settings:
        return super().settings.model_copy(update={"mlflow_uri": "http://127.0.0.1:9"})


def test_a_tracking_server_that_is_down_is_named_and_nothing_is_fitted_twice(place: Place):
    product = with_trials(TREES)
    down = Untracked(place.root, product)
    ran = down.run(down.stages("candidates", "candidates"))
    assert not ran.success
    assert "the tracking server http://127.0.0.1:9 does not answer" in ran.error
    assert "ASSAY_MLFLOW_URI" in ran.error
    up = Place(place.root, product)
    assert up.run(up.stages("candidates", "evaluation")).success


def test_a_clock_that_goes_back_makes_no_older_release(
    judged: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = judged.copy(tmp_path / "home", judged.product)
    before = place.ledger.current()
    newest = place.ledger.entries()[-1].at
    late = (lambda: datetime.now(UTC) - timedelta(days=400),)
    monkeypatch.setattr(ledger.Ledger.__init__, "__defaults__", late)
    assert place.run(place.stages("promotion", "bento")).success
    after = place.ledger.current()
    assert before is not None
    assert after is not None
    assert after.version > before.version
    assert place.ledger.entries()[-1].at >= newest
    assert place.ledger.previous() == before
