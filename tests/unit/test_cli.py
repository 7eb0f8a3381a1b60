"""The command line on a home where nothing happened yet: plain words, right exit codes."""

from datetime import timedelta

import pytest
from typer.testing import CliRunner

from models.registry import products
from orchestration.cli import app, out
from stores.home import Home
from tests.unit.loop_home import decide, judged

KEY = "risk/sync_conflict"
KEYS = ", ".join(product.key for product in products())


@pytest.fixture
def assay(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    monkeypatch.setattr(out, "width", 200)
    return lambda *words: CliRunner().invoke(app, words)


def test_help_lists_the_commands(assay):
    said = assay("--help").output
    for command in (
        "run",
        "status",
        "promote",
        "approve",
        "rollback",
        "explain",
        "serve",
        "up",
        "monitor",
    ):
        assert command in said


def test_status_of_nothing(assay):
    said = assay("status", KEY)
    assert said.exit_code == 0
    assert "none yet" in said.output
    assert "not running" in said.output
    assert "never; `assay monitor`" in said.output


def test_status_names_whom_it_waits_for_and_until_when(assay, tmp_path):
    home = Home(tmp_path)
    asked = decide(home, "awaiting_approval", hours=2)
    until = f"{asked.at + timedelta(hours=72):%Y-%m-%d %H:%M}"
    said = assay("status", KEY).output
    assert f"waits for a named person until {until} UTC" in said
    assert "waits for a named person" in " ".join(assay("status").output.split())
    assert "assay promote" in assay("approve", KEY, "--by", "Ada").output
    assert "approved by Ada" in assay("status", KEY).output


def test_status_shows_the_newest_verdict(assay, tmp_path):
    judged(Home(tmp_path), "v2", "v1")
    assert "no window of the champion was judged yet" in assay("status", KEY).output


def test_rollback_help_says_that_forward_is_the_same_command(assay):
    assert "Going forward is --to with the later version" in assay("rollback", "--help").output


def test_explain_of_nothing_is_an_empty_record(assay):
    assert assay("explain", KEY).exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("status", "no/such"), f"no product 'no/such'; there are: {KEYS}"),
        (("rollback", KEY), "no earlier release to go back to"),
        (("approve", KEY, "--by", "Ada"), "nothing waits for approval"),
        (("serve", KEY), "no release yet"),
        (("versions", KEY, "--best", "roc_auc"), "no release was measured"),
    ],
)
def test_errors_are_one_sentence_and_exit_1(assay, words, message):
    said = assay(*words)
    assert said.exit_code == 1
    assert message in said.output
    assert "Traceback" not in said.output


def test_the_plan_names_every_asset_and_runs_nothing(assay, tmp_path):
    said = assay("run", "--dry-run")
    assert said.exit_code == 0, said.output
    assert "raw/merges" in said.output
    assert f"{KEY}/service" in said.output
    assert not (tmp_path / "raw").exists()


def test_dashboards_are_written_and_say_who_reads_them(assay, tmp_path):
    folder = tmp_path / "new" / "dashboards"
    said = assay("dashboards", str(folder), "--webhook", "http://hook.example/x")
    assert said.exit_code == 0, said.output
    written = sorted(path.name for path in folder.iterdir())
    assert written == [
        "alertmanager.yml", "grafana-assay.json", "grafana-datasource.yml", "grafana-provider.yml",
        "prometheus-rules.yml", "prometheus.yml",
    ]  # fmt: skip
    assert "url: http://hook.example/x" in (folder / "alertmanager.yml").read_text()
    text = "".join(said.output.split())
    for name in written:
        assert str(folder / name) in text
    assert "127.0.0.1:3900/targets" in text
