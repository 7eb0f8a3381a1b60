"""Telling an incident: the log file, the outbox, and notifiers that fail."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from filelock import FileLock

from models.contracts.incidents import Observation
from stores.alert_rows import incident_of
from stores.alerts import Alerts, Rules
from stores.notify import (
    AppriseNotifier,
    LogNotifier,
    NotifyError,
    Report,
    build_notifiers,
    deliver,
    plain_text,
)

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Recorder:
    """A notifier that refuses while told to."""

    def __init__(self, name, error=None):
        self.name, self.error, self.told = name, error, []

    def send(self, report, *, again):
        if self.error:
            raise self.error
        self.told.append((report.incident.subject, again))


def observation(subject="risk/x/leakage"):
    return Observation(
        kind="check_failed", subject=subject, message="it leaks", evidence={"auc": 0.99}
    )


@pytest.fixture
def report():
    return Report(incident_of(observation(), NOW), "<p>it leaks</p>", ())


def opened(folder, notifiers, *subjects):
    alerts = Alerts(folder)
    with alerts.sweep(NOW, Rules([n.name for n in notifiers])) as table:
        for subject in subjects:
            table.observe(observation(subject))
    return alerts


def send_all(alerts, notifiers, now=NOW):
    return deliver(alerts, notifiers, lambda letter: Report(letter.incident, "", ()), now)


def lines(folder):
    return (folder / "alerts.log").read_text().splitlines()


def test_the_log_is_one_json_line(tmp_path, report, caplog):
    LogNotifier(tmp_path).send(report, again=False)
    (line,) = lines(tmp_path)
    assert json.loads(line)["evidence"] == {"auc": 0.99}
    assert caplog.records[0].levelname == "ERROR"
    assert "check_failed risk/x/leakage: it leaks" in caplog.text


def test_a_try_cut_short_after_the_line_adds_none(tmp_path, report):
    log = LogNotifier(tmp_path)
    log.send(report, again=False)
    log.send(report, again=True)
    assert len(lines(tmp_path)) == 1


def test_a_try_cut_short_in_the_line_writes_a_whole_one(tmp_path, report):
    log = LogNotifier(tmp_path)
    log.send(report, again=False)
    path = tmp_path / "alerts.log"
    path.write_bytes(path.read_bytes()[:40])
    log.send(report, again=True)
    assert json.loads(lines(tmp_path)[1])["id"] == report.incident.id


def test_a_line_cut_short_spoils_no_other_incident(tmp_path, report):
    log = LogNotifier(tmp_path)
    log.send(report, again=False)
    path = tmp_path / "alerts.log"
    path.write_bytes(path.read_bytes()[:40])
    other = Report(incident_of(observation("risk/y/leakage"), NOW), "", ())
    log.send(other, again=False)
    log.send(report, again=True)
    assert [json.loads(line)["id"] for line in lines(tmp_path)[1:]] == [
        other.incident.id, report.incident.id,
    ]  # fmt: skip


def test_one_that_fails_is_tried_once_per_delivery_and_stops_no_other(tmp_path):
    bad, good = Recorder("bad", NotifyError("down")), Recorder("good")
    alerts = opened(tmp_path, [bad, good], "a", "b", "c")
    assert send_all(alerts, [bad, good]) == 3
    assert good.told == [("a", False), ("b", False), ("c", False)]
    oldest = alerts.incidents()[-1]
    tries = {d.notifier: (d.tries, d.error) for d in alerts.deliveries(oldest.id)}
    assert tries == {"bad": (1, "down"), "good": (1, "")}
    bad.error = None
    assert send_all(alerts, [bad, good]) == 2  # the one that failed waits for its time
    assert send_all(alerts, [bad, good], NOW + HOUR) == 1
    assert sorted(bad.told) == [("a", True), ("b", False), ("c", False)]
    assert send_all(alerts, [bad, good], NOW + 9 * HOUR) == 0


def test_an_unknown_error_counts_as_a_failed_try(tmp_path):
    odd = Recorder("odd", ZeroDivisionError("of its own"))
    alerts = opened(tmp_path, [odd], "a")
    assert send_all(alerts, [odd]) == 0
    (delivery,) = alerts.deliveries(alerts.incidents()[0].id)
    assert delivery.error == "ZeroDivisionError: of its own"


def test_a_crash_after_the_try_was_recorded_loses_nothing(tmp_path):
    cut = Recorder("cut", KeyboardInterrupt())
    alerts = opened(tmp_path, [cut], "a")
    with pytest.raises(KeyboardInterrupt):
        send_all(alerts, [cut])
    cut.error = None
    assert send_all(alerts, [cut], NOW + HOUR) == 1
    assert cut.told == [("a", True)]


def test_while_another_process_delivers_nothing_is_sent(tmp_path):
    good = Recorder("good")
    alerts = opened(tmp_path, [good], "a")
    with FileLock(tmp_path / "deliver.lock"):
        assert send_all(alerts, [good]) == 0
    assert good.told == []
    assert send_all(alerts, [good]) == 1


def test_notifiers_by_settings_keep_secrets_out_of_their_names(tmp_path):
    url = "mailto://me:secret@host?to=ops@example.org"
    log, mail = build_notifiers(tmp_path, [url, url])
    assert log.name == "log"
    assert mail.name.startswith("mailto-")
    assert "secret" not in mail.name
    _, half = build_notifiers(tmp_path, ["ecret@host?to=x"])  # a blank in a password cut it off
    assert "ecret" not in half.name


def test_a_wrong_address_says_what_to_mend(report):
    with pytest.raises(NotifyError, match="mend ASSAY_ALERT_URLS") as error:
        AppriseNotifier("nonsense://me:secret@host").send(report, again=False)
    assert "secret" not in str(error.value)


def test_text_says_what_when_who_and_what_next(report):
    text = plain_text(report.incident)
    for part in ("it leaks", "2026-01-05 12:00:00 UTC", "platform", "auc: 0.99", "next: Read"):
        assert part in text
