"""What is due, once: automatic rollback, retraining, an approved release; and doing it."""

import dagster as dg
import pytest

from assets.stages import bento
from orchestration import loop, operations
from orchestration.loop import SERVED, Site, act, due_release, due_retraining, due_rollback
from orchestration.settings import Settings
from stores.deployer import Rollout, RolloutError
from stores.ledger import Ledger, LedgerError
from stores.tracking import Tracking
from tests.unit.loop_home import (
    CHAIN,
    KEY,
    PRODUCT,
    chain,
    decide,
    judged,
    release,
    retrain,
    write,
)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, mirror=None, origin="generator")


@pytest.fixture
def home(settings):
    return settings.home_paths()


@pytest.fixture
def ledger(home):
    return Ledger(home.ledger(PRODUCT))


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def rolled(monkeypatch, ledger):
    """Roll-outs and aliases are written down; a version in ``broken`` does not start."""

    class Rolled(list):
        def __init__(self):
            super().__init__()
            self.aliases, self.broken = [], set()

    found = Rolled()

    def roll_out(product, home, deployer, say):
        version = bento.current_release(product, home).version
        if version in found.broken:
            raise RolloutError(f"{version} does not start")
        found.append(version)
        ledger.append("rollout", {"version": version})
        return Rollout(product=product.key, bento=f"b:{version}", version=version, url="http://x",
                       previous=None, golden_rows=1, max_difference=0.0)  # fmt: skip

    def point_aliases(_, product, current, previous):
        found.aliases.append((current.version, previous.version if previous else None))

    monkeypatch.setattr(operations, "roll_out", roll_out)
    monkeypatch.setattr(Tracking, "point_aliases", point_aliases)
    return found


def go_to(settings, version=None, **more):
    return operations.go_to(PRODUCT, settings, version, "a test", print, deployer="none", **more)


def kinds(ledger):
    return [entry.kind for entry in ledger.entries()]


def test_nothing_is_due_in_an_empty_home(home):
    assert due_rollback(PRODUCT, home) is None
    assert due_retraining(PRODUCT, home) is None
    assert due_release(PRODUCT, home) is None


def test_a_rollback_is_due_for_the_champion_that_was_judged(home):
    release(home, "v1")
    release(home, "v2")
    judged(home, "v2", "v1", roll_back=False)
    assert due_rollback(PRODUCT, home) is None
    judged(home, "v2", "v1")
    due = due_rollback(PRODUCT, home)
    assert (due.to_version, due.reason) == ("v1", "provably worse")
    assert due.key.startswith(f"rollback:{KEY}:v2:")
    release(home, "v3")
    assert due_rollback(PRODUCT, home) is None, "another champion by now"


def test_what_a_person_put_in_place_stays(home):
    for version in ("v1", "v2"):
        release(home, version)
    judged(home, "v2", "v1")
    write(home, "rollback", {"from_version": "v2", "to_version": "v1"})
    assert due_rollback(PRODUCT, home) is None
    write(home, "rollback", {"from_version": "v1", "to_version": "v2"})
    assert due_rollback(PRODUCT, home) is None, "forward again by a person: the old verdict is void"


def test_a_retraining_is_due_until_something_new_was_judged(home):
    release(home, "v1")
    decide(home, "keep", evaluation_id="e-old")
    assert due_retraining(PRODUCT, home) is None
    retrain(home, "v1", window="2026-01-05T00:00:00+00:00")
    due = due_retraining(PRODUCT, home)
    assert due.key == f"retrain:{KEY}:2026-01-05T00:00:00+00:00"
    assert due.tags == {SERVED: due.key}
    decide(home, "keep", evaluation_id="e-old")
    assert due_retraining(PRODUCT, home) == due, "the gate asked again about old evidence"
    decide(home, "keep", evaluation_id="e-new")
    assert due_retraining(PRODUCT, home) is None


def test_a_retraining_of_a_former_champion_is_pointless(home):
    release(home, "v1")
    retrain(home, "v1")
    release(home, "v2")
    assert due_retraining(PRODUCT, home) is None


def test_an_approved_challenger_is_due_until_the_gate_spoke(home):
    decide(home, "awaiting_approval")
    assert due_release(PRODUCT, home) is None
    write(home, "approval", {"candidate_id": "c-new", "by": "Ada"})
    assert "approved by Ada" in due_release(PRODUCT, home).reason
    decide(home, "promote")
    assert due_release(PRODUCT, home) is None


