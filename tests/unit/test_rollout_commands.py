"""Rollouts on the command line and over the admin service: plain words, right codes."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from orchestration import cli_rollout, rollout_place
from orchestration.admin import build_app
from orchestration.admin_access import token
from orchestration.cli import app
from tests.unit.rollout_home import NEW, OLD, PRODUCT, RolloutHome

KEY = PRODUCT.key


@pytest.fixture
def place(tmp_path, monkeypatch):
    found = RolloutHome(tmp_path, monkeypatch)
    found.gateway()
    monkeypatch.setattr(rollout_place, "build_deployer", lambda _: found.deployer)
    monkeypatch.setattr(cli_rollout.out, "width", 200)
    return found


@pytest.fixture
def assay(place):
    return lambda *words: CliRunner().invoke(app, ["rollout", *words])


@pytest.fixture
def client(place):
    header = {"authorization": f"Bearer {token(place.home.root)}"}
    with TestClient(build_app(place.settings), headers=header) as found:
        yield found


def test_a_rollout_from_the_command_line(assay, place):
    said = assay("start", KEY, "--by", "Ada")
    assert said.exit_code == 0, said.output
    step = place.ledger.rollout_step()
    assert f"{step.rollout_id} is running: golden requests passed" in said.output
    assert f"next: assay rollout status {KEY}" in said.output
    assert "running at 5.0%" in said.output  # progress, and a canary by default
    shown = assay("status").output
    for word in (f"challenger {NEW}", "5.0 %", "errors", "realised", "report.html"):
        assert word in shown
    said = assay("abort", KEY, "--reason", "enough")
    assert "is aborted: enough" in said.output
    assert assay("abort", KEY).exit_code == 1


def test_errors_name_the_next_step(assay, place):
    for words, told in (
        (("status", KEY), "no rollout yet; `assay rollout start"),
        (("start", KEY, "--kind", "blue"), "no kind 'blue'; there are shadow, canary, ab"),
        (("start", KEY, "--version", "v9"), "no release 'v9'; there are:"),
        (("promote", KEY), "there is no rollout; one that runs"),
        (("start", "no/such"), "no product"),
        (("override", KEY, "--tenant", "acme", "--version", NEW), "is not served; start it with"),
        (("flag", "fast"), "no flag 'fast'; there are serve,"),
    ):
        said = assay(*words)
        assert (said.exit_code, told in said.output) == (1, True), said.output
    place.deployer.slot("challenger").broken = {NEW}
    refused = assay("start", KEY)
    assert refused.exit_code == 1
    assert "is refused: the challenger does not answer its golden requests" in refused.output


def test_overrides_and_flags(assay, place):
    assay("start", KEY)
    assert "acme" in assay("override", KEY, "--tenant", "acme", "--version", NEW).output
    assert "off" in assay("flag", "mirror", "--scope", KEY, "--off", "--tenant", "acme").output
    assert [one.version for one in place.routes.overrides] == [NEW]
    said = assay("override", KEY, "--tenant", "acme", "--version", "v9")
    assert f"v9 does not run, so nobody can be given it; running: {OLD}, {NEW}" in said.output
    assay("override", KEY, "--tenant", "acme")
    assert place.routes.overrides == ()
    assay("flag", "mirror", "--scope", KEY, "--tenant", "acme", "--clear")
    assert "mirror" not in assay("status").output


def test_the_admin_routes(client, place):
    def post(route, /, **body):
        return client.post(f"/rollouts/{route}", json=body)

    started = post("start", product=KEY, plan={"weights": [0.2], "min_seconds": 0})
    assert (started.status_code, started.json()["weight"]) == (200, 0.2)
    assert post("start", product=KEY).status_code == 409
    (found,) = client.get("/rollouts").json()
    assert (found["product"], found["phase"], found["answered"]) == (KEY, "running", {})
    page = client.get(found["report"])
    assert (page.status_code, f"{NEW} against {OLD}" in page.text) == (200, True)
    assert client.get("/rollouts/no/r1/report.html").status_code == 404
    assert post("override", product=KEY, tenant="a", version_id=NEW).json()[0]["version"] == NEW
    assert post("flag", name="explain", on=False).json()[0]["on"] is False
    assert post("flag", name="explain", scope="no/such", on=False).status_code == 404
    assert post("start", product=KEY, plan={"weights": []}).status_code == 400
    assert post("promote", product=KEY, reason="fast").json()["phase"] == "promoted"
    assert post("abort", product=KEY).status_code == 409
    lines = (place.home.root / "audit" / "admin.jsonl").read_text().splitlines()
    routes = [json.loads(line)["body"]["route"] for line in lines]
    assert routes[0] == "POST /rollouts/start"
    assert routes[-1] == "POST /rollouts/abort"


def test_a_refused_start_is_409_with_the_reason(client, place):
    place.deployer.slot("challenger").broken = {NEW}
    answer = client.post("/rollouts/start", json={"product": KEY})
    assert answer.status_code == 409
    assert "golden requests" in answer.json()["error"]
    assert answer.json()["detail"][0]["phase"] == "refused"
