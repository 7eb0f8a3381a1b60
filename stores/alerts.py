"""The alert table: incidents, who was told, and how far the event log was read. SQLite, one file.

A sweep is one transaction: what was seen, the messages that follow and the cursors are kept
together or not at all. Nothing is detected or sent here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from models.contracts.incidents import KINDS, AlertKind, Incident, Observation
from stores.alert_rows import SCHEMA, incident, incident_of, seen_in, text_of, time_of

FILE_NAME = "alerts.db"
#: A message is tried this often, after 1, 2, 4, ... at most 60 minutes: over some six hours.
MAX_TRIES = 12
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)
_LOCK_SECONDS = 30.0


class Delivery(NamedTuple):
    """Whether one notifier has told one incident.

    Attributes:
        error: What went wrong last; empty when nothing did.
    """

    notifier: str
    tries: int
    delivered_at: datetime | None
    failed_at: datetime | None
    error: str


class Letter(NamedTuple):
    """A message that is due. ``tries`` above 0: an earlier try failed or was cut short."""

    incident: Incident
    seen: Observation
    notifier: str
    tries: int


class Rules(NamedTuple):
    """Who is told of a new incident: every notifier by name, unless a mute pattern matches."""

    notifiers: Sequence[str]
    mute: Sequence[str] = ()

    def muted(self, seen: Observation) -> bool:
        """Whether a pattern ``kind`` or ``kind:subject`` (``*`` allowed) matches."""
        names = (seen.kind, f"{seen.kind}:{seen.subject}")
        return any(fnmatchcase(name, pattern) for pattern in self.mute for name in names)


class Alerts:
    """The table of one home; any number of processes may use it at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def sweep(self, now: datetime, rules: Rules) -> Iterator[Sweep]:
        """One transaction, which no other sweep can interleave; an error undoes all of it."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Sweep(connection, now, rules)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def incidents(self, *, open_only: bool = False, limit: int = 100) -> tuple[Incident, ...]:
        """Newest first."""
        where = "WHERE closed_at IS NULL" if open_only else ""
        query = f"SELECT * FROM incidents {where} ORDER BY number DESC LIMIT ?"  # noqa: S608
        with self._open() as connection:
            return tuple(incident(row) for row in connection.execute(query, (limit,)))

    def deliveries(self, incident_id: str) -> tuple[Delivery, ...]:
        """Who was told of an incident, by notifier."""
        query = "SELECT * FROM outbox WHERE incident_id = ? ORDER BY notifier"
        with self._open() as connection:
            rows = connection.execute(query, (incident_id,)).fetchall()
        return tuple(
            Delivery(row["notifier"], row["tries"], time_of(row["delivered_at"]),
                     time_of(row["failed_at"]), row["error"])
            for row in rows
        )  # fmt: skip

    def due(self, notifier: str, now: datetime) -> tuple[Letter, ...]:
        """Messages this notifier should try now, oldest first.

        One that waits longer than the longest wait was put off by a clock that has since gone back.
        """
        query = """SELECT incidents.*, outbox.tries, outbox.next_at FROM outbox
            JOIN incidents ON incidents.id = outbox.incident_id
            WHERE notifier = ? AND delivered_at IS NULL AND failed_at IS NULL ORDER BY number"""
        with self._open() as connection:
            rows = connection.execute(query, (notifier,)).fetchall()
        return tuple(
            Letter(incident(row), seen_in(row), notifier, row["tries"])
            for row in rows
            if (at := time_of(row["next_at"])) is None or not now < at <= now + _LONGEST_WAIT
        )

    def begin(self, letter: Letter, now: datetime) -> None:
        """Say, before a message is sent, that it is being tried: a cut-short try counts."""
        wait = min(_FIRST_WAIT * 2**letter.tries, _LONGEST_WAIT)
        self._update(letter, "tries = tries + 1, next_at = ?", text_of(now + wait))

    def delivered(self, letter: Letter, now: datetime) -> None:
        """The notifier took it: never sent again."""
        self._update(letter, "error = '', delivered_at = ?", text_of(now))

    def failed(self, letter: Letter, now: datetime, error: str) -> bool:
        """The notifier did not take it; after the last try it is given up.

        Returns:
            Whether it was given up.
        """
        last = letter.tries + 1 >= MAX_TRIES
        self._update(letter, "failed_at = ?, error = ?", text_of(now) if last else None, error)
        return last

    def _update(self, letter: Letter, change: str, *values: str | None) -> None:
        where = "WHERE incident_id = ? AND notifier = ?"
        query = f"UPDATE outbox SET {change} {where}"  # noqa: S608  # both parts are ours
        with self._open() as connection:
            connection.execute(query, (*values, letter.incident.id, letter.notifier))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / FILE_NAME
        with closing(
            sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)
        ) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(SCHEMA)
            yield connection


class Sweep:
    """What may be changed while a sweep's transaction is open."""

    def __init__(self, connection: sqlite3.Connection, now: datetime, rules: Rules) -> None:
        self._connection, self._now, self._rules = connection, now, rules

    def marks(self) -> dict[str, str]:
        """Cursors and times kept from sweep to sweep."""
        return {r["name"]: r["value"] for r in self._connection.execute("SELECT * FROM marks")}

    def mark(self, name: str, value: str) -> None:
        """Keep a cursor or a time."""
        self._connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))

    def observe(self, seen: Observation) -> Incident | None:
        """Count what is known already, open an incident for what is new.

        Returns:
            The incident when this observation opened it.
        """
        row = self._known(seen)
        if row is not None:
            self._count(row, seen)
            return None
        if seen.patience_s and self._waited(seen) < seen.patience_s:
            return None
        return self._insert(seen)

    def close(self, kind: AlertKind, subject: str) -> None:
        """The condition is gone; nothing happens when it never was there."""
        rows = self._connection.execute(
            "SELECT * FROM incidents WHERE kind = ? AND subject = ? AND closed_at IS NULL",
            (kind, subject),
        )
        for row in rows.fetchall():
            self._close(row)
        self._connection.execute(
            "DELETE FROM suspects WHERE kind = ? AND subject = ?", (kind, subject)
        )

    def keep_only(self, kind: AlertKind, seen: Collection[tuple[str, str]]) -> None:
        """Close what is open of a kind and was not seen now, by subject and key."""
        rows = self._connection.execute(
            "SELECT * FROM incidents WHERE kind = ? AND closed_at IS NULL", (kind,)
        )
        for row in rows.fetchall():
            if (row["subject"], row["key"]) not in seen:
                self._close(row)
        subjects = {subject for subject, _ in seen}
        waiting = self._connection.execute("SELECT * FROM suspects WHERE kind = ?", (kind,))
        for row in waiting.fetchall():
            if row["subject"] not in subjects:
                self.close(kind, row["subject"])

    def _known(self, seen: Observation) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(
            "SELECT * FROM incidents WHERE kind = ? AND subject = ? AND key = ?"
            " AND (closed_at IS NULL OR key != '')",
            (seen.kind, seen.subject, seen.key),
        ).fetchone()
        return row

    def _count(self, row: sqlite3.Row, seen: Observation) -> None:
        """A thing that happened is the same thing however often it is read."""
        if KINDS[seen.kind].lasts:
            last = max(row["last_seen_at"], text_of(self._now))
            self._connection.execute(
                "UPDATE incidents SET count = count + 1, last_seen_at = ?, closed_at = NULL"
                " WHERE id = ?",
                (last, row["id"]),
            )

    def _waited(self, seen: Observation) -> float:
        """Seconds since the condition was first seen; a clock that went back starts anew."""
        row = self._connection.execute(
            "SELECT since FROM suspects WHERE kind = ? AND subject = ?", (seen.kind, seen.subject)
        ).fetchone()
        since = datetime.fromisoformat(row["since"]) if row else self._now
        since = min(since, self._now)
        self._connection.execute(
            "INSERT OR REPLACE INTO suspects VALUES (?, ?, ?)",
            (seen.kind, seen.subject, text_of(since)),
        )
        return (self._now - since).total_seconds()

    def _insert(self, seen: Observation) -> Incident:
        muted = self._rules.muted(seen)
        new = incident_of(seen, self._now, muted=muted)
        at = text_of(self._now)
        self._connection.execute(
            "INSERT INTO incidents (id, kind, subject, key, opened_at, last_seen_at, count,"
            " closed_at, muted, seen) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?)",
            (new.id, seen.kind, seen.subject, seen.key, at, at,
             at if new.closed_at else None, muted, seen.model_dump_json()),
        )  # fmt: skip
        for name in () if muted else self._rules.notifiers:
            self._connection.execute(
                "INSERT INTO outbox (incident_id, notifier) VALUES (?, ?)", (new.id, name)
            )
        return new

    def _close(self, row: sqlite3.Row) -> None:
        at = max(row["opened_at"], text_of(self._now))
        self._connection.execute("UPDATE incidents SET closed_at = ? WHERE id = ?", (at, row["id"]))
