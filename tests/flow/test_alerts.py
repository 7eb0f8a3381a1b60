"""Alerts that fire: each trouble reaches a person once, by mail and webhook, whatever is swept."""

import json
from datetime import timedelta
from typing import get_args

import dagster as dg
import pytest
from starlette.testclient import TestClient

from models.contracts.incidents import AlertKind, Incident
from orchestration.admin import build_app
from orchestration.admin_access import token
from orchestration.running import instance
from orchestration.settings import Settings
from orchestration.watch import build_watchdog
from stores.alerts import Alerts
from tests.flow.alert_scenes import (
    PRODUCT,
    SCENES,
    SENSOR,
    Scene,
    run_checks,
    run_job,
    silent,
    wait_until,
)
from tests.flow.alert_sinks import MailSink, WebhookSink

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def webhook():
    sink = WebhookSink()
    with sink.up():
        yield sink


@pytest.fixture(scope="module")
def mail():
    sink = MailSink()
    with sink.up():
        yield sink


@pytest.fixture
def scene(tmp_path, mail, webhook):
    mail.mails.clear()
    webhook.bodies.clear()
    settings = Settings(home=tmp_path, spool_mb=1, alert_urls=f"{mail.url} {webhook.url}")
    with instance(settings) as found:
        yield Scene(settings, found)


def table(scene):
    return Alerts(scene.settings.home_paths().alerts)


def log_lines(scene):
    path = scene.settings.home_paths().alerts / "alerts.log"
    return path.read_text().splitlines() if path.exists() else []


def test_every_kind_has_a_scene():
    assert set(SCENES) == set(get_args(AlertKind)) - {"test"}
    assert len(SCENES) >= 12


@pytest.mark.parametrize("kind", SCENES)
def test_each_kind_is_told_exactly_once(scene, mail, webhook, kind):
    SCENES[kind](scene)
    opened = scene.sweep(times=6)
    assert [incident.kind for incident in opened] == [kind]
    title = opened[0].title
    assert [m["subject"] for m in mail.mails] == [title]
    assert [body["title"] for body in webhook.bodies] == [title]
    assert [json.loads(line)["id"] for line in log_lines(scene)] == [opened[0].id]


def test_the_mail_carries_the_report_as_body_page_and_json(scene, mail, webhook):
    SCENES["performance_regression"](scene)
    (opened,) = scene.sweep()
    (message,) = mail.mails
    body = message.get_body(("html",)).get_content()
    attached = {part.get_filename(): part.get_content() for part in message.iter_attachments()}
    assert set(attached) == {"incident.html", "incident.json"}
    found = Incident.model_validate_json(attached["incident.json"])
    assert (found.id, found.evidence["reason"]) == (opened.id, "0.61")
    assert "no prediction has come in" in found.affected.note
    assert "regression · version v2" in found.decision_record[0]
    for page in (body, attached["incident.html"]):
        assert "Performance regression: risk/sync_conflict" in page
        assert "assay rollback risk/sync_conflict" in page
    assert message["to"] == "ops@example.org"
    names = [file["filename"] for file in webhook.bodies[0]["attachments"]]
    assert names == ["incident.html", "incident.json"]
    assert "next: Read the window" in webhook.bodies[0]["message"]


def test_a_check_that_fails_again_passes_and_relapses(scene, mail):
    assert not run_checks(scene)
    scene.sweep(3)
    assert not run_checks(scene)
    assert scene.sweep(3) == []
    (incident,) = table(scene).incidents(open_only=True)
    assert (incident.subject, incident.count) == (f"{PRODUCT.key}/dataset/leakage", 2)
    assert run_checks(scene, leaks=False)
    assert scene.sweep(3) == []
    assert table(scene).incidents(open_only=True) == ()
    run_checks(scene)
    assert len(scene.sweep(3)) == 1
    assert len(mail.mails) == 2


def test_runs_are_told_by_run_and_fine_ones_not_at_all(scene, mail):
    run_job(scene, fine=True)
    assert scene.sweep() == []
    first, second = run_job(scene), run_job(scene)
    assert [i.evidence["run"] for i in scene.sweep(3)] == [first, second]
    message = table(scene).incidents()[0].message
    assert message == "risk/sync_conflict/candidates: ZeroDivisionError: the fold is empty"
    assert len(mail.mails) == 2


