"""Dropped outcome files: as a whole or not at all, and the same again changes nothing."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stores import spool_parts
from stores.spool import waiting
from tests.unit.spool_home import NOON, NOW, PRODUCT, Place, drop, outcomes


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a power cut tells the difference, and here it is most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


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
        (
            {"known_at": ["0001-01-01T00:00:00+10:00"]},
            "known_at cannot be read: a time",
        ),
        ({"known_at": pa.array([10**18], pa.timestamp("us"))}, "before 1970 or after 2999"),
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


def test_a_file_may_say_whose_rows_are_meant_and_a_silent_column_says_nothing(place: Place) -> None:
    drop(place, "monday.parquet", outcomes())
    silent = pa.array([None], pa.string())
    drop(place, "same.parquet", outcomes(tenant=silent))
    drop(place, "tuesday.parquet", outcomes(tenant=["acme"]))
    assert [file.status for file in place.ingest().files] == ["landed", "known", "landed"]
    parts = spool_parts.parts(place.home, "outcome")
    tenants = [pq.read_table(part, partitioning=None)["tenant"].to_pylist() for part in parts]
    assert sorted(tenants, key=str) == [["acme"], [None]]
