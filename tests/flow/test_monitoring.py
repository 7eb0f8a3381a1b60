"""Traffic judged by the monitoring stage: what is shown, what is asked for, and that it is once."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from assets.stages import monitoring_decisions
from assets.stages.kept import candidate_file
from assets.stages.monitoring import LATEST, build, read_latest, read_reports
from models.contracts.monitoring import OVERALL, ReferenceProfile, WindowReport
from models.contracts.product import Monitoring
from orchestration.operations import ledger_of
from stores.home import MissingError
from stores.reports import ReportError, evidently_drift
from tests.flow.chain import CHEAP, Place
from tests.flow.traffic_files import DAY, NOW, START, Traffic, look, newest

POLICY = Monitoring(window_hours=24, min_rows=200, min_new_rows=300, cooldown_hours=0)
WATCHED = CHEAP.model_copy(update={"monitoring": POLICY})


def asked(place: Place, kind: str) -> list[dict]:
    return [e.body for e in ledger_of(place.product, place.settings).entries() if e.kind == kind]


@pytest.fixture
def drift_pages(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Evidently takes ten seconds a page: recorded here, written in test_monitoring_page."""
    made: list[Path] = []

    def write_drift(path: Path, current, reference, effects, **policy) -> None:
        columns = [effect.name for effect in effects]
        assert list(current) == list(reference) == columns
        path.write_text("<html>")
        made.append(path)

    monkeypatch.setattr(evidently_drift, "write_drift", write_drift)
    return made


@pytest.fixture
def traffic(base: Place, tmp_path: Path, drift_pages: list[Path]) -> Traffic:
    return Traffic(base.copy(tmp_path / "home", WATCHED))


def test_from_a_normal_day_to_one_request_to_retrain(traffic: Traffic) -> None:
    place, metric = traffic.place, "roc_auc"
    with pytest.raises(MissingError, match="materialise traffic/predictions first"):
        look(place)
    traffic.write()
    assert look(place).windows == (), "nobody asked yet"

    traffic.day(0)
    traffic.refused = [
        {"request_id": f"x{i}", "product": place.product.key, "model_version": traffic.version,
         "answered_at": START + timedelta(hours=i), "path": path, "status": status,
         "latency_ms": 1.0}
        for i, (path, status) in enumerate([("/predict", 503), ("/predict", 422),
                                            ("/outcome", 503)])
    ]  # fmt: skip
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

    for number in (1, 2):  # drift that does not hurt
        traffic.day(number, inputs=traffic.drifted())
    traffic.new_rows()
    traffic.write()
    result = look(place)
    verdict = newest(place).versions[0].verdict
    assert verdict.drifted
    assert not verdict.hurt
    assert not result.retrain.retrain
    assert "drift that hurts nothing is shown, not acted on" in result.retrain.reason
    assert asked(place, "retrain") == []

    traffic.day(3, labels=traffic.harmed())
    traffic.write()
    result = look(place)
    assert newest(place).versions[0].verdict.hurt
    (request,) = asked(place, "retrain")
    assert result.retrain.retrain, "with the drift before it, the second violation of the last five"
    assert request["window"] == (START + 3 * DAY).isoformat()
    assert request["champion"] == traffic.version
    assert (request["violations"], request["windows"]) == (3, 4)
    assert request["new_rows"] >= POLICY.min_new_rows
    (regression,) = asked(place, "regression")
    assert regression["version"] == traffic.version
    assert regression["reason"] == result.regression
    assert "promised ROC-AUC" in str(result.regression)

    entries = place.ledger.entries()
    again = look(place)
    assert place.ledger.entries() == entries, "asked once"
    assert "was asked for at" in again.retrain.reason
    assert again.windows == tuple(START + n * DAY for n in range(4))


def test_a_window_is_asked_for_once_whoever_is_champion(traffic: Traffic) -> None:
    place = traffic.place
    for number in (0, 1):
        traffic.day(number, labels=traffic.harmed())
    traffic.new_rows()
    traffic.write()
    assert look(place).retrain.retrain
    release, version = place.ledger.current(), place.ledger.new_version()
    assert release is not None
    place.ledger.append("release", release.model_copy(update={"version": version}))
    for row in traffic.days[0] + traffic.days[1]:
        row["model_version"] = version
    traffic.write()
    again = look(place)
    assert again.champion == version
    assert "was asked for at" in again.retrain.reason, "its run key names product and window"
    assert len(asked(place, "retrain")) == 1


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


def test_a_worse_new_champion_is_told_to_go_back(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, ledger = traffic.place, traffic.place.ledger
    before = ledger.current()
    assert before is not None
    worse = next(c for c in place.candidates().candidates if c != before.candidate_id)
    folder = place.home.evaluation(place.product, before.evaluation_id)
    shutil.copytree(folder, folder.with_name("other"), ignore=shutil.ignore_patterns("profile-*"))
    version = ledger.new_version()
    change = {"version": version, "candidate_id": worse, "evaluation_id": "other"}
    ledger.append("release", before.model_copy(update=change))
    champion = Traffic(place)
    champion.day(0)
    champion.write()
    decision = look(place).rollback
    assert decision is not None
    assert decision.roll_back
    assert (decision.champion, decision.previous) == (version, before.version)
    assert decision.basis == "realised"
    values = decision.champion_value, decision.previous_value
    cards = place.evaluation().scorecards
    for value, candidate in zip(values, (worse, before.candidate_id), strict=True):
        assert value is not None
        held = cards[candidate].metrics[OVERALL]["roc_auc"].value
        assert value.value == pytest.approx(held), "scored again as on the holdout"
    assert asked(place, "rollback") == [], "monitoring asks, others act"

    with monkeypatch.context() as patch:
        patch.setattr(monitoring_decisions, "MAX_COMPARED", 300)
        fewer = look(place).rollback
        assert fewer is not None
        assert "on 300 rows with outcomes" in fewer.reason, "the newest"
        champion.day(1, hidden=True)
        champion.write()
        late = look(place).rollback
        assert late is not None
        assert late.reason == fewer.reason, "newer rows whose outcomes are not in hide none"

    hashed = place.product.model_copy(
        update={"serving": place.product.serving.model_copy(update={"log_inputs": "hash"})}
    )
    silent = look(replace(place, product=hashed)).rollback
    assert silent is not None
    assert not silent.roll_back
    assert "serving.log_inputs" in silent.reason

    data = place.product.data
    narrow = place.product.model_copy(
        update={"data": data.model_copy(update={"columns": data.columns[1:]})}
    )
    other = look(replace(place, product=narrow)).rollback
    assert other is not None
    assert not other.roll_back
    assert "have other inputs" in other.reason

    model = place.home.candidate(place.product, before.candidate_id) / "manifest.json"
    model.write_text(model.read_text() + " ")
    refused = look(place).rollback
    assert refused is not None
    assert not refused.roll_back
    assert "the release before cannot be loaded" in refused.reason


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