def test_a_silent_sensor_that_ticks_again_is_over(scene):
    silent(SENSOR)(scene)
    assert [i.kind for i in scene.sweep(4)] == ["sensor_silent"]
    state = scene.instance.all_instigator_state()[0]
    scene.tick(state, scene.now - timedelta(seconds=10))
    assert scene.sweep() == []
    assert table(scene).incidents(open_only=True) == ()
    assert [i.kind for i in scene.sweep(4)] == ["sensor_silent"]


def test_a_daemon_that_is_back_gives_its_sensors_time(scene):
    SCENES["daemon_down"](scene)
    assert [i.subject for i in scene.sweep(4)] == ["dagster-daemon"]
    scene.daemon_lives = True
    assert scene.sweep() == []
    assert table(scene).incidents(open_only=True) == ()


def test_a_wanted_stop_is_no_alert(scene):
    SCENES["service_down"](scene)
    mark = scene.settings.home_paths().root / "services" / f"{PRODUCT.slug}.stopped"
    mark.parent.mkdir()
    mark.touch()
    assert scene.sweep(4) == []
    mark.unlink()
    assert [i.kind for i in scene.sweep(4)] == ["service_down"]


def test_muted_is_kept_and_told_to_nobody(scene, mail, webhook):
    scene.settings = scene.settings.model_copy(update={"alert_mute": "run_failed:risk/* x:y"})
    run_job(scene)
    (incident,) = scene.sweep(3)
    assert table(scene).incidents() == (incident,)
    assert incident.muted
    assert (mail.mails, webhook.bodies, log_lines(scene)) == ([], [], [])


def test_a_mail_server_that_is_down_gets_the_message_later_once(scene, webhook):
    mail = MailSink()
    urls = f"{mail.url} {webhook.url}"
    scene.settings = scene.settings.model_copy(update={"alert_urls": urls})
    run_job(scene)
    (incident,) = scene.sweep(3)
    told = {d.notifier.partition("-")[0]: d for d in table(scene).deliveries(incident.id)}
    assert told["mailto"].tries >= 2
    assert "Connection" in told["mailto"].error
    assert told["json"].tries == told["log"].tries == 1
    with mail.up():
        scene.sweep(8)
    assert [m["subject"] for m in mail.mails] == [incident.title]
    assert len(webhook.bodies) == 1


def test_a_clock_that_goes_back_tells_nothing_twice(scene, mail):
    run_job(scene)
    SCENES["rolled_back"](scene)
    SCENES["approval_pending"](scene)
    assert len(scene.sweep(2)) == 3
    scene.now += timedelta(hours=73)
    assert [i.kind for i in scene.sweep(2)] == ["approval_expired"]
    scene.now -= timedelta(days=40)
    assert scene.sweep(3) == []
    assert len(mail.mails) == 4


def test_without_the_code_the_daemons_memory_is_watched(scene):
    silent(SENSOR)(scene)
    scene.declared = None
    assert [i.subject for i in scene.sweep(4)] == ["new_data"]


def test_the_sensor_sweeps(scene, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(scene.settings.home))
    run_job(scene)
    watchdog = build_watchdog()
    definitions = dg.Definitions(sensors=[watchdog])
    for expected in ("run_failed", "no new incident"):
        context = dg.build_sensor_context(
            instance=scene.instance, repository_def=definitions.get_repository_def()
        )
        assert expected in watchdog(context).skip_message


def test_the_admin_sweeps_lists_and_hands_out_reports(scene, mail):
    run_job(scene)
    header = {"authorization": f"Bearer {token(scene.settings.home)}"}
    with TestClient(build_app(scene.settings, sweep_seconds=0.1)) as client:
        assert wait_until(lambda: len(mail.mails) == 1, seconds=60)
        assert wait_until(
            lambda: all(client.get("/alerts", headers=header).json()[0]["told"].values()), 10
        )
        assert client.get("/alerts").status_code == 401
        (found,) = client.get("/alerts", headers=header).json()
        assert found["kind"] == "run_failed"
        assert client.get("/alerts?open=1", headers=header).json() == []
        page = client.get(f"/alerts/{found['id']}/incident.html")
        assert "the fold is empty" in page.text
        for path in ("/alerts/x/alerts.db", f"/alerts/{found['id']}/alerts.db",
                     "/alerts/%2e%2e/incident.html"):  # fmt: skip
            assert client.get(path).status_code == 404