def test_act_retrains_once_with_the_plan_of_the_product(home, settings, instance):
    release(home, "v1")
    retrain(home, "v1")
    ran, said = [], []
    site = Site(chain(ran), instance, settings)
    (done,) = act(site, [PRODUCT], said.append)
    assert done.success
    assert [name.rpartition("/")[2] for name in ran[-len(CHAIN) :]] == list(CHAIN)
    assert f"{KEY}/monitoring" not in ran, "the way back is not the planner's"
    (run,) = instance.get_runs()
    assert run.tags[SERVED] == done.due.key
    assert act(site, [PRODUCT], said.append) == ()
    assert instance.get_runs_count() == 1


def test_act_waits_when_nothing_changed(home, settings, instance, monkeypatch):
    release(home, "v1")
    retrain(home, "v1")
    said = []
    monkeypatch.setattr(loop, "plan", lambda *_: {})
    assert act(Site(chain(), instance, settings), [PRODUCT], said.append) == ()
    assert "nothing changed since" in said[-1]
    assert instance.get_runs_count() == 0
    assert due_retraining(PRODUCT, home) is not None, "it stays asked for"


def test_act_rolls_back_once_and_says_it_was_nobody(home, settings, instance, ledger, rolled):
    for version in ("v1", "v2"):
        release(home, version)
    judged(home, "v2", "v1")
    site = Site(chain(), instance, settings, deployer="none")
    (done,) = act(site, [PRODUCT], print)
    assert done.success
    assert list(rolled) == ["v1"]
    entry = ledger.newest("rollback")
    assert entry.body == {
        "from_version": "v2", "to_version": "v1", "by": "monitoring", "reason": "provably worse",
        "automatic": True,
    }  # fmt: skip
    assert rolled.aliases == [("v1", None)]
    assert act(site, [PRODUCT], print) == ()
    assert kinds(ledger).count("rollback") == 1


def test_act_releases_what_was_approved(home, settings, instance):
    decide(home, "awaiting_approval")
    write(home, "approval", {"candidate_id": "c-new", "by": "Ada"})
    ran = []
    site = Site(chain(ran), instance, settings)
    assert act(site, [PRODUCT], print)[0].success
    assert ran == [f"{KEY}/{stage}" for stage in ("promotion", "bento", "service")]
    assert act(site, [PRODUCT], print) == ()


def test_back_and_forward_by_version(home, settings, ledger, rolled):
    for version in ("v1", "v2", "v3"):
        release(home, version)
    go_to(settings, by="Ada")
    assert ledger.newest("rollback").body["by"] == "Ada"
    go_to(settings, "v3")
    assert list(rolled) == ["v2", "v3"]
    assert rolled.aliases == [("v2", "v1"), ("v3", "v2")]
    with pytest.raises(LedgerError, match="v3 is what serves already"):
        go_to(settings, "v3")


@pytest.mark.parametrize("again", [None, "v2"])
def test_a_rollback_that_was_cut_off_is_finished_not_repeated(
    home, settings, ledger, rolled, again
):
    for version in ("v1", "v2", "v3"):
        release(home, version)
    rolled.broken.add("v2")
    with pytest.raises(RolloutError):
        go_to(settings)
    rolled.broken.clear()
    go_to(settings, again)
    assert list(rolled) == ["v2"]
    assert kinds(ledger).count("rollback") == 1
    assert rolled.aliases == [("v2", "v1")]


def test_a_new_release_that_never_started_is_left_by_one_step(home, settings, ledger, rolled):
    release(home, "v1")
    release(home, "v2", rolled_out=False)
    go_to(settings)
    assert ledger.current().version == "v1"
    assert list(rolled) == ["v1"]


def test_a_registry_that_is_down_does_not_keep_the_bad_release(
    home, settings, ledger, rolled, monkeypatch
):
    for version in ("v1", "v2"):
        release(home, version)
    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "point_aliases", _down)
        with pytest.raises(ConnectionError):
            go_to(settings)
    assert list(rolled) == ["v1"], "traffic goes first"
    with pytest.raises(LedgerError, match="serves already"):
        go_to(settings, "v1")
    assert rolled.aliases == [("v1", None)], "asked again, the aliases follow"


def _down(*_):
    raise ConnectionError("no registry")
