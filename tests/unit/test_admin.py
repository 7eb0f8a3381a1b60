"""The admin service: a token, typed bodies, and errors that say what to do."""

from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from models.contracts.incidents import Observation
from models.contracts.results import Estimate, Evaluation, Release, Scorecard
from models.registry import get
from orchestration.admin import build_app
from orchestration.admin_access import token
from orchestration.settings import Settings
from stores.alerts import Alerts, Rules
from stores.ledger import Ledger

KEY = "risk/sync_conflict"


def card(candidate, auc):
    shares = {"roc_auc": auc, "accuracy": 0.95}
    return Scorecard(
        candidate_id=candidate, trial="t",
        metrics={"overall": {n: Estimate(value=v, low=v - 0.01, high=v + 0.01)
                             for n, v in shares.items()}},
        rows={"overall": 9}, positives={"overall": 3}, latency_p50_ms=1, latency_p95_ms=1,
        size_bytes=1, importance={},
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    return Settings()


@pytest.fixture
def client(settings):
    app = build_app(settings)
    header = {"authorization": f"Bearer {token(settings.home_paths().root)}"}
    with TestClient(app, headers=header) as found:
        yield found


@pytest.fixture
def released(settings):
    """Two releases: the first clearly worse than the second."""
    home, product = settings.home_paths(), get(KEY)
    for number, auc in ((1, 0.80), (2, 0.90)):
        evaluation = Evaluation(
            product=KEY, evaluation_id=f"e{number}", snapshot_id="s", challenger=f"c{number}",
            champion=None, scorecards={f"c{number}": card(f"c{number}", auc)},
        )  # fmt: skip
        folder = home.evaluation(product, f"e{number}")
        folder.mkdir(parents=True)
        (folder / "evaluation.json").write_text(evaluation.model_dump_json())
        release = Release(
            product=KEY, version=f"v2026010{number}_000000", candidate_id=f"c{number}",
            snapshot_id="s", evaluation_id=f"e{number}", trial="t", mlflow_version=str(number),
            artifact="x",
        )  # fmt: skip
        Ledger(home.ledger(product)).append("release", release)


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}])
def test_without_the_token_nothing_is_told(settings, header):
    with TestClient(build_app(settings), headers=header) as client:
        assert client.get("/models/versions", params={"product": KEY}).status_code == 401


def test_the_token_is_private(settings):
    token(settings.home_paths().root)
    path = settings.home_paths().root / "keys" / "admin-token"
    assert path.stat().st_mode & 0o077 == 0


def test_versions_newest_first_with_aliases(client, released):
    found = client.get("/models/versions", params={"product": KEY}).json()
    assert [v["release"]["version"] for v in found] == ["v20260102_000000", "v20260101_000000"]
    assert [v["aliases"] for v in found] == [["champion"], ["previous"]]


def test_best_keeps_only_what_may_be_best(client, released):
    query = {"product": KEY, "metric": "roc_auc"}
    found = client.get("/models/best", params=query).json()
    assert [v["release"]["version"] for v in found] == ["v20260102_000000"]
    query["metric"] = "accuracy"  # a tie: both may be the best
    assert len(client.get("/models/best", params=query).json()) == 2


def test_a_small_drop_does_not_roll_back(client, released):
    body = {"product": KEY, "metric": "accuracy", "current": 0.93, "rows": 1000}
    answer = client.post("/models/auto-rollback", json=body)
    assert answer.status_code == 200
    assert answer.json()["rollout"] is None
    assert not answer.json()["verdict"]["degraded"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/models/rollback", {"product": "no/such"}, 404),
        ("/models/rollback", {"product": KEY, "version_id": 7}, 400),
        ("/models/rollback", {"product": KEY, "unknown": 1}, 400),
        ("/models/rollback", {"product": KEY, "version_id": "v9"}, 409),
        ("/models/performance", {"product": KEY, "metrics": {"a": 0.5}}, 409),
        ("/models/auto-rollback", {"product": KEY, "current": 2, "rows": 1}, 400),
        ("/models/auto-rollback", {"product": KEY, "current": 0.5, "rows": 1}, 409),
    ],
)
def test_bad_requests_are_4xx_with_a_reason(client, path, body, status):
    answer = client.post(path, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_broken_body_is_400(client):
    assert client.post("/models/rollback", content=b"{").status_code == 400


def test_pages_of_evaluations_are_handed_out_and_nothing_else(client, settings):
    home = settings.home_paths()
    folder = home.evaluation(get(KEY), "e1")
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<p>a report</p>")
    path = home.page_url(get(KEY), "e1", "report.html").split("3900")[1]
    assert client.get(path, headers={"authorization": ""}).text == "<p>a report</p>"
    outside = client.get("/evaluations/%2e%2e/keys/admin-token", headers={"authorization": ""})
    assert outside.status_code == 404


@pytest.mark.parametrize(
    ("path", "maker"),
    [("/status/index.html", "assay monitor"), ("/monitoring/x/index.html", "assay monitor"),
     ("/evaluations/x/e/report.html", "assay run")],
)  # fmt: skip
def test_pages_that_are_not_drawn_yet_name_what_draws_them(client, settings, path, maker):
    missing = client.get(path)
    assert missing.status_code == 404
    assert f"`{maker}`" in missing.text
    page = settings.home_paths().root / path[1:]
    page.parent.mkdir(parents=True)
    page.write_text("drawn")
    assert client.get(path).text == "drawn"


def test_the_first_page_and_the_gauges_are_as_of_now(client, settings):
    assert "Nothing needs a person." in client.get("/").text
    seen = Observation(kind="spool_filling", subject=KEY, message="full", product=KEY)
    with Alerts(settings.home_paths().alerts).sweep(datetime.now(UTC), Rules([], [])) as table:
        table.observe(seen)
    page = client.get("/").text
    assert "1 open incident: spool filling" in page
    assert "/incident.html" in page
    assert client.get("/targets").json() == [], "nothing serves in this home"
    gauges = client.get("/metrics").text
    assert 'assay_incidents_open{kind="spool_filling",severity="warning"} 1.0' in gauges
