"""The judgements of the watch: what is an alert, what is none, and clocks that jump."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from models.registry import get
from orchestration import watch_detectors, watch_events, watch_home, watch_ticks
from orchestration.watch_events import Over
from orchestration.watch_ticks import Instigator, Pulse
from stores.deployer import ServiceRecord
from stores.ledger import Ledger

PRODUCT = get("risk/sync_conflict")
NOW = datetime(2026, 1, 5, 12, 0, 30, tzinfo=UTC)  # a Monday
AT = NOW.timestamp()
SENSOR = Instigator("new_data", "sensor", running=True, interval_s=30)
SCHEDULE = Instigator("weekly_products", "schedule", running=True, cron="0 3 * * 1")
LONG_AGO = NOW - timedelta(days=30)


def evaluation(*, passed=False, severity=dg.AssetCheckSeverity.ERROR, description="0.99"):
    key = dg.AssetKey([*PRODUCT.key.split("/"), "dataset"])
    return dg.AssetCheckEvaluation(
        asset_key=key, check_name="leakage", passed=passed, severity=severity,
        description=description, metadata={"auc": 0.99},
    )  # fmt: skip


def kinds(pulse, now=NOW, since=LONG_AGO):
    return [seen.kind for seen in watch_ticks.judge_pulse(pulse, now, since)]


def test_a_failed_check_names_its_asset_owner_and_numbers():
    seen = watch_events.judge_check(evaluation(), "run-1", [PRODUCT])
    assert seen.subject == "risk/sync_conflict/dataset/leakage"
    assert (seen.owner, seen.message) == ("team:sync", "0.99")
    assert seen.evidence["measured auc"] == "0.99"
    assert seen.key == ""  # a check that fails again is the same incident


@pytest.mark.parametrize(
    "found", [evaluation(passed=True), evaluation(severity=dg.AssetCheckSeverity.WARN)]
)
def test_a_pass_or_a_warning_ends_the_alert(found):
    subject = "risk/sync_conflict/dataset/leakage"
    assert watch_events.judge_check(found, "run-1", [PRODUCT]) == Over("check_failed", subject)


def test_a_check_that_was_not_run_says_nothing():
    found = evaluation(description="not run: something above failed")
    assert watch_events.judge_check(found, "run-1", [PRODUCT]) is None


def test_steps_and_keys_belong_to_their_product():
    for name in ("risk__sync_conflict__candidates", "risk/sync_conflict/dataset/leakage"):
        assert watch_events.owner_of(name, [PRODUCT]) == PRODUCT
    for name in ("raw/merges", "risk/sync_conflict_two/dataset"):
        assert watch_events.owner_of(name, [PRODUCT]) is None


@pytest.mark.parametrize(
    ("pulse", "expected"),
    [
        (Pulse(SENSOR, ticked=AT - 149), []),
        (Pulse(SENSOR, ticked=AT - 151), ["sensor_silent"]),
        (Pulse(SENSOR, started=AT - 10), []),
        (Pulse(SENSOR), ["sensor_silent"]),  # taken up by no daemon ever
        (Pulse(SENSOR, ticked=AT, failed="boom\nat line 3"), ["sensor_failed"]),
        (Pulse(SCHEDULE, ticked=AT - 9 * 3600), []),
        (Pulse(SCHEDULE, ticked=AT - 7 * 86_400), ["schedule_silent"]),
        (Pulse(SCHEDULE, started=AT - 3600), []),
        (Pulse(SCHEDULE, ticked=AT, failed="boom"), ["schedule_failed"]),
    ],
)
def test_silence_and_failure(pulse, expected):
    assert kinds(pulse) == expected


def test_silence_counts_only_while_somebody_watched():
    for pulse in (Pulse(SENSOR, ticked=AT - 9_000), Pulse(SCHEDULE, ticked=AT - 9 * 86_400)):
        assert kinds(pulse, since=NOW - timedelta(minutes=1)) == []


def test_a_schedule_has_ten_minutes():
    due = datetime(2026, 1, 5, 3, tzinfo=UTC)
    pulse = Pulse(SCHEDULE, ticked=(due - timedelta(days=7)).timestamp())
    assert kinds(pulse, due + timedelta(minutes=9)) == []
    assert kinds(pulse, due + timedelta(minutes=11)) == ["schedule_silent"]


def test_a_tick_from_the_future_is_no_sign_of_life():
    pulse = Pulse(SENSOR, ticked=AT + 86_400)
    assert kinds(pulse, since=NOW - timedelta(seconds=100)) == []
    assert kinds(pulse, since=NOW - timedelta(seconds=200)) == ["sensor_silent"]


@pytest.mark.parametrize(
    ("marks", "watched"),
    [
        ({}, NOW),
        ({"swept": NOW - timedelta(minutes=1), "watched": LONG_AGO}, LONG_AGO),
        ({"swept": NOW - timedelta(minutes=11), "watched": LONG_AGO}, NOW),  # nobody watched
        ({"swept": NOW + timedelta(hours=1), "watched": LONG_AGO}, NOW),  # the clock went back
    ],
)
def test_since_when_somebody_watches(marks, watched):
    texts = {name: at.isoformat() for name, at in marks.items()}
    assert watch_detectors.since(texts, "watched", NOW) == watched


def test_a_product_is_stale_after_its_cadence_and_a_day():
    def judge(evaluated, first=NOW):
        return watch_ticks.judge_freshness(PRODUCT, evaluated, NOW, first)

    assert judge(AT - 7.9 * 86_400) is None
    assert "due within 8 days" in judge(AT - 8.1 * 86_400).message
    assert judge(None) is None
    assert "never" in judge(None, LONG_AGO).message
    assert judge(AT + 86_400) is None


def test_the_ledger_is_told_from_the_cursor_on(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl", lambda: NOW)
    ledger.append("regression", {"version": "v2", "window": "2026-01-04T00:00:00Z", "reason": "r"})
    ledger.append("retrain", {"window": "2026-01-04T00:00:00Z", "reason": "2 of 5"})
    ledger.append("rollback", {"from_version": "v2", "to_version": "v1", "by": "Ada"})
    entries = ledger.entries()

    def told(cursor, first_look=LONG_AGO):
        news = watch_home.judge_ledger(PRODUCT, entries, cursor, first_look)
        assert news.cursor == 3
        return {seen.kind: seen for seen in news.seen}

    first = told(None)
    assert list(first) == ["performance_regression", "retraining_started", "rolled_back"]
    assert first["performance_regression"].since == datetime(2026, 1, 4, tzinfo=UTC)
    assert first["performance_regression"].version == first["rolled_back"].version == "v2"
    assert list(told(2)) == ["rolled_back"]
    assert told(3) == told(99) == {}  # 99: restored from an older backup
    assert told(None, NOW + timedelta(hours=1)) == {}  # history, no news


def test_a_service_without_process_or_answer_is_down():
    record = ServiceRecord(
        product=PRODUCT.key, bento="b:v1", version="v1", url="http://127.0.0.1:9", port=9, pid=1,
        folder="f", door="d", started_at=NOW,
    )  # fmt: skip
    logs = Path("services/risk_sync_conflict")
    assert watch_home.judge_service(PRODUCT, "v1", record, None, logs) is None
    gone = watch_home.judge_service(PRODUCT, "v1", None, None, logs)
    assert "process is gone" in gone.message
    assert str(logs) in gone.evidence["log"]
    problem = watch_home.answers(record)
    silent = watch_home.judge_service(PRODUCT, "v1", record, problem, logs)
    assert "gave no answer" in silent.message


def test_a_spool_fills_at_four_fifths():
    assert watch_home.judge_spool(PRODUCT, int(0.79 * 2**20), 1) is None
    assert "(80%)" in watch_home.judge_spool(PRODUCT, int(0.8 * 2**20) + 1, 1).message
