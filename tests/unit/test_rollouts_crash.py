"""A controller that is killed between any two effects is finished by the next look."""

from __future__ import annotations

import pytest

from orchestration import rollout_place, rollouts
from tests.unit.rollout_home import NEW, OLD, PLAN, PRODUCT, RolloutHome


@pytest.fixture
def place(tmp_path, monkeypatch):
    found = RolloutHome(tmp_path, monkeypatch)
    found.gateway()
    return found


def start(place):
    return rollouts.start(PRODUCT, place.settings, plan=PLAN, by="Ada", **place.how)


def tick(place):
    return rollouts.tick(PRODUCT, place.settings, **place.how)


@pytest.mark.parametrize("crash", ["spawn", "refresh", "followed"])
def test_a_start_cut_short_is_finished_by_the_next_look(place, monkeypatch, crash):
    crashed(place, monkeypatch, crash)
    with pytest.raises(CrashError):
        start(place)
    monkeypatch.undo_crash()
    assert place.phases() == ["requested", "starting"]
    assert tick(place).phase == "running"
    assert place.routes.placement.weight == 0.2
    assert place.deployer.done.count(f"spawn {NEW}") == 1


@pytest.mark.parametrize("crash", ["refresh", "followed", "roll_out", "stop", "aliases"])
def test_a_promotion_cut_short_is_finished_by_the_next_look(place, monkeypatch, crash):
    start(place)
    crashed(place, monkeypatch, crash)
    with pytest.raises(CrashError):
        rollouts.promote(PRODUCT, place.settings, "a person", "Ada", **place.how)
    monkeypatch.undo_crash()
    assert place.phases()[-1] == "promoted"
    assert tick(place).phase == "promoted"
    assert [e.kind for e in place.ledger.entries()].count("promotion") == 1
    assert place.ledger.current().version == NEW
    assert place.aliases == [NEW, OLD]
    assert place.deployer.running.version == NEW
    assert (place.routes.champion, place.routes.placement) == (NEW, None)
    assert tick(place) is None


@pytest.mark.parametrize("crash", ["append", "followed", "stop", "aliases"])
def test_an_abort_cut_short_is_finished_and_its_traffic_went_first(place, monkeypatch, crash):
    start(place)
    crashed(place, monkeypatch, crash)
    with pytest.raises(CrashError):
        rollouts.abort(PRODUCT, place.settings, "by hand", "Ada", **place.how)
    monkeypatch.undo_crash()
    assert place.routes.placement is None
    if crash == "append":  # nobody wrote it down: the rollout goes on until somebody does
        assert tick(place).phase == "running"
        rollouts.abort(PRODUCT, place.settings, "by hand", "Ada", **place.how)
    else:
        tick(place)
    step = place.ledger.rollout_step()
    assert (step.phase, step.reason, step.by) == ("aborted", "by hand", "Ada")
    assert place.deployer.slot("challenger").running is None
    assert tick(place) is None


class CrashError(Exception):
    """Planted."""


def crashed(place, monkeypatch, where):
    """The process ends before this effect; ``monkeypatch.undo_crash`` starts the next one."""
    target, name = {
        "spawn": (place.deployer.slot("challenger"), "spawn"),
        "stop": (place.deployer.slot("challenger"), "stop"),
        "refresh": (rollout_place.Place, "_refresh"),
        "followed": (rollout_place.Place, "_followed"),
        "roll_out": (rollout_place, "roll_out"),
        "aliases": (place, "point_aliases"),
        "append": (rollouts, "_enter"),
    }[where]
    before = getattr(target, name)

    def end(*_, **__):
        raise CrashError

    setattr(target, name, end)
    monkeypatch.undo_crash = lambda: setattr(target, name, before)
