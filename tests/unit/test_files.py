"""Files appear whole or not at all."""

import os

import pytest

from stores.files import settle, unnamed_folder, write_atomic


def test_a_failed_write_keeps_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "a" / "b.json"
    write_atomic(path, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_was_not_settled_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), unnamed_folder(tmp_path) as aside:
        (aside / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_settling_twice_keeps_the_first(tmp_path):
    for content in ("first", "second"):
        with unnamed_folder(tmp_path) as aside:
            (aside / "file").write_text(content)
            settle(aside, tmp_path / "named")
    assert (tmp_path / "named" / "file").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["named"]


def test_what_a_killed_process_left_goes_a_day_later_and_not_before(tmp_path):
    old, young = (tmp_path / f".unnamed-{age}" for age in ("old", "young"))
    for left in (old, young):
        left.mkdir()
        (left / "half").write_text("x")
    os.utime(old, (0, 0))
    with unnamed_folder(tmp_path):
        assert not old.exists()
    assert [p.name for p in tmp_path.iterdir()] == [young.name]
