"""The controller: each arrow in the ledger before its effect, and finished after a crash."""

from __future__ import annotations

import threading

import pytest

from models.contracts.rollout import RolloutPlan
from orchestration import admin_rollouts, rollout_place, rollouts
from stores import rollout_journal
from stores.ledger import LedgerError
from tests.unit.rollout_home import NEW, OLD, PLAN, PRODUCT, RolloutHome, release
from tests.unit.rollout_sample import exposure, lost, seen

LOST = "errors: worse by"


@pytest.fixture
def place(tmp_path, monkeypatch):
    found = RolloutHome(tmp_path, monkeypatch)
    found.gateway()
    return found


def start(place, plan=PLAN, **more):
    return rollouts.start(PRODUCT, place.settings, plan=plan, by="Ada", **more, **place.how)


def tick(place, product=PRODUCT):
    return rollouts.tick(product, place.settings, **place.how)


def served(place, count, share=0.2, start=0, challenger=None):
    """Requests of as many keys, a share of them answered by the challenger, all seen by both."""
    drawn = []
    for number in range(start, start + count):
        mine = number % 10 < 10 * share
        drawn.append(
            exposure(
                number,
                assigned="challenger" if mine else "champion",
                served="challenger" if mine else "champion",
                challenger=(challenger or seen(name=f"b{number}")) if mine else None,
            )
        )
    place.served(*drawn)


def test_a_start_proves_the_challenger_then_gives_it_the_first_share(place):
    step = start(place)
    assert (step.phase, step.weight, step.by) == ("running", 0.2, "controller")
    assert place.phases() == ["requested", "starting", "running"]
    assert place.deployer.done == [f"spawn {NEW}"]
    routes = place.routes
    assert (routes.champion, routes.placement.challenger) == (OLD, NEW)
    assert {m.version: m.url[-4:] for m in routes.members.values()} == {OLD: "3001", NEW: "3002"}
    assert routes.placement.weight == 0.2
    first = place.ledger.rollout_entries(step.rollout_id)[0].body
    assert (first["by"], first["plan"]["weights"]) == ("Ada", [0.2, 0.5])
    assert place.ledger.current().version == OLD


def test_a_second_start_is_refused_while_the_first_goes_on(place):
    first = start(place)
    with pytest.raises(LedgerError, match=f"{first.rollout_id} is running.*assay rollout abort"):
        start(place)


def test_without_a_gateway_that_follows_it_is_refused(tmp_path, monkeypatch):
    place = RolloutHome(tmp_path, monkeypatch)
    step = start(place)
    assert step.phase == "refused"
    assert "no live gateway" in step.reason
    assert place.routes.placement is None
    assert NEW not in place.routes.members
    assert place.deployer.done == [f"spawn {NEW}", "stop"]
    place.gateway(generation=1)  # one that hangs on to the first table
    step = start(place)
    assert "router-1 follow an older table" in step.reason


def test_a_challenger_that_fails_its_golden_requests_gets_nothing(place):
    place.deployer.slot("challenger").broken = {NEW}
    step = start(place)
    assert (step.phase, place.phases()[-1]) == ("refused", "refused")
    assert "golden request 3 of 40" in step.reason
    assert place.deployer.running.version == OLD


def test_an_equal_challenger_goes_through_its_stages_and_is_promoted(place):
    start(place)
    served(place, 300)
    assert (tick(place).stage, place.routes.placement.weight) == (1, 0.5)
    step = tick(place)
    for start_at in (1_000, 3_000):
        served(place, 1_800, 0.5, start=start_at)
        step = tick(place)
    assert step.phase == "promoted"
    assert "provably not worse by errors, latency, estimated" in step.reason
    assert step.share == pytest.approx(0.5, abs=0.01)
    assert place.ledger.current().version == NEW
    assert place.ledger.previous().version == OLD
    assert place.aliases == [NEW, OLD]
    assert place.deployer.done == [f"spawn {NEW}", f"roll out {NEW}", "stop"]
    assert place.routes.placement is None
    assert {m.version: m.url[-4:] for m in place.routes.members.values()} == {NEW: "3001"}
    assert tick(place) is None


def test_a_challenger_that_fails_requests_is_aborted(place):
    start(place)
    served(place, 600, challenger=lost())
    step = tick(place)
    assert (step.phase, step.weight) == ("aborted", 0.0)
    assert step.reason.startswith(LOST)
    assert {one.rule for one in step.evidence} >= {"errors", "latency"}
    assert place.routes.placement is None
    assert NEW not in place.routes.members
    assert place.deployer.done == [f"spawn {NEW}", "stop"]
    assert place.ledger.current().version == OLD
    report = rollout_journal.folder(place.home, PRODUCT, step.rollout_id) / "report.html"
    assert LOST in report.read_text()


