"""Kept answers over a restart: the same, no longer than before, and never a reason not to start."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bentos import kept, kept_file
from bentos.lru import ENTRY_BYTES, Memory


def key(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def filled(*names: str, seconds: float = 60.0) -> Memory:
    memory = Memory(100_000)
    for name in names:
        memory.put(key(name), f"said of {name}".encode(), seconds)
    return memory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_the_next_process_says_what_the_former_one_said(path: Path):
    kept_file.save(path, filled("a", "b", "c"))
    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in path.parent.iterdir()] == ["kept"]
    after = Memory(100_000)
    assert kept_file.take(path, after) == 3
    assert after.get(key("b")) == b"said of b"
    assert not path.exists()  # whom it was said to is a hash, and yet nothing to leave about


def test_what_was_used_last_stays_where_there_is_less_room(path: Path):
    before = filled("a", "b", "c")
    before.get(key("a"))
    kept_file.save(path, before)
    after = Memory(2 * (ENTRY_BYTES + 10))
    assert kept_file.take(path, after) == 2
    assert [after.get(key(name)) is not None for name in "abc"] == [True, False, True]


def test_an_answer_holds_no_longer_than_it_would_have(path: Path, monkeypatch: pytest.MonkeyPatch):
    memory = filled("long")
    memory.put(key("short"), b"x", 5.0)
    kept_file.save(path, memory)
    now = kept_file.time.time()
    monkeypatch.setattr(kept_file.time, "time", lambda: now + 10.0)
    clock = [0.0]
    after = Memory(100_000, lambda: clock[0])
    assert kept_file.take(path, after) == 1
    clock[0] = 49.0
    assert after.get(key("long")) is not None
    clock[0] = 51.0
    assert after.get(key("long")) is None


@pytest.mark.parametrize("cut", [0, 5, 40, 60, -1])
def test_a_damaged_file_costs_misses_only(path: Path, caplog: pytest.LogCaptureFixture, cut: int):
    kept_file.save(path, filled("a", "b"))
    path.write_bytes(path.read_bytes()[:cut])
    with caplog.at_level(logging.WARNING):
        assert kept_file.take(path, Memory(100_000)) == 0
    assert "damaged" in caplog.text


def test_an_altered_answer_is_not_said(path: Path):
    kept_file.save(path, filled("a"))
    path.write_bytes(path.read_bytes().replace(b"said of a", b"lied of a"))
    after = Memory(100_000)
    assert (kept_file.take(path, after), after.get(key("a"))) == (0, None)


def test_no_file_and_no_folder_are_no_error(path: Path, caplog: pytest.LogCaptureFixture):
    assert kept_file.take(path, Memory(100_000)) == 0
    assert not caplog.records
    kept_file.save(path / "missing" / "kept", filled("a"))
    assert "not written" in caplog.text


def test_a_worker_has_its_own_file_and_none_where_redis_keeps_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    memory, redis = filled("a"), object()
    monkeypatch.setattr(kept, "process_tiers", lambda: (memory, None))
    kept.hand_on()
    assert not list(path.parent.iterdir())  # nobody named a file
    monkeypatch.setenv(kept.FILE, str(path))
    kept.hand_on(1)
    assert [file.name for file in path.parent.iterdir()] == ["kept.1"]
    fresh = Memory(100_000)
    monkeypatch.setattr(kept, "process_tiers", lambda: (fresh, redis))
    kept.take_over(1)
    assert len(fresh) == 0
    monkeypatch.setattr(kept, "process_tiers", lambda: (fresh, None))
    kept.take_over(1)
    assert len(fresh) == 1
