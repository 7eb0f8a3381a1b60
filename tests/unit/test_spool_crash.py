"""The ingestion killed at any step, and notes of an earlier one that are damaged."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stores import spool, spool_parts, spool_state
from stores.spool_account import Arrived
from stores.spool_state import StateError
from tests.unit.spool_home import SLUG, W2, Place, once, outcome, outcomes, prediction, refusal


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a power cut tells the difference, and here it is most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("name", "step"), [("state", "may call lines missing"), ("batch", "counts once, by its id")]
)
def test_a_damaged_note_names_the_file_and_the_next_step(
    place: Place, name: str, step: str
) -> None:
    place.write(1, prediction(1))
    note = place.home.root / "spool" / ".ingestion" / f"{SLUG}.{name}.json"
    note.parent.mkdir()
    note.write_bytes(b'{"landed": "\xff')
    with pytest.raises(StateError, match=rf"{note} is damaged .*remove it.*{step}"):
        place.ingest()
    assert place.ids() == Counter()
    note.unlink()
    assert place.ingest().complete
    assert place.ids() == once(1)


def test_a_folder_removed_in_the_middle_of_a_batch_is_told_and_stops_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(1, prediction(1))
    with monkeypatch.context() as patch:
        patch.setattr(spool_state, "save", _die)
        with pytest.raises(_Killed):
            place.ingest()
    shutil.rmtree(place.folder)
    assert place.arrived().damaged[0].reason == "somebody removed it before it was landed"
    assert place.arrived() == Arrived()


def _die(*_: object) -> None:
    raise _Killed


class _Killed(BaseException):
    """Nothing that the code under test could catch by accident."""


def _kill_at(patch: pytest.MonkeyPatch, step: int) -> Counter[str]:
    """Die before the given rename or removal; a dead process does nothing any more."""
    calls: Counter[str] = Counter()

    def wrap(name: str) -> None:
        act = getattr(Path, name)

        def acting(self: Path, *args: object, **options: object) -> object:
            calls["steps"] += 1
            if calls["steps"] >= step:
                raise _Killed
            return act(self, *args, **options)

        patch.setattr(Path, name, acting)

    for name in ("replace", "unlink"):
        wrap(name)
    return calls


def _busy(root: Path) -> Place:
    """A home in which an ingestion has everything to do."""
    place = Place(root)
    place.write(1, prediction(1), outcome(2), refusal(3))
    place.write(2, prediction(4), prediction(6)[:-9], state=".open")
    place.write(1, prediction(1), prediction(2)[:-9] + b"\n", prediction(3), writer=W2)
    inbox = place.home.root / "inbox" / "outcomes"
    inbox.mkdir(parents=True)
    pq.write_table(outcomes(), inbox / "good.parquet")
    pq.write_table(outcomes(label=[7]), inbox / "bad.parquet")
    return place


def test_killed_at_any_step_the_next_run_ends_as_a_clean_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "BATCH_BYTES", 600)
    monkeypatch.setattr(spool_parts, "MERGE_PARTS", 2)
    clean = _busy(tmp_path / "clean")
    told = clean.ingest().problems
    expected = clean.state()
    step, killed = 0, True
    while killed:
        step += 1
        place = _busy(tmp_path / str(step))
        with monkeypatch.context() as patch:
            _kill_at(patch, step)
            try:
                place.ingest()
                killed = False
            except _Killed:
                pass
        again = place.ingest()
        assert place.state() == expected, f"killed before step {step}"
        assert again.problems == told
    assert step > 30
    assert clean.ids() == Counter(p1=2, p3=1, p4=1)
