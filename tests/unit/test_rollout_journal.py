"""The journal of a rollout: finished segments only, in order, counted once whatever crashes."""

from __future__ import annotations

import fcntl
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.spool import Spool
from models.core.journal import encode
from models.core.rollouts.fold import fold
from models.registry import products
from stores import rollout_journal
from stores.home import Home
from stores.rollout_journal import drop, journal, load_tally, read, save_tally
from tests.unit.rollout_sample import AT, CANARY, exposure

PRODUCT = products()[0]
A, B = "20300501T000000000000-1-aaaaaa", "20300501T000000000000-2-bbbbbb"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def write(home: Home, writer: str, index: int, *numbers: int, state: str = ".log") -> Path:
    """Line n of a writer is request n at second n."""
    folder = journal(home, PRODUCT, "r1")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{writer}-{index:06}{state}"
    lines = [
        encode(n, "exposure", exposure(n, at=AT + timedelta(seconds=n)).model_dump(mode="json"))
        for n in numbers
    ]
    path.write_bytes(b"".join(lines))
    return path


def order(home: Home) -> list[tuple[str, int]]:
    return [(writer, line.number) for writer, line in read(home, PRODUCT, "r1").lines]


def count(home: Home) -> int:
    """One round of the controller; units so far."""
    reading = read(home, PRODUCT, "r1")
    tally = fold(load_tally(home, PRODUCT, "r1"), reading.lines, CANARY, {})
    save_tally(home, PRODUCT, tally)
    drop(reading)
    return tally.units


def test_lines_of_two_gateways_come_in_the_order_of_time(home: Home) -> None:
    write(home, A, 1, 1, 4)
    write(home, A, 2, 6)
    write(home, B, 1, 2, 3, 5)
    assert order(home) == [(A, 1), (B, 2), (B, 3), (A, 4), (B, 5), (A, 6)]


def test_a_clock_that_jumps_back_keeps_a_writer_s_order(home: Home) -> None:
    path = write(home, A, 1, 3)
    early = exposure(4, at=AT).model_dump(mode="json")
    path.write_bytes(path.read_bytes() + encode(4, "exposure", early))
    write(home, B, 1, 2)
    assert order(home) == [(B, 2), (A, 3), (A, 4)]


def test_rounds_count_every_line_once(home: Home) -> None:
    assert count(home) == 0
    write(home, A, 1, 1, 2)
    assert count(home) == 2
    assert not list(journal(home, PRODUCT, "r1").iterdir())
    write(home, A, 2, 3)
    assert count(home) == 3


def test_a_crash_between_saving_and_dropping_costs_nothing(home: Home) -> None:
    write(home, A, 1, 1, 2)
    reading = read(home, PRODUCT, "r1")
    save_tally(home, PRODUCT, fold(load_tally(home, PRODUCT, "r1"), reading.lines, CANARY, {}))
    assert count(home) == 2


def test_what_is_still_written_to_waits(home: Home) -> None:
    write(home, A, 1, 1)
    with write(home, B, 1, 2, state=".open").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert order(home) == [(A, 1)]
    assert order(home) == [(A, 1), (B, 2)]


def test_a_gateway_s_spool_is_a_journal(home: Home) -> None:
    spool = Spool(journal(home, PRODUCT, "r1"), 10**6, rotate_seconds=2)
    spool.append([("exposure", exposure(n).model_dump(mode="json")) for n in (1, 2, 3)])
    spool.close()
    assert count(home) == 3


def test_damaged_lines_are_told_and_no_unit(home: Home) -> None:
    path = write(home, A, 1, 1, 2, 3)
    path.write_bytes(path.read_bytes().replace(b'"q2"', b'"q9"'))
    assert read(home, PRODUCT, "r1").damaged == 1
    assert count(home) == 2


def test_a_reading_is_bounded_and_goes_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_journal, "READ_BYTES", 1)
    write(home, A, 1, 1)
    write(home, A, 2, 2)
    assert (count(home), count(home), count(home)) == (1, 2, 2)


def test_a_damaged_tally_says_what_to_do(home: Home) -> None:
    save_tally(home, PRODUCT, load_tally(home, PRODUCT, "r1"))
    (rollout_journal.folder(home, PRODUCT, "r1") / "tally.json").write_text("{")
    with pytest.raises(rollout_journal.JournalError, match="assay rollout abort"):
        load_tally(home, PRODUCT, "r1")
