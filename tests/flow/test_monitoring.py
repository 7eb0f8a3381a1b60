"""Traffic judged by the monitoring stage: what is shown of a window, and what is judged again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from assets.stages.kept import candidate_file
from assets.stages.monitoring import LATEST, build, read_latest, read_reports
from models.contracts.monitoring import OVERALL, ReferenceProfile, WindowReport
from stores.home import MissingError
from stores.reports import ReportError, evidently_drift
from tests.flow.traffic_files import DAY, NOW, POLICY, START, Traffic, look, newest


def refusals(traffic: Traffic) -> list[dict]:
    """One of the first day's predictions failed; a bad row, and an outcome, are no such failure."""
    refused = [("/predict", 503), ("/predict", 422), ("/outcome", 503)]
    return [
        {"request_id": f"x{i}", "product": traffic.place.product.key,
         "model_version": traffic.version, "answered_at": START + timedelta(hours=i),
         "path": path, "status": status, "latency_ms": 1.0}
        for i, (path, status) in enumerate(refused)
    ]  # fmt: skip


def test_a_day_like_the_holdout_keeps_the_promise(traffic: Traffic) -> None:
    place, metric = traffic.place, "roc_auc"
    with pytest.raises(MissingError, match="materialise traffic/predictions first"):
        look(place)
    traffic.write()
    assert look(place).windows == (), "nobody asked yet"

    traffic.day(0)
    traffic.refused = refusals(traffic)
    traffic.orphans = [
        {"outcome_id": "o", "product": place.product.key, "received_at": START + DAY / 2}
    ]
    traffic.write()
    result = look(place)
    one = newest(place).versions[0]
    rows, requests = len(traffic.rows.scores), -(-len(traffic.rows.scores) // 2)
    assert (one.rows, one.requests, one.errors, one.share) == (rows, requests + 2, 1, 1.0)
    assert one.error_rate == pytest.approx(1 / (requests + 2))
    assert 4 <= one.latency.median <= one.latency.p95 <= 10
    assert one.cost_per_1000 == pytest.approx(one.latency.mean / 2 / 3.6e6 * 0.05 * 1000, rel=0.01)
    assert (one.quality.contradictions, one.quality.orphans) == (1, 1)
    assert one.quality.outside == {}
    assert set(one.quality.nulls) <= {c.name for c in place.product.data.columns if c.nullable}
    assert max(d.effect for d in one.drift) < 0.05, "these are the reference rows themselves"
    release = place.ledger.current()
    assert release is not None
    folder = place.home.evaluation(place.product, release.evaluation_id)
    profile = ReferenceProfile.model_validate_json(
        candidate_file(folder, "profile", release.candidate_id).read_bytes()
    )
    assert one.realised[OVERALL][metric].value == pytest.approx(profile.promised[metric].value)
    estimated = one.estimated[OVERALL][metric]
    assert estimated.low < one.realised[OVERALL][metric].value < estimated.high
    assert any(name.startswith("tenant=") for name in one.realised)
    assert one.verdict.judged
    assert not one.verdict.violated
    assert one.verdict.basis == "realised"
    assert result.regression is None
    assert not result.retrain.retrain
    assert result.rollback is not None
    assert result.rollback.reason == "there is no release before the champion"


def test_only_what_changed_is_judged_again(traffic: Traffic, drift_pages: list[Path]) -> None:
    place = traffic.place
    for number in range(3):
        traffic.day(number, hidden=number == 1)
    traffic.write()
    half = START + 2.5 * DAY
    look(place, now=half)
    folder = place.home.monitoring(place.product)
    assert len(read_reports(place.product, place.home)) == 2, "the third day is not over"
    look(place, now=START)
    latest = read_latest(place.product, place.home)
    assert latest is not None
    assert latest.as_of == half, "a clock that jumped back takes nothing back"

    look(place)
    first = {path.name: path.read_bytes() for path in folder.glob("2024*.json")}
    assert drift_pages == [folder / "drift.html"] * 2, "one for each newest window"
    assert len(first) == 3
    hidden = WindowReport.model_validate_json(first["20240302T0000.json"]).versions[0]
    assert hidden.verdict.basis == "estimated"
    assert hidden.realised == {}
    assert hidden.outcomes == 0

    traffic.days[0].reverse()
    traffic.day(1)
    traffic.write()
    look(place, now=NOW + DAY)
    second = {path.name: path.read_bytes() for path in folder.glob("2024*.json")}
    changed = [name for name in first if first[name] != second[name]]
    assert changed == ["20240302T0000.json"], "its outcomes came in; order is no change"
    assert len(drift_pages) == 2, "the newest window is as it was"

    traffic.days[0] = traffic.days[0][:50]  # retention took a part
    traffic.write()
    look(place, now=NOW + 2 * DAY)
    assert (folder / "20240301T0000.json").read_bytes() == second["20240301T0000.json"]

    for number in (1, 2):
        traffic.days[number] = traffic.days[number][:100]
    traffic.write()
    longer = POLICY.model_copy(update={"window_hours": 48})
    place = replace(place, product=place.product.model_copy(update={"monitoring": longer}))
    assert read_reports(place.product, place.home) == [], "of other windows"
    look(place, now=NOW + 3 * DAY)
    kept = [report.start for report in read_reports(place.product, place.home)]
    assert kept == [START - DAY, START + DAY], "aligned to 1970, also where a shorter one lay"


def test_a_log_of_hashes_still_sees_scores_and_quality(traffic: Traffic) -> None:
    place = traffic.place
    traffic.day(0, labels=traffic.harmed())
    for row in traffic.days[0]:
        row["inputs"] = None
    traffic.write()
    result = look(place)
    one = newest(place).versions[0]
    assert one.drift == ()
    assert one.verdict.hurt
    assert "inputs not logged" in one.verdict.reason
    assert "drift.html" not in (place.home.monitoring(place.product) / "index.html").read_text()
    assert result.regression


def test_a_lost_profile_is_made_again_from_what_the_evaluation_kept(traffic: Traffic) -> None:
    place = traffic.place
    release = place.ledger.current()
    assert release is not None
    folder = place.home.evaluation(place.product, release.evaluation_id)
    path = candidate_file(folder, "profile", release.candidate_id)
    kept = path.read_text()
    path.unlink()
    traffic.day(0)
    traffic.write()
    look(place)
    assert ReferenceProfile.model_validate_json(path.read_text()) == (
        ReferenceProfile.model_validate_json(kept)
    )


def test_a_page_that_cannot_be_drawn_keeps_no_decision_back(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ReportError("no column has a value")

    monkeypatch.setattr(evidently_drift, "write_drift", broken)
    traffic.day(0)
    traffic.write()
    with pytest.raises(ReportError, match="no column"):
        look(traffic.place)
    latest = read_latest(traffic.place.product, traffic.place.home)
    assert latest is not None
    assert latest.windows == (START,)


def test_a_version_nobody_released_is_counted_and_not_judged(traffic: Traffic) -> None:
    traffic.day(0)
    for row in traffic.days[0][::4]:
        row["model_version"] = "v19990101_000000"
    traffic.write()
    look(traffic.place)
    known, unknown = newest(traffic.place).versions
    assert known.version == traffic.version
    assert unknown.rows == len(traffic.days[0][::4])
    assert known.share + unknown.share == pytest.approx(1)
    assert not unknown.verdict.judged
    assert "not in the ledger" in unknown.verdict.reason


def test_the_asset_reports_two_checks_that_warn(traffic: Traffic) -> None:
    import dagster as dg

    place = traffic.place
    traffic.day(0, inputs=traffic.drifted(), labels=traffic.harmed())
    traffic.write()
    asset = build(place.product)
    assert {key.to_user_string() for key in asset.dependency_keys} == {
        "traffic/predictions", "traffic/refusals", "traffic/orphans",
    }  # fmt: skip
    ran = dg.materialize([asset], resources={"home": place.home, "cost_per_hour": 0.05})
    assert ran.success, "a verdict fails no run"
    checks = {c.check_name: c for c in ran.get_asset_check_evaluations()}
    assert set(checks) == {"drift", "quality"}
    for check in checks.values():
        assert not check.passed
        assert check.severity == dg.AssetCheckSeverity.WARN
    assert "provably worse" in str(checks["quality"].description)
    (made,) = ran.asset_materializations_for_node(asset.node_def.name)
    assert set(made.metadata) >= {"windows", "retrain", "rollback", "page", "path"}
    assert "data:image/png" in str(made.metadata["estimated and realised"].value)
    folder = place.home.monitoring(place.product)
    assert json.loads((folder / LATEST).read_text())["product"] == place.product.key
