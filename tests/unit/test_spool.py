"""The ingestion: every acknowledged line lands once, whatever happens; what is missing is told."""

import fcntl
import json
import os
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from models.core.journal import encode
from stores import spool, spool_parts
from stores.spool import acknowledge, waiting
from stores.spool_account import Arrived
from tests.unit.spool_home import (
    NOON,
    PRODUCT,
    SLUG,
    W1,
    W2,
    Place,
    once,
    outcome,
    prediction,
    refusal,
)


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a power cut tells the difference, and here it is most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_lines_land_once_by_kind_and_day(place: Place) -> None:
    place.write(1, prediction(1), prediction(2, NOON + timedelta(days=1)), outcome(3))
    place.write(2, refusal(4), prediction(5))
    arrived = place.arrived()
    assert (arrived.answered, arrived.landed, arrived.complete) == (5, 5, True)
    assert arrived.rows == {"prediction": 3, "outcome": 1, "refusal": 1}
    assert place.ids() == once(1, 2, 5)
    days = {part.parent.name for part in spool_parts.parts(place.home, "prediction")}
    assert days == {"day=2026-01-05", "day=2026-01-06"}
    assert list(place.folder.iterdir()) == []
    before = place.state()
    assert place.arrived() == Arrived()
    assert place.state() == before


def test_a_part_says_what_the_line_said(place: Place) -> None:
    place.write(1, prediction(1))
    place.ingest()
    (part,) = spool_parts.parts(place.home, "prediction")
    table = pq.read_table(part, partitioning=None)
    assert table.schema.equals(spool_parts.predictions_schema())
    (row,) = table.to_pylist()
    assert row["event_time"] == NOON.replace(tzinfo=None)
    assert (row["inputs"], row["event_id"]) == ([1.0, None], None)


def test_without_traffic_there_are_files_without_rows(place: Place) -> None:
    ingested = place.ingest()
    assert (ingested.complete, ingested.arrived[SLUG]) == (True, Arrived())
    for kind in ("prediction", "outcome", "refusal"):
        empty = pq.read_table(spool_parts.folder(place.home, kind) / "empty.parquet")
        assert (empty.num_rows, empty.schema) == (0, spool_parts.schema(kind))


def test_a_live_writer_keeps_its_segment_and_a_dead_one_does_not(place: Place) -> None:
    live = place.write(1, prediction(1), state=".open")
    dead = place.write(1, prediction(1)[:-9], writer=W2, state=".open")
    with live.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert waiting(place.home, [PRODUCT]) == (dead.stem,)
        arrived = place.arrived()
    assert (arrived.torn_tails, arrived.answered, arrived.complete) == (1, 0, True)
    assert live.exists()
    assert not dead.exists()
    assert place.arrived().landed == 1


def test_no_segment_is_taken_before_an_earlier_one_of_its_writer(place: Place) -> None:
    first = place.write(1, prediction(1), state=".open")
    place.write(2, prediction(2))
    with first.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert place.arrived() == Arrived()
    assert place.arrived().complete
    assert place.ids() == once(1, 2)


def test_a_torn_line_fails_the_check_once_and_the_whole_lines_land(place: Place) -> None:
    segment = place.write(1, prediction(1), prediction(2)[:-9] + b"\n", prediction(3))
    content = segment.read_bytes()
    arrived = place.arrived()
    assert (arrived.answered, arrived.landed, arrived.complete) == (3, 2, False)
    assert arrived.missing == (f"{W1}: lines 2 to 2 are missing",)
    assert arrived.damaged[0].reason == "line 2 is torn or altered"
    kept = place.home.root / "quarantine" / "spool" / SLUG / segment.name
    assert kept.read_bytes() == content
    reason = json.loads(kept.with_name(f"{kept.name}.reason.json").read_text())
    assert reason["reason"] == "line 2 is torn or altered"
    assert place.ids() == once(1, 3)
    place.write(2, prediction(4))
    assert place.arrived().complete


def test_a_truncated_segment_is_damage_and_its_line_is_missed_once(place: Place) -> None:
    place.write(1, prediction(1), prediction(2)[:-9])
    arrived = place.arrived()
    assert (arrived.answered, arrived.landed, arrived.complete) == (2, 1, False)
    place.write(2, prediction(3))
    assert place.arrived().complete


