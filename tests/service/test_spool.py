"""The spool alone: whole lines or none, numbers without gaps, a bound that holds."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.spool import Spool, SpoolError, prove, used_bytes
from tests.service.spooled import bodies, held, lines, segments, until, writer

Made = Any


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Made]:
    """Makes spools in one folder and closes them."""
    made: list[Spool] = []

    def one(max_bytes: int = 10_000_000, **options: Any) -> Spool:
        made.append(Spool(tmp_path / "spool", max_bytes, **options))
        return made[-1]

    yield one
    for spool in made:
        spool.close()


def entry(value: object = 1) -> tuple[Any, dict[str, object]]:
    return "prediction", {"value": value}


def test_a_live_segment_is_locked_and_a_finished_one_is_free(make: Made, tmp_path: Path):
    spool = make()
    spool.append([entry(1), entry(2)])
    spool.append([("outcome", {"value": 3})])
    (live,) = segments(tmp_path / "spool")
    assert (live.suffix, held(live), live.stat().st_mode & 0o777) == (".open", True, 0o600)
    assert [(line.number, line.kind, line.body["value"]) for line in lines(spool.folder)] == [
        (1, "prediction", 1), (2, "prediction", 2), (3, "outcome", 3),
    ]  # fmt: skip
    spool.close()
    (finished,) = segments(tmp_path / "spool")
    assert (finished.suffix, held(finished), finished.stem) == (".log", False, live.stem)
    with pytest.raises(SpoolError, match="shutting down"):
        spool.append([entry()])


def test_what_was_never_written_to_leaves_no_file(make: Made, tmp_path: Path):
    make().close()
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("options", [{"rotate_bytes": 1}, {"rotate_seconds": 0.01}])
def test_size_and_age_finish_a_segment_and_numbers_go_on(make: Made, options: dict[str, float]):
    spool = make(sync_seconds=0.01 if "rotate_seconds" in options else 60.0, **options)
    for count in (1, 2):
        spool.append([entry(count)])
        until(lambda count=count: [s.suffix for s in segments(spool.folder)] == [".log"] * count)
    assert [line.number for line in lines(spool.folder)] == [1, 2]
    first, second = segments(spool.folder)
    assert writer(first) == writer(second)
    assert [s.stem[-6:] for s in (first, second)] == ["000001", "000002"]


def test_two_writers_share_a_folder_and_count_for_themselves(make: Made):
    one, other = make(), make()
    for spool in (one, other):
        spool.append([entry()])
    assert [line.number for line in lines(one.folder)] == [1, 1]
    assert len({writer(s) for s in segments(one.folder)}) == 2


def test_a_full_folder_refuses_and_takes_again_when_emptied(make: Made):
    counted: list[int] = []
    spool = make(2_000, rotate_bytes=1, sync_seconds=0.01, counted=counted.append)
    with pytest.raises(SpoolError, match=r"full \(\d+ of 2000 bytes\).*raw/predictions"):
        while True:
            spool.append([entry("x" * 200)])
    until(lambda: 1_700 < used_bytes(spool.folder) <= 2_000)  # files are renamed meanwhile
    until(lambda: {segment.suffix for segment in segments(spool.folder)} == {".log"})
    taken = len(lines(spool.folder))
    for segment in segments(spool.folder):
        segment.unlink()
    until(lambda: counted[-1:] == [0])
    spool.append([entry("again")])
    (line,) = lines(spool.folder)
    assert (line.number, line.body["value"]) == (taken + 1, "again")


def test_another_writer_s_bytes_count(make: Made):
    make(10_000).append([entry("x" * 5_000)])
    with pytest.raises(SpoolError, match="full"):
        make(10_000).append([entry("x" * 6_000)])


def test_some_entries_may_fill_less_and_some_more_than_the_rest(make: Made):
    spool = make(1_000)
    spool.append([entry("x" * 500)])
    with pytest.raises(SpoolError, match="full"):
        spool.append([entry()], 500)
    spool.append([entry("x" * 300)])
    with pytest.raises(SpoolError, match="full"):
        spool.append([entry("x" * 300)])
    spool.append([entry("x" * 300)], 2_000)
    assert [line.number for line in lines(spool.folder)] == [1, 2, 3]


def test_after_as_many_segments_as_names_allow_it_is_a_new_writer(
    make: Made, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.spool.WRITER_SEGMENTS", 2)
    spool = make(rotate_bytes=1, sync_seconds=60.0)
    for count in (1, 2, 3):
        spool.append([entry(count)])
        until(lambda count=count: [s.suffix for s in segments(spool.folder)] == [".log"] * count)
    first, second, third = segments(spool.folder)
    assert writer(first) == writer(second) != writer(third)
    assert [(line.number, line.body["value"]) for line in lines(spool.folder)] == [
        (1, 1), (2, 2), (1, 3),
    ]  # fmt: skip


def test_a_folder_is_proven_and_left_as_it_was(tmp_path: Path):
    prove(tmp_path / "new" / "spool")
    assert list((tmp_path / "new" / "spool").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        prove(tmp_path / "file")


def test_a_disk_that_takes_half_a_write_keeps_none_of_it(make: Made):
    spool, big = make(), "x" * 400_000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        for value in (1, 2):
            spool.append([entry(value), entry(big)])
        for _ in range(2):  # the second finds a file that is exactly as before
            with pytest.raises(SpoolError, match=r"cannot be written .*needs free space"):
                spool.append([entry(3), entry(big)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.append([entry("after")])
    assert [line.number for line in lines(spool.folder)] == [1, 2, 3, 4, 5]
    assert lines(spool.folder)[-1].body == {"value": "after"}


def test_no_file_at_all_is_refused_and_nothing_is_left(make: Made, monkeypatch: pytest.MonkeyPatch):
    spool, rename = make(), Path.rename

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(SpoolError, match="No space left on device"):
        spool.append([entry()])
    assert list(spool.folder.iterdir()) == []
    monkeypatch.setattr(Path, "rename", rename)
    spool.append([entry()])
    assert [line.number for line in lines(spool.folder)] == [1]


def test_what_cannot_be_cut_off_ends_the_writer(make: Made, monkeypatch: pytest.MonkeyPatch):
    spool, write = make(), os.write
    spool.append([entry("before")])

    def torn(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:7])

    def stuck(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", torn)
        broken.setattr(os, "ftruncate", stuck)
        with pytest.raises(SpoolError, match="only 7 of"):
            spool.append([entry("torn")])
    spool.append([entry("after")])
    dead, alive = segments(spool.folder)
    assert [held(dead), held(alive)] == [False, True]
    assert [(line.number, line.body["value"]) for line in lines(spool.folder)] == [
        (1, "before"), (1, "after"),
    ]  # fmt: skip


def test_a_deleted_segment_is_not_written_to(make: Made):
    spool = make()
    spool.append([entry("lost")])
    segments(spool.folder)[0].unlink()
    spool.append([entry("kept")])
    assert bodies(spool.folder, "prediction") == [{"value": "kept"}]
    assert lines(spool.folder)[0].number == 2  # the reader sees that one is missing


def test_a_value_that_is_no_json_writes_nothing(make: Made):
    spool = make()
    with pytest.raises(ValueError, match="not JSON compliant"):
        spool.append([entry(1), entry(float("nan"))])
    spool.append([entry(2)])
    assert [line.number for line in lines(spool.folder)] == [1]
