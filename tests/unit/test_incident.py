"""The forensic report: everything in it, everything escaped, whole or not there."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.contracts.incidents import Affected, Incident, Observation
from stores.alert_rows import incident_of
from stores.ledger import Ledger
from stores.reports.incident import (
    affected,
    decision_record,
    files_of,
    read_incident,
    render,
    write_incident,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def seen(**more):
    return Observation(
        kind="performance_regression", subject="risk/x", message="AUC <b>0.61</b>", key="3:abc",
        evidence={"window": "2026-01-05", "long": "x" * 5_000, "list": [1, 2]}, **more,
    )  # fmt: skip


@pytest.fixture
def predictions(tmp_path):
    rows = [
        {"prediction_id": f"p{n}", "product": product, "model_version": version,
         "event_time": NOW + n * HOUR}
        for n, (product, version) in enumerate(
            [("risk/x", "v1"), ("risk/x", "v2"), ("risk/x", "v2"), ("risk/y", "v2")]
        )
    ]  # fmt: skip
    path = tmp_path / "predictions.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"version": "v2"}, ("p1", "p2")),
        ({"since": NOW, "until": NOW + 2 * HOUR}, ("p0", "p1")),
        ({"since": NOW + 9 * HOUR}, ()),
    ],
)
def test_affected_predictions_are_those_of_product_window_and_version(predictions, filters, ids):
    found = affected(predictions, seen(product="risk/x", **filters))
    assert found.sample == ids
    assert found.count == len(ids)


def test_affected_counts_versions_and_times(predictions):
    found = affected(predictions, seen(product="risk/x", since=NOW))
    assert found.versions == {"v1": 1, "v2": 2}
    assert (found.first, found.last) == (NOW, NOW + 2 * HOUR)


def test_what_names_no_predictions_affects_none(predictions):
    assert affected(predictions, seen(product="risk/x")) is None
    assert affected(predictions, seen(version="v1")) is None


def test_a_missing_or_damaged_log_is_said_and_hides_nothing(tmp_path):
    path = tmp_path / "predictions.parquet"
    about = seen(product="risk/x", version="v1")
    assert "no prediction has come in" in affected(path, about).note
    path.write_bytes(b"not parquet")
    assert "predictions.parquet cannot be read" in affected(path, about).note


def test_the_record_begins_with_the_newest_release(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for version in ("v1", "v2"):
        ledger.append("release", {"version": version})
    ledger.append("rollback", {"from_version": "v2", "to_version": "v1", "by": "Ada"})
    lines = decision_record(ledger.entries())
    assert [line.split(" · ")[1:] for line in lines] == [
        ["release", "version v2"],
        ["rollback", "from_version v2, to_version v1, by Ada"],
    ]


def test_the_page_shows_all_and_escapes_it():
    incident = incident_of(seen(), NOW).model_copy(
        update={
            "decision_record": ("2026-01-01 · release · v2",),
            "affected": Affected(count=1_234, versions={"v2": 1_234}, sample=("p1",)),
        }
    )
    page = render(incident)
    for part in ("AUC &lt;b&gt;0.61", "1,234", "release · v2", "p1", "assay rollback", "[1, 2]",
                 "(5,000 characters)", "Performance regression: risk/x"):  # fmt: skip
        assert part in page
    for outside in ("<script", "http://", "https://", "<b>0.61"):
        assert outside not in page


def test_written_and_read_again(tmp_path):
    incident = incident_of(seen(), NOW)
    assert read_incident(tmp_path, incident.id) is None
    write_incident(tmp_path, incident)
    page, data = files_of(tmp_path, incident.id)
    assert page.read_text() == render(incident)
    assert Incident.model_validate_json(data.read_text()) == incident
    assert read_incident(tmp_path, incident.id) == incident
    assert page.parent == tmp_path / incident.id