def test_a_share_that_is_not_the_plans_ends_it(place):
    start(place)
    served(place, 600, share=0.5)
    step = tick(place)
    assert step.phase == "aborted"
    assert step.reason == "not enforced: the challenger answered 50.0% of 600, not 20.0%"


def test_a_challenger_whose_process_ended_is_aborted(place):
    start(place)
    place.deployer.slot("challenger").running = None
    step = tick(place)
    assert step.phase == "aborted"
    assert "the challenger's process ended" in step.reason


def test_without_its_champion_it_is_aborted(place):
    start(place)
    place.deployer.running = None
    assert "the champion's process ended; `assay serve" in tick(place).reason


def test_gateways_that_count_another_share_than_the_journal_end_it(place):
    place.gateway(answered={PRODUCT.key: {OLD: 100, NEW: 100}})  # before it began
    start(place, plan=PLAN.model_copy(update={"min_units": 10_000}))
    served(place, 1_200)
    place.gateway(answered={PRODUCT.key: {OLD: 900, NEW: 500}})
    step = tick(place)
    assert "the gateways count 33.3% for the challenger, the journal 20.0%" in step.reason


def test_a_journal_that_is_still_in_the_stage_before_contradicts_nobody(place):
    start(place)
    served(place, 1_200)
    place.gateway(answered={PRODUCT.key: {OLD: 960, NEW: 240}})
    assert tick(place).stage == 1
    place.gateway(answered={PRODUCT.key: {OLD: 1_160, NEW: 440}})  # half of what came since
    assert tick(place).phase == "running"


def test_a_champion_that_somebody_else_changed_ends_it(place):
    start(place)
    third = "v20260103_000000"
    place.ledger.append("release", release(third))
    step = tick(place)
    assert step.phase == "aborted"
    assert step.reason == f"champion changed: {third} is current by now"
    assert place.ledger.current().version == third


def test_a_person_promotes_what_ended_without_a_verdict(place):
    start(place, plan=PLAN.model_copy(update={"max_units": 50, "min_units": 10_000}))
    served(place, 600)
    step = tick(place)
    assert step.phase == "inconclusive"
    assert "a person decides" in step.reason
    with pytest.raises(LedgerError, match="no rollout is under way"):
        rollouts.abort(PRODUCT, place.settings, "late", **place.how)
    step = rollouts.promote(PRODUCT, place.settings, "looks good", "Ada", **place.how)
    assert (step.phase, place.ledger.current().version) == ("promoted", NEW)
    assert place.deployer.running.version == NEW


def test_an_aborted_one_is_not_promoted(place):
    start(place)
    rollouts.abort(PRODUCT, place.settings, "by hand", **place.how)
    with pytest.raises(LedgerError, match="is aborted; one that runs or is inconclusive"):
        rollouts.promote(PRODUCT, place.settings, "still", **place.how)
    first = place.ledger.rollout_step().rollout_id
    again = start(place)
    assert (again.phase, again.rollout_id > first) == ("running", True)


def test_two_actors_one_acts(place):
    start(place)
    other = rollout_place.Place(PRODUCT, place.settings, **place.how)
    with other.alone(0):
        assert tick(place) is None
    assert tick(place).phase == "running"


def test_a_planned_rollout_begins_by_itself_once(place):
    serving = PRODUCT.serving.model_copy(update={"rollout": RolloutPlan(kind="shadow")})
    planned = PRODUCT.model_copy(update={"serving": serving})
    assert tick(place) is None  # nobody planned one
    assert not rollouts.wanted(PRODUCT, place.settings)
    assert rollouts.wanted(planned, place.settings)
    step = tick(place, planned)
    assert (step.phase, step.kind, step.weight) == ("running", "shadow", 0.0)
    rollouts.abort(PRODUCT, place.settings, "by hand", **place.how)
    assert tick(place, planned) is None
    assert not rollouts.wanted(planned, place.settings)


def test_the_thread_drives_what_is_under_way_and_survives_errors(place, monkeypatch):
    ended, seen = threading.Event(), []

    def look(product, settings):
        seen.append(product.key)
        if len(seen) >= 3:
            ended.set()
        if len(seen) == 1:
            raise LedgerError("planted")

    monkeypatch.setattr(admin_rollouts.rollouts, "tick", look)
    monkeypatch.setattr(admin_rollouts, "_PAUSE_SECONDS", 0.0)
    start(place)
    admin_rollouts.drive(place.settings, ended, every=0.01)
    assert seen == [PRODUCT.key] * 3  # the others have no ledger yet