def test_a_gap_is_seen_across_segments_and_ingestions(place: Place) -> None:
    place.write(1, prediction(1), prediction(2))
    assert place.arrived().complete
    place.write(3, prediction(5))
    place.write(1, prediction(6), prediction(7), writer=W2)
    arrived = place.arrived()
    assert arrived.missing == (
        f"{W1}: lines 3 to 4 are missing", f"{W2}: lines 1 to 5 are missing",
    )  # fmt: skip
    assert (arrived.answered, arrived.landed) == (10, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"score": "high"}, "line 1 is no prediction: score: Input should be a valid number"),
        ({"product": "risk/other"}, "line 1 belongs to risk/other"),
        ({"colour": "red"}, "line 1 is no prediction: colour: Extra inputs are not permitted"),
    ],
)
def test_a_whole_line_that_fits_no_record_is_damage(
    place: Place, change: dict[str, object], reason: str
) -> None:
    body = json.loads(prediction(1).split(b" ", 3)[3]) | change
    place.write(1, encode(1, "prediction", body), prediction(2))
    arrived = place.arrived()
    assert arrived.damaged[0].reason.startswith(reason)
    assert (arrived.answered, arrived.landed, arrived.missing) == (2, 1, ())


def test_what_was_not_reported_is_told_again(place: Place) -> None:
    place.write(1, prediction(2))
    lost = place.ingest()
    assert not lost.complete
    again = place.ingest()
    assert again.problems == lost.problems
    acknowledge(place.home, again)
    assert place.ingest().complete


def test_writers_long_gone_are_forgotten(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "KEPT_WRITERS", 1)
    place.write(1, prediction(1))
    place.write(1, prediction(1), prediction(2), writer=W2)
    place.ingest()
    state = place.home.root / "spool" / ".ingestion" / f"{SLUG}.state.json"
    assert json.loads(state.read_text())["writers"] == {W2: 2}


def test_a_clock_that_went_back_changes_nothing(place: Place) -> None:
    place.write(1, prediction(1, NOON), writer=W2)
    acknowledge(place.home, place.ingest())
    earlier = NOON - timedelta(days=30)
    place.write(1, prediction(1, earlier), prediction(2, earlier), writer=W1)
    assert place.arrived().complete
    assert place.ids() == once(1, 1, 2)


def test_whole_days_older_than_the_retention_are_dropped(place: Place) -> None:
    ages = (0, 30, 31, 90)
    place.write(
        1,
        *(prediction(n, NOON - timedelta(days=age)) for n, age in enumerate(ages, 1)),
        prediction(5, about=NOON - timedelta(days=400)),
    )  # replayed: logged today
    # dated by a clock that had jumped ahead: it must not make all else old
    place.write(1, prediction(1, NOON + timedelta(days=4_000)), writer=W2)
    ingested = place.ingest(retention_days=30)
    assert ingested.dropped == ("predictions/2025-10-07", "predictions/2025-12-05")
    assert place.ids() == once(1, 2, 5, 1)


def test_many_small_parts_of_a_day_become_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_parts, "MERGE_PARTS", 3)
    found = []
    for number in range(1, 6):
        place.write(number, prediction(number))
        place.ingest()
        found.append([part.name[:6] for part in spool_parts.parts(place.home, "prediction")])
    assert [len(names) for names in found] == [1, 2, 1, 2, 1]
    assert found[-1] == ["merged"]
    assert place.ids() == once(1, 2, 3, 4, 5)


def test_rows_of_before_a_column_came_go_on_without_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes had no tenant once: files of then are read and merged with those of now."""
    place.write(1, outcome(1))
    place.ingest()
    (part,) = spool_parts.parts(place.home, "outcome")
    folder = spool_parts.folder(place.home, "outcome")
    for path in (part, folder / "empty.parquet"):
        old = pq.read_table(path, partitioning=None).drop_columns("tenant")
        pq.write_table(old, path)
    monkeypatch.setattr(spool_parts, "MERGE_PARTS", 2)
    place.write(2, outcome(2, tenant="acme"))
    place.ingest()
    (merged,) = spool_parts.parts(place.home, "outcome")
    table = pq.read_table(merged, partitioning=None)
    assert table.schema.equals(spool_parts.outcomes_schema())
    found = {row["outcome_id"]: row["tenant"] for row in table.to_pylist()}
    assert found == {"o1": None, "o2": "acme"}
    assert pq.read_schema(folder / "empty.parquet").equals(spool_parts.outcomes_schema())


def test_another_reader_s_look_at_a_dead_writer_s_segment_is_no_lock(place: Place) -> None:
    dead = place.write(1, prediction(1), state=".open")
    with dead.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        assert place.arrived().landed == 1
