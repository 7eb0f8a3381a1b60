"""The ledger is append-only, sealed, survives a torn write, and never runs backwards in time."""

from datetime import UTC, datetime, timedelta
from multiprocessing import get_context

import pytest

from models.contracts.results import Release
from stores.ledger import Ledger, LedgerError
from tests.unit.rollout_sample import CANARY, step

START = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(tmp_path, clock):
    return Ledger(tmp_path / "ledger.jsonl", clock)


def release(version):
    return Release(
        product="a/b", version=version, candidate_id="c" + version, snapshot_id="s",
        evaluation_id="e" + version, trial="t", mlflow_version="1", artifact="x",
    )  # fmt: skip


def test_entries_are_chained(ledger):
    first = ledger.append("approval", {"by": "Ada"})
    second = ledger.append("approval", {"by": "Bob"})
    assert second.previous == first.digest
    assert [e.body["by"] for e in ledger.entries()] == ["Ada", "Bob"]


@pytest.mark.parametrize("tamper", ["alter", "remove", "swap", "insert"])
def test_tampering_is_seen_and_nothing_can_be_appended(ledger, tamper):
    for name in ("Ada", "Bob", "Cyd"):
        ledger.append("approval", {"by": name})
    lines = ledger.path.read_text().splitlines(keepends=True)
    changed = {
        "alter": [lines[0], lines[1].replace("Bob", "Eve"), lines[2]],
        "remove": [lines[0], lines[2]],
        "swap": [lines[1], lines[0], lines[2]],
        "insert": [lines[0], lines[0], lines[1], lines[2]],
    }[tamper]
    ledger.path.write_text("".join(changed))
    with pytest.raises(LedgerError, match="does not match its seal"):
        ledger.entries()
    with pytest.raises(LedgerError):
        ledger.append("approval", {"by": "Dan"})


def test_a_torn_tail_is_set_aside_and_kept(ledger):
    ledger.append("approval", {"by": "Ada"})
    with ledger.path.open("a") as stream:
        stream.write('{"sequence": 1, "at": "20')
    assert len(ledger.entries()) == 1
    ledger.append("approval", {"by": "Bob"})
    assert [e.body["by"] for e in ledger.entries()] == ["Ada", "Bob"]
    assert '"at": "20' in (ledger.path.parent / "ledger.jsonl.torn").read_text()


def test_a_clock_that_jumps_back_is_held(ledger, clock):
    ledger.append("approval", {"by": "Ada"})
    clock.now -= timedelta(days=1)
    assert ledger.append("approval", {"by": "Bob"}).at == START


def test_versions_rise_even_within_a_second(ledger, clock):
    made = []
    for _ in range(3):
        version = ledger.new_version()
        ledger.append("release", release(version))
        made.append(version)
    assert made == ["v20260105_030000", "v20260105_030001", "v20260105_030002"]
    clock.now -= timedelta(days=3650)
    assert ledger.new_version() == "v20260105_030003"


def test_back_and_forward(ledger):
    for version in ("v1", "v2", "v3"):
        ledger.append("release", release(version))
    ledger.append("rollback", {"to_version": "v2"})
    assert (ledger.current().version, ledger.previous().version) == ("v2", "v1")
    ledger.append("rollback", {"to_version": "v3"})
    assert (ledger.current().version, ledger.previous().version) == ("v3", "v2")
    with pytest.raises(LedgerError, match="v1, v2, v3"):
        ledger.release("v9")


def test_a_staged_release_serves_from_its_promotion_on(ledger):
    ledger.append("release", release("v1"))
    assert ledger.staged() is None
    ledger.append("release", release("v2").model_copy(update={"staged": True}))
    assert (ledger.current().version, ledger.staged().version) == ("v1", "v2")
    assert ledger.previous() is None
    assert ledger.release("v2").staged
    ledger.append("promotion", {"version": "v2"}, while_serving="v1")
    assert (ledger.current().version, ledger.previous().version) == ("v2", "v1")
    assert ledger.staged() is None


def test_what_moved_the_champion_is_no_staged_release(ledger):
    assert ledger.moved() is None
    ledger.append("release", release("v1"))
    ledger.append("release", release("v2").model_copy(update={"staged": True}))
    assert ledger.moved().body["version"] == "v1"
    ledger.append("promotion", {"version": "v2"})
    assert ledger.moved().kind == "promotion"
    ledger.append("rollback", {"from_version": "v2", "to_version": "v1"})
    assert ledger.moved().kind == "rollback"


def test_a_promotion_is_rolled_back_like_a_release(ledger):
    for version in ("v1", "v2"):
        ledger.append("release", release(version))
    ledger.append("release", release("v3").model_copy(update={"staged": True}))
    ledger.append("promotion", {"version": "v3"})
    ledger.append("rollback", {"to_version": "v2"})
    assert (ledger.current().version, ledger.previous().version) == ("v2", "v1")
    ledger.append("promotion", {"version": "v3"})
    ledger.append("promotion", {"version": "v1"})  # an older release won against it
    assert (ledger.current().version, ledger.previous().version) == ("v1", "v3")
    ledger.append("rollback", {"to_version": "v3"})
    assert (ledger.current().version, ledger.previous().version) == ("v3", "v2")


def test_a_staged_release_that_was_overtaken_waits_no_more(ledger):
    ledger.append("release", release("v1").model_copy(update={"staged": True}))
    ledger.append("release", release("v2"))
    assert ledger.staged() is None
    assert ledger.current().version == "v2"


def test_where_the_rollout_is(ledger):
    assert ledger.rollout_step() is None
    ledger.append("release", release("v1"))
    for number, phase in enumerate(("requested", "starting")):
        ledger.append(
            "rollout_step", step(number=number, phase=phase, plan=CANARY), while_serving="v1"
        )
    assert ledger.rollout_step() == step(number=1, phase="starting", plan=CANARY)
    with pytest.raises(LedgerError, match="not v9"):
        ledger.append("rollout_step", step(), while_serving="v9")


def test_the_newest_fact_of_a_kind_and_the_time_it_would_get(ledger, clock):
    assert ledger.newest("retrain") is None
    ledger.append("retrain", {"window": "a"})
    ledger.append("retrain", {"window": "b"})
    ledger.append("approval", {"by": "Ada"})
    assert ledger.newest("retrain", "rollback").body["window"] == "b"
    clock.now -= timedelta(hours=1)
    assert ledger.now() == START
    clock.now += timedelta(hours=3)
    assert ledger.now() == START + timedelta(hours=2)


def test_of_two_who_replace_the_same_champion_one_does(ledger):
    for version in ("v1", "v2"):
        ledger.append("release", release(version))
    ledger.append("rollback", {"to_version": "v1"}, while_serving="v2")
    with pytest.raises(LedgerError, match="v1 is current by now, not v2"):
        ledger.append("rollback", {"to_version": "v1"}, while_serving="v2")
    assert [entry.kind for entry in ledger.entries()].count("rollback") == 1


def _append_many(path):
    for number in range(20):
        Ledger(path).append("approval", {"number": number})


def test_two_processes_append_without_loss(tmp_path):
    path = tmp_path / "ledger.jsonl"
    workers = [get_context("spawn").Process(target=_append_many, args=(path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(Ledger(path).entries()) == 40
