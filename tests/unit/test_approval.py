"""A person's word: asked for, given in time or not, once, and on record."""

import dagster as dg
import pytest
from starlette.testclient import TestClient

from assets.stages.approval import approval, newest_approval
from assets.stages.common import stage_key
from assets.stages.promotion import Promotion, approval_check, standing_decision
from models.contracts.results import Evaluation
from orchestration import operations
from orchestration.admin import build_app
from orchestration.admin_access import token
from orchestration.settings import Settings
from stores.ledger import Ledger, LedgerError
from tests.unit.loop_home import PRODUCT, WAITING, ago, decide, write


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, mirror=None)


@pytest.fixture
def home(settings):
    return settings.home_paths()


@pytest.fixture
def ledger(home):
    return Ledger(home.ledger(PRODUCT))


def test_nothing_waits_unless_the_gate_asked(home, settings, ledger):
    decide(home, "keep")
    assert newest_approval(PRODUCT, ledger, "e-new") is None
    with pytest.raises(LedgerError, match="nothing waits for approval"):
        operations.approve(PRODUCT, settings, "Ada")


def test_pending_says_until_when_and_how(home, ledger):
    asked_at = decide(home, "awaiting_approval", hours=1).at
    asked = newest_approval(PRODUCT, ledger, "e-new")
    assert asked.pending
    assert (asked.until - asked_at).total_seconds() == 72 * 3600
    assert f"until {asked.until:%Y-%m-%d %H:%M} UTC" in asked.sentence(PRODUCT)
    assert "assay approve risk/sync_conflict --by NAME" in asked.sentence(PRODUCT)


def test_in_time_counts_even_when_the_gate_comes_later(home, settings, ledger):
    decide(home, "awaiting_approval", hours=100)
    write(home, "approval", {"candidate_id": "c-new", "by": "Ada"}, hours=30)
    asked = approval(PRODUCT, ledger, "e-new")
    assert asked.given.body["by"] == "Ada"
    assert not asked.expired
    assert standing_decision(WAITING, ledger, "e-new") is None, "the gate must speak again"
    with pytest.raises(LedgerError, match="approved by Ada at"):
        operations.approve(PRODUCT, settings, "Bob")


def test_too_late_is_refused_with_the_next_step(home, settings, ledger):
    decide(home, "awaiting_approval", hours=73)
    before = ledger.entries()
    with pytest.raises(LedgerError, match=r"expired at .* must be judged anew; `assay run"):
        operations.approve(PRODUCT, settings, "Ada")
    assert ledger.entries() == before
    standing = standing_decision(WAITING, ledger, "e-new")
    assert standing is not None, "an expired decision stands until there is new evidence"
    assert standing.outcome == "awaiting_approval"


def test_a_late_or_early_or_foreign_approval_does_not_count(home, ledger):
    write(home, "approval", {"candidate_id": "c-new", "by": "Early"}, hours=90)
    decide(home, "awaiting_approval", hours=80)
    write(home, "approval", {"candidate_id": "c-other", "by": "Foreign"}, hours=50)
    write(home, "approval", {"candidate_id": "c-new", "by": "Late"}, hours=1)
    asked = approval(PRODUCT, ledger, "e-new")
    assert asked.given is None
    assert asked.expired


def test_the_policy_it_was_asked_under_sets_the_time(home, ledger):
    short = WAITING.gate.model_copy(update={"approval_hours": 2.0})
    decide(home, "awaiting_approval", hours=3, policy=short)
    assert approval(PRODUCT, ledger, "e-new").expired
    assert standing_decision(WAITING, ledger, "e-new") is None, "another policy asks again"


def test_a_clock_that_jumped_back_does_not_revive(home):
    decide(home, "awaiting_approval", hours=100)
    write(home, "rollout", {"version": "v1"})
    behind = Ledger(home.ledger(PRODUCT), lambda: ago(99))
    assert approval(PRODUCT, behind, "e-new").expired


def test_who_and_when_stand_in_the_ledger(home, settings, ledger):
    decide(home, "awaiting_approval")
    with pytest.raises(LedgerError, match="name of a person"):
        operations.approve(PRODUCT, settings, "  ")
    entry = operations.approve(PRODUCT, settings, " Ada ")
    assert entry.body == {"candidate_id": "c-new", "evaluation_id": "e-new", "by": "Ada"}
    said = newest_approval(PRODUCT, ledger, "e-new").sentence(PRODUCT)
    assert said == f"approved by Ada at {entry.at:%Y-%m-%d %H:%M} UTC"


def test_the_admin_service_takes_a_name_and_says_when_it_is_too_late(home, settings, ledger):
    header = {"authorization": f"Bearer {token(home.root)}"}
    client = TestClient(build_app(settings), headers=header)  # not entered: nothing sweeps
    body = {"product": PRODUCT.key, "by": "Ada"}
    assert client.post("/models/approve", json={**body, "by": ""}).status_code == 400
    late = client.post("/models/approve", json=body)
    assert (late.status_code, "nothing waits" in late.json()["error"]) == (409, True)
    decide(home, "awaiting_approval")
    given = client.post("/models/approve", json=body)
    assert (given.status_code, given.json()["body"]["by"]) == (200, "Ada")
    assert client.post("/models/approve", json=body).status_code == 409
    assert ledger.newest("approval").body["by"] == "Ada"


def promotion(ledger):
    evaluation = Evaluation(product=PRODUCT.key, evaluation_id="e-new", snapshot_id="s",
                            challenger="c-new", champion=None, scorecards={})  # fmt: skip
    asked = approval(PRODUCT, ledger, "e-new")
    return Promotion(evaluation, ledger.decision("e-new"), None, asked)


@pytest.mark.parametrize(
    ("outcome", "hours", "approved", "passed", "said"),
    [
        ("promote", 0, False, True, "not needed"),
        ("awaiting_approval", 1, False, False, "waits for a named person until"),
        ("awaiting_approval", 80, False, False, "expired at"),
        ("awaiting_approval", 1, True, True, "approved by Ada at"),
    ],
)
def test_the_check_shows_what_is_pending(home, ledger, outcome, hours, approved, passed, said):
    decide(home, outcome, hours=hours)
    if approved:
        write(home, "approval", {"candidate_id": "c-new", "by": "Ada"})
    check = approval_check(PRODUCT, stage_key(PRODUCT, "promotion"), promotion(ledger))
    assert check.passed == passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.description.startswith(said)


def test_a_gate_that_wants_nobody_s_word_any_more_waits_for_none(home, ledger):
    decide(home, "awaiting_approval", hours=1)
    decide(home, "promote")
    check = approval_check(PRODUCT, stage_key(PRODUCT, "promotion"), promotion(ledger))
    assert (check.passed, check.description) == (True, "not needed")
