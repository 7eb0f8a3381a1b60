"""The audit log: every call sealed after the one before, and what was edited shows."""

from __future__ import annotations

import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.audit import AdminCall, AuditError, AuditLog

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def call(number: int = 0, **changes) -> AdminCall:
    given = AdminCall(
        caller="token", route="POST /models/rollback", product="risk/a", body_digest="0" * 64,
        status=200, request_id=f"r{number}",
    )  # fmt: skip
    return given.model_copy(update=changes)


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit" / "admin.jsonl", lambda: NOW)


def test_calls_are_chained_and_private(log: AuditLog):
    assert log.entries() == ()
    made = [log.append(call(n)) for n in range(3)]
    assert log.entries() == tuple(made)
    assert [entry.sequence for entry in made] == [0, 1, 2]
    assert [entry.previous for entry in made[1:]] == [entry.digest for entry in made[:2]]
    assert made[2].body["request_id"] == "r2"
    assert log.path.stat().st_mode & 0o077 == 0


def test_an_edited_removed_or_inserted_line_is_found(log: AuditLog):
    for number in range(4):
        log.append(call(number))
    lines = log.path.read_bytes().splitlines(keepends=True)
    edited = lines[1].replace(b'"token"', b'"other"')
    for broken, number in (
        ([lines[0], edited, *lines[2:]], 2),
        ([lines[0], *lines[2:]], 2),
        ([lines[0], lines[0], *lines[1:]], 2),
        (lines[1:], 1),
    ):
        log.path.write_bytes(b"".join(broken))
        with pytest.raises(AuditError, match=f"line {number} does not match its seal"):
            log.entries()


def test_a_torn_line_goes_and_an_altered_end_stops_administration(log: AuditLog):
    log.append(call(0))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"sequence": 1, "at": ')
    log.append(call(1))
    assert [entry.body["request_id"] for entry in log.entries()] == ["r0", "r1"]
    log.path.write_bytes(whole + b"rubbish\n")
    for act in (log.prove, lambda: log.append(call(2))):
        with pytest.raises(AuditError, match="Move the file away"):
            act()


def test_a_folder_that_takes_no_file_stops_administration(tmp_path: Path):
    (tmp_path / "audit").write_text("a file")
    with pytest.raises(AuditError, match="cannot be written"):
        AuditLog(tmp_path / "audit" / "admin.jsonl").prove()


def test_a_clock_that_went_back_is_held(log: AuditLog):
    log.append(call())
    earlier = AuditLog(log.path, lambda: NOW - timedelta(days=1))
    assert earlier.append(call(1)).at == NOW


def test_long_lines_are_chained_too(log: AuditLog):
    log.append(call(0, route="GET /" + "x" * 40_000))
    log.append(call(1, route="GET /" + "y" * 40_000))
    assert len(log.entries()) == 2


def _append(path: Path, number: int) -> None:
    for n in range(20):
        AuditLog(path).append(call(number * 100 + n))


def test_processes_that_write_at_once_make_one_chain(log: AuditLog):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append, args=(log.path, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    names = [json.loads(line)["body"]["request_id"] for line in log.path.read_bytes().splitlines()]
    assert len(set(names)) == len(log.entries()) == 60
