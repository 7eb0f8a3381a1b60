"""Rows of the alert table: its schema, how a row becomes an incident. No connection, no rules."""

from __future__ import annotations

import json
import sqlite3
import uuid
from datetime import UTC, datetime

from models.contracts.incidents import KINDS, Incident, Observation

#: One open incident per kind, subject and key; one for ever per key that is not empty.
SCHEMA = """
CREATE TABLE IF NOT EXISTS incidents (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL, subject TEXT NOT NULL, key TEXT NOT NULL, opened_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL, count INTEGER NOT NULL, closed_at TEXT, muted INTEGER NOT NULL,
  seen TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_open ON incidents (kind, subject, key)
  WHERE closed_at IS NULL OR key != '';
CREATE TABLE IF NOT EXISTS outbox (
  incident_id TEXT NOT NULL REFERENCES incidents (id), notifier TEXT NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0, next_at TEXT, delivered_at TEXT, failed_at TEXT,
  error TEXT NOT NULL DEFAULT '', PRIMARY KEY (incident_id, notifier));
CREATE TABLE IF NOT EXISTS suspects (
  kind TEXT NOT NULL, subject TEXT NOT NULL, since TEXT NOT NULL, PRIMARY KEY (kind, subject));
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


def incident_of(seen: Observation, now: datetime, *, muted: bool = False) -> Incident:
    """The incident an observation opens."""
    spec = KINDS[seen.kind]
    tail = f"{seen.kind.replace('_', '-')}-{uuid.uuid4().hex[:6]}"
    return Incident(
        id=f"{now:%Y%m%dt%H%M%S}-{tail}",
        kind=seen.kind,
        subject=seen.subject,
        severity=spec.severity,
        owner=seen.owner,
        opened_at=now,
        last_seen_at=now,
        count=1,
        closed_at=None if spec.lasts else now,
        message=seen.message,
        evidence=seen.evidence,
        muted=muted,
    )


def incident(row: sqlite3.Row) -> Incident:
    """The incident as the table has it now."""
    changed = {
        "id": row["id"],
        "count": row["count"],
        "last_seen_at": datetime.fromisoformat(row["last_seen_at"]),
        "closed_at": time_of(row["closed_at"]),
    }
    opened = datetime.fromisoformat(row["opened_at"])
    made = incident_of(seen_in(row), opened, muted=bool(row["muted"]))
    return made.model_copy(update=changed)


def seen_in(row: sqlite3.Row) -> Observation:
    """What opened the incident."""
    return Observation.model_validate(json.loads(row["seen"]))


def text_of(at: datetime) -> str:
    """Always with microseconds and in UTC, so that text sorts as time does."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def time_of(text: str | None) -> datetime | None:
    """The inverse; None stays None."""
    return datetime.fromisoformat(text) if text else None
