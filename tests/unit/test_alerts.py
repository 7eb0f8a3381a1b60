"""The alert table: one incident while open, one message per incident, nothing half kept."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from typer.testing import CliRunner

from models.contracts.incidents import KINDS, Observation
from orchestration import cli_alerts
from orchestration.cli import app
from stores.alerts import MAX_TRIES, Alerts, Rules

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RULES = Rules(["log", "mail"])


def seen(kind="check_failed", subject="risk/x/leakage", **more):
    return Observation(kind=kind, subject=subject, message="it leaks", **more)


@pytest.fixture
def alerts(tmp_path):
    return Alerts(tmp_path)


def sweep(alerts, *observations, now=NOW, rules=RULES):
    with alerts.sweep(now, rules) as table:
        return [new for one in observations if (new := table.observe(one))]


def due(alerts, now=NOW, notifier="mail"):
    return [letter.incident.subject for letter in alerts.due(notifier, now)]


def test_a_condition_opens_once_and_then_counts(alerts):
    assert len(sweep(alerts, seen())) == 1
    assert sweep(alerts, seen(), now=NOW + MINUTE) == []
    (incident,) = alerts.incidents()
    assert (incident.count, incident.opened_at) == (2, NOW)
    assert incident.last_seen_at == NOW + MINUTE
    assert due(alerts) == ["risk/x/leakage"]


def test_recovery_closes_and_a_relapse_is_told_anew(alerts):
    sweep(alerts, seen())
    with alerts.sweep(NOW + MINUTE, RULES) as table:
        table.close("check_failed", "risk/x/leakage")
    assert alerts.incidents(open_only=True) == ()
    assert len(sweep(alerts, seen(), now=NOW + 2 * MINUTE)) == 1
    new, old = alerts.incidents()
    assert (old.closed_at, new.closed_at) == (NOW + MINUTE, None)
    assert len(due(alerts)) == 2


def test_a_thing_that_happened_is_told_once_for_ever(alerts):
    failed = seen("run_failed", key="run-1")
    assert len(sweep(alerts, failed, failed)) == 1
    assert sweep(alerts, failed, now=NOW + MINUTE) == []
    (incident,) = alerts.incidents()
    assert (incident.count, incident.closed_at) == (1, NOW)
    assert len(sweep(alerts, seen("run_failed", key="run-2"))) == 1


def test_a_keyed_condition_that_comes_back_is_not_told_again(alerts):
    waiting = seen("approval_pending", "risk/x", key="7:abc")
    sweep(alerts, waiting)
    with alerts.sweep(NOW + MINUTE, RULES) as table:
        table.keep_only("approval_pending", set())
    assert alerts.incidents(open_only=True) == ()
    assert sweep(alerts, waiting, now=NOW) == []
    assert len(alerts.incidents(open_only=True)) == len(due(alerts)) == 1


def test_keep_only_closes_what_was_not_seen(alerts):
    sweep(alerts, seen("service_down", "a/b"), seen("service_down", "c/d"), seen())
    with alerts.sweep(NOW + MINUTE, RULES) as table:
        table.keep_only("service_down", {("c/d", "")})
    assert {i.subject for i in alerts.incidents(open_only=True)} == {"c/d", "risk/x/leakage"}


def test_a_patient_kind_waits_and_forgets(alerts):
    down = seen("service_down", "a/b", patience_s=45)
    assert sweep(alerts, down) == []
    with alerts.sweep(NOW + MINUTE, RULES) as table:
        table.keep_only("service_down", set())  # it answered again
    assert sweep(alerts, down, now=NOW + 2 * MINUTE) == []
    assert sweep(alerts, down, now=NOW - MINUTE) == []  # the clock went back: waits anew
    assert len(sweep(alerts, down, now=NOW)) == 1


@pytest.mark.parametrize("pattern", ["check_failed", "check_failed:risk/*", "*:risk/x/leakage"])
def test_muted_is_kept_and_not_told(alerts, pattern):
    (new,) = sweep(alerts, seen(), rules=Rules(["mail"], [pattern]))
    assert new.muted
    assert alerts.incidents()[0].muted
    assert due(alerts) == []


@pytest.mark.parametrize("pattern", ["check_failed:churn/*", "run_failed", "risk/*"])
def test_other_patterns_mute_nothing(alerts, pattern):
    sweep(alerts, seen(), rules=Rules(["mail"], [pattern]))
    assert due(alerts) == ["risk/x/leakage"]


def test_a_crash_in_a_sweep_keeps_nothing_of_it(alerts):
    def crash():
        with alerts.sweep(NOW, RULES) as table:
            table.mark("events", "9")
            table.observe(seen())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    assert alerts.incidents() == ()
    assert due(alerts) == []
    with alerts.sweep(NOW, RULES) as table:
        assert table.marks() == {}
        table.mark("events", "9")
        table.mark("events", "10")
    with alerts.sweep(NOW, RULES) as table:
        assert table.marks() == {"events": "10"}


def test_a_clock_that_goes_back_keeps_times_in_order(alerts):
    sweep(alerts, seen())
    sweep(alerts, seen(), now=NOW - 10 * MINUTE)
    with alerts.sweep(NOW - 5 * MINUTE, RULES) as table:
        table.close("check_failed", "risk/x/leakage")
    (incident,) = alerts.incidents()
    assert incident.opened_at == incident.last_seen_at == incident.closed_at == NOW


def test_tries_back_off_and_are_given_up_in_sight(alerts):
    sweep(alerts, seen(), rules=Rules(["mail"]))
    now, waits = NOW, []
    while letters := alerts.due("mail", now):
        alerts.begin(letters[0], now)
        gave_up = alerts.failed(letters[0], now, "connection refused")
        asked = now
        while not alerts.due("mail", now) and not gave_up:
            now += MINUTE
        waits.append((now - asked) // MINUTE)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 0]
    (delivery,) = alerts.deliveries(alerts.incidents()[0].id)
    assert delivery.tries == MAX_TRIES == len(waits)
    assert delivery.failed_at == now
    assert delivery.error == "connection refused"


def test_a_message_put_off_by_a_clock_ahead_is_due_again(alerts):
    sweep(alerts, seen(), rules=Rules(["mail"]))
    ahead = NOW + timedelta(days=30)
    alerts.begin(alerts.due("mail", ahead)[0], ahead)
    assert due(alerts, ahead) == []
    assert due(alerts, NOW) == ["risk/x/leakage"]


def test_delivered_is_never_due_again(alerts):
    sweep(alerts, seen())
    letter = alerts.due("mail", NOW)[0]
    alerts.begin(letter, NOW)
    alerts.delivered(letter, NOW)
    assert due(alerts, NOW + timedelta(days=1)) == []
    assert due(alerts, notifier="log") == ["risk/x/leakage"]


def test_every_kind_names_a_next_step():
    assert len(KINDS) >= 12
    for kind, spec in KINDS.items():
        assert spec.means.endswith("."), kind
        assert spec.next_step.endswith("."), kind


def test_sweeps_at_the_same_time_open_one_incident(alerts):
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: sweep(alerts, seen()), range(8)))
    assert sum(map(len, opened)) == 1
    assert alerts.incidents()[0].count == 8


@pytest.fixture
def assay(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    monkeypatch.setattr(cli_alerts, "out", Console(width=250))
    return lambda *words: CliRunner().invoke(app, words)


def test_the_command_lists_what_is_open_and_who_was_told(assay, tmp_path):
    assert "no incident yet" in assay("alerts").output
    alerts = Alerts(tmp_path / "alerts")
    sweep(alerts, seen(), seen("run_failed", "risk/x/bento", key="run-1"))
    letter = alerts.due("mail", NOW)[0]
    alerts.begin(letter, NOW)
    alerts.failed(letter, NOW, "refused")
    said = assay("alerts").output
    for part in ("risk/x/bento", "happened", "log: waits", "mail: try 1"):
        assert part in said
    only_open = assay("alerts", "--open").output
    assert "risk/x/leakage" in only_open
    assert "risk/x/bento" not in only_open


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_the_test_message_names_who_took_it(assay, tmp_path, monkeypatch):
    assert assay("alerts-test").exit_code == 0
    assert '"kind":"test"' in (tmp_path / "alerts" / "alerts.log").read_text()
    monkeypatch.setenv("ASSAY_ALERT_URLS", "nonsense://host")
    said = assay("alerts-test")
    assert said.exit_code == 1
    assert "log: taken" in said.output
    assert "mend ASSAY_ALERT_URLS" in said.output
