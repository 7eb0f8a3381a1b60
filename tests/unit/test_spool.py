"""The ingestion: every acknowledged line lands once, whatever happens; what is missing is told."""

import fcntl
import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.contracts.traffic import OutcomeRecord, PredictionRecord, RefusalRecord
from models.core.journal import encode
from models.registry import products
from stores import spool, spool_parts
from stores.files import sha256
from stores.home import Home
from stores.spool import acknowledge, ingest, waiting
from stores.spool_account import Arrived, Ingested

PRODUCT = products()[0]
SLUG = PRODUCT.slug
W1, W2 = "20260105T100000000000-11-aaaaaa", "20260106T100000000000-12-bbbbbb"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
NOW = datetime(2026, 1, 10, tzinfo=UTC)


def prediction(number: int, at: datetime = NOON) -> bytes:
    record = PredictionRecord(
        prediction_id=f"p{number}", request_id="r", product=PRODUCT.key, tenant="t",
        model_version="v1", event_id=None, event_time=at, answered_at=at, purpose="traffic",
        score=0.5, inputs=(1.0, None), inputs_hash="00", latency_ms=1.5, rows=1,
    )  # fmt: skip
    return encode(number, "prediction", record.model_dump(mode="json"))


def outcome(number: int) -> bytes:
    record = OutcomeRecord(
        outcome_id=f"o{number}", product=PRODUCT.key, prediction_id="p1", event_id=None, label=1,
        known_at=NOON, received_at=NOON, source="http",
    )  # fmt: skip
    return encode(number, "outcome", record.model_dump(mode="json"))


def refusal(number: int) -> bytes:
    record = RefusalRecord(
        request_id=f"q{number}", product=PRODUCT.key, model_version="v1", answered_at=NOON,
        path="/predict", status=400, latency_ms=0.5,
    )  # fmt: skip
    return encode(number, "refusal", record.model_dump(mode="json"))


class Place:
    """A home with a spool."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.folder = self.home.spool(PRODUCT)
        self.folder.mkdir(parents=True)

    def write(self, index: int, *lines: bytes, writer: str = W1, state: str = ".log") -> Path:
        path = self.folder / f"{writer}-{index:06}{state}"
        path.write_bytes(b"".join(lines))
        return path

    def ingest(self, retention_days: int = 90) -> Ingested:
        return ingest(
            self.home, [PRODUCT], retention_days=retention_days, say=print, clock=lambda: NOW
        )

    def arrived(self) -> Arrived:
        """Of one ingestion that was reported."""
        ingested = self.ingest()
        acknowledge(self.home, ingested)
        return ingested.arrived[SLUG]

    def ids(self) -> Counter[str]:
        """How often each prediction is in the log."""
        found = (pq.read_table(part) for part in spool_parts.parts(self.home, "prediction"))
        return Counter(i for t in found for i in t["prediction_id"].to_pylist())

    def state(self) -> dict[str, str]:
        """Digest of every file but the locks."""
        root = self.home.root
        files = (p for p in root.rglob("*") if p.is_file() and p.name != "lock")
        return {str(p.relative_to(root)): sha256(p) for p in files}


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a power cut tells the difference, and here it is most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def once(*numbers: int) -> Counter[str]:
    return Counter(f"p{number}" for number in numbers)


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
    place.write(1, *(prediction(n, NOON - timedelta(days=age)) for n, age in enumerate(ages, 1)))
    # dated by a clock that had jumped ahead: it must not make all else old
    place.write(1, prediction(1, NOON + timedelta(days=4_000)), writer=W2)
    ingested = place.ingest(retention_days=30)
    assert ingested.dropped == ("predictions/2025-10-07", "predictions/2025-12-05")
    assert place.ids() == once(1, 2, 1)


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


def outcomes(**changes: list[object]) -> pa.Table:
    rows = {"product": [PRODUCT.key], "event_id": ["e1"], "label": [1], "known_at": [NOON]}
    return pa.table(rows | changes)


def drop(place: Place, name: str, table: pa.Table | str) -> None:
    inbox = place.home.root / "inbox" / "outcomes"
    inbox.mkdir(parents=True, exist_ok=True)
    if isinstance(table, str):
        (inbox / name).write_text(table)
    else:
        pq.write_table(table, inbox / name)


def test_a_dropped_file_lands_as_outcomes_and_the_same_again_changes_nothing(place: Place) -> None:
    drop(place, "monday.parquet", outcomes())
    (file,) = place.ingest().files
    assert (file.status, file.rows) == ("landed", 1)
    (part,) = spool_parts.parts(place.home, "outcome")
    (row,) = pq.read_table(part, partitioning=None).to_pylist()
    assert row["known_at"] == NOON.replace(tzinfo=None)
    assert row["received_at"] == NOW.replace(tzinfo=None)
    assert (row["event_id"], row["prediction_id"], row["source"]) == ("e1", None, "monday.parquet")
    version = spool_parts.version(place.home, "outcome")
    drop(
        place,
        "tuesday.csv",
        f"known_at,product,prediction_id,event_id,label\n2026-01-05T14:00:00+02:00,{PRODUCT.key},,e1,1\n",
    )
    (again,) = place.ingest().files
    assert again.status == "known"
    assert spool_parts.version(place.home, "outcome") == version
    assert place.ingest().files == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"product": ["risk/none"]}, "row 1: unknown product 'risk/none'"),
        ({"prediction_id": ["p"]}, "row 1: give prediction_id or event_id, not both"),
        ({"event_id": [""]}, "row 1: give prediction_id or event_id, not none"),
        ({"label": [2]}, "row 1: label is 2, not 0 or 1"),
        ({"label": [0.5]}, "label cannot be read"),
        ({"known_at": pa.array([None], pa.timestamp("us"))}, "known_at (1 of 1)"),
        ({"known_at": ["soon"]}, "known_at cannot be read: Invalid isoformat string: 'soon'"),
        ({"known_at": [7.5]}, "known_at cannot be read"),
        ({"colour": ["red"]}, "unexpected columns: colour"),
    ],
)
def test_a_file_that_does_not_fit_goes_to_quarantine_with_its_reason(
    place: Place, changes: dict[str, list[object]], reason: str
) -> None:
    drop(place, "bad.parquet", outcomes(**changes))
    drop(place, "good.parquet", outcomes())
    bad, good = place.ingest().files
    assert (bad.status, good.status) == ("quarantined", "landed")
    assert reason in bad.reason
    folder = place.home.root / "quarantine" / "outcomes"
    told = json.loads((folder / "bad.parquet.reason.json").read_text())
    assert told == {"reason": bad.reason}
    assert waiting(place.home, [PRODUCT]) == ()
