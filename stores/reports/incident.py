"""The forensic report of an incident: one HTML page and the same as JSON. Nothing is decided here.

What happened, the evidence, the predictions it touches, the decision record, what to do next. The
page needs no network and runs no script, so it is also the body and the attachment of an e-mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.contracts.incidents import KINDS, Affected, Incident, Observation
from stores.files import write_atomic
from stores.ledger import Entry
from stores.reports.templates import render_page

HTML_NAME, JSON_NAME = "incident.html", "incident.json"
_SAMPLE = 20


def write_incident(folder: Path, incident: Incident) -> None:
    """Write page and JSON; the JSON last, so that where it is, the page is whole.

    Args:
        folder: ``<home>/alerts``; the incident gets a folder of its own below.
        incident: With its decision record and affected predictions.

    """
    page, data = files_of(folder, incident.id)
    write_atomic(page, render(incident))
    write_atomic(data, incident.model_dump_json(indent=1))


def files_of(folder: Path, identity: str) -> tuple[Path, Path]:
    """Where an incident's page and JSON lie below ``<home>/alerts``."""
    return folder / identity / HTML_NAME, folder / identity / JSON_NAME


def read_incident(folder: Path, identity: str) -> Incident | None:
    """A report that was written before; None when there is none."""
    path = folder / identity / JSON_NAME
    return Incident.model_validate_json(path.read_bytes()) if path.exists() else None


def render(incident: Incident) -> str:
    """The page as HTML. Every value is escaped: messages and names come from data."""
    headline = [
        ("Severity", incident.severity),
        ("Owner", incident.owner),
        ("Opened (UTC)", f"{incident.opened_at:%Y-%m-%d %H:%M:%S}"),
    ]
    return render_page(
        "incident.html",
        it=incident,
        kind=KINDS[incident.kind],
        mood="promote" if incident.severity == "info" else "keep",
        verdict=incident.message,
        headline=headline,
    )


def affected(predictions: Path, seen: Observation) -> Affected | None:
    """The predictions an observation touches, from the joined prediction log.

    Args:
        predictions: ``<home>/traffic/predictions.parquet``.
        seen: Names the product and the window or version; without these it touches none.
    """
    if seen.product is None or (seen.since is None and seen.version is None):
        return None
    if not predictions.exists():
        return Affected(count=0, note="no prediction has come in from the log yet")
    try:
        return _count(predictions, seen)
    except Exception as error:  # noqa: BLE001  # a damaged log must not silence the alert about it
        return Affected(count=0, note=f"{predictions.name} cannot be read: {error}")


def decision_record(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The ledger from the newest release on, one line per fact, oldest first."""
    releases = [entry.sequence for entry in entries if entry.kind == "release"]
    return tuple(_line(entry) for entry in entries if entry.sequence >= max(releases, default=0))


def _count(predictions: Path, seen: Observation) -> Affected:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = pc.field("product") == seen.product
    if seen.version is not None:
        wanted &= pc.field("model_version") == seen.version
    if seen.since is not None:
        wanted &= pc.field("event_time") >= seen.since
    if seen.until is not None:
        wanted &= pc.field("event_time") < seen.until
    columns = ["prediction_id", "model_version", "event_time"]
    rows = pq.read_table(predictions, columns=columns, filters=wanted)
    versions = rows["model_version"].value_counts().to_pylist()
    times = pc.min_max(rows["event_time"]).as_py()
    return Affected(
        count=rows.num_rows,
        versions={str(row["values"]): row["counts"] for row in versions},
        first=times["min"],
        last=times["max"],
        sample=tuple(rows["prediction_id"].slice(0, _SAMPLE).to_pylist()),
    )


def _line(entry: Entry) -> str:
    body: dict[str, Any] = entry.body
    if entry.kind == "decision":
        said = f"{body['decision']['outcome']}: {body['decision']['reason']}"
    else:
        plain = {n: v for n, v in body.items() if v is not None and not isinstance(v, dict | list)}
        said = ", ".join(f"{name} {value}" for name, value in plain.items())
    return f"{entry.at:%Y-%m-%d %H:%M:%S} UTC · {entry.kind} · {said}"
