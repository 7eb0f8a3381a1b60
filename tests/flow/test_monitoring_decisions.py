"""What monitoring asks for: a retraining, once; a rollback, where the release before is better."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import NamedTuple

import pytest

from assets.stages import monitoring_decisions
from models.contracts.monitoring import OVERALL, RollbackDecision
from models.contracts.results import Release
from orchestration.operations import ledger_of
from tests.flow.chain import Place
from tests.flow.traffic_files import DAY, POLICY, START, Traffic, look, newest


def asked(place: Place, kind: str) -> list[dict]:
    return [e.body for e in ledger_of(place.product, place.settings).entries() if e.kind == kind]


def test_drift_that_hurts_asks_once_for_a_retraining(traffic: Traffic) -> None:
    place = traffic.place
    traffic.day(0)
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


class Worse(NamedTuple):
    """A release, and a new champion that did worse on the same holdout and answered for a day."""

    before: Release
    champion: Release
    traffic: Traffic


@pytest.fixture
def worse(traffic: Traffic) -> Worse:
    place = traffic.place
    before = place.ledger.current()
    assert before is not None
    other = next(c for c in place.candidates().candidates if c != before.candidate_id)
    folder = place.home.evaluation(place.product, before.evaluation_id)
    shutil.copytree(folder, folder.with_name("other"), ignore=shutil.ignore_patterns("profile-*"))
    version = place.ledger.new_version()
    change = {"version": version, "candidate_id": other, "evaluation_id": "other"}
    champion = before.model_copy(update=change)
    place.ledger.append("release", champion)
    asked_of_it = Traffic(place)
    asked_of_it.day(0)
    asked_of_it.write()
    return Worse(before, champion, asked_of_it)


def rollback(place: Place) -> RollbackDecision:
    found = look(place).rollback
    assert found is not None
    return found


def test_a_worse_new_champion_is_told_to_go_back(
    worse: Worse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, champion, traffic = worse
    place = traffic.place
    decision = rollback(place)
    assert decision.roll_back
    assert (decision.champion, decision.previous) == (champion.version, before.version)
    assert decision.basis == "realised"
    values = decision.champion_value, decision.previous_value
    cards = place.evaluation().scorecards
    for value, release in zip(values, (champion, before), strict=True):
        assert value is not None
        held = cards[release.candidate_id].metrics[OVERALL]["roc_auc"].value
        assert value.value == pytest.approx(held), "scored again as on the holdout"
    assert asked(place, "rollback") == [], "monitoring asks, others act"

    monkeypatch.setattr(monitoring_decisions, "MAX_COMPARED", 300)
    fewer = rollback(place)
    assert "on 300 rows with outcomes" in fewer.reason, "the newest"
    traffic.day(1, hidden=True)
    traffic.write()
    late = rollback(place)
    assert late.reason == fewer.reason, "newer rows whose outcomes are not in hide none"


def test_what_lower_rungs_answered_is_not_the_champion_s(worse: Worse) -> None:
    traffic = worse.traffic
    place, version = traffic.place, worse.champion.version
    before = look(place)
    (alone,) = newest(place).versions
    spares = ("rule", f"{version}-baseline")
    traffic.day(9, inputs=traffic.drifted(), labels=traffic.harmed())
    for number, row in enumerate(added := traffic.days.pop(9)):
        row["event_time"] -= 9 * DAY
        row["model_version"] = spares[number % 2]
    traffic.days[0] += added
    traffic.write()
    after = look(place)
    found = {one.version: one for one in newest(place).versions}
    assert set(found) == {version, *spares}
    assert found[version].share == 0.5
    assert found[version].model_copy(update={"share": 1.0}) == alone
    assert not any(found[name].verdict.judged for name in spares)
    assert (after.rollback, after.retrain) == (before.rollback, before.retrain)
    assert after.regression == before.regression


def test_nobody_goes_back_to_a_release_that_cannot_be_compared(worse: Worse) -> None:
    place = worse.traffic.place
    product, data = place.product, place.product.data
    hashed = product.serving.model_copy(update={"log_inputs": "hash"})
    narrow = data.model_copy(update={"columns": data.columns[1:]})
    for change, reason in (
        ({"serving": hashed}, "serving.log_inputs"),
        ({"data": narrow}, "have other inputs"),
    ):
        decision = rollback(replace(place, product=product.model_copy(update=change)))
        assert not decision.roll_back
        assert reason in decision.reason

    model = place.home.candidate(product, worse.before.candidate_id) / "manifest.json"
    model.write_text(model.read_text() + " ")
    refused = rollback(place)
    assert not refused.roll_back
    assert "the release before cannot be loaded" in refused.reason
