"""What each answer of the gate does to the rest of the chain, and that it answers once."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.contracts.product import Gate, ModelProduct
from models.contracts.results import GateDecision
from models.contracts.rollout import RolloutPlan
from orchestration.compare import kept, refit
from orchestration.operations import approve, versions
from stores.ledger import LedgerError
from stores.tracking import Tracking
from tests.flow.chain import NAMED_ONLY, TREES, Place, Ran, with_trials


def _decision(place: Place) -> GateDecision:
    found = place.ledger.decision(place.evaluation().evaluation_id)
    assert found is not None
    return found


def _kinds(place: Place) -> list[str]:
    return [entry.kind for entry in place.ledger.entries()]


def assert_refused(place: Place, before: Place, ran: Ran) -> None:
    """The decision is on record; nothing else moved, and the planner does not ask again."""
    assert ran.success, ran.error
    assert set(ran.failed) - {"approval"} == {"gate"}
    assert not ran.materialized & set(place.stages("promotion"))
    assert _kinds(place) == [*_kinds(before), "decision"]
    assert place.ledger.current() == before.ledger.current()
    assert place.ledger.rolled_out() == before.ledger.rolled_out()
    assert place.aliases() == before.aliases()
    assert place.deployer.calls == []
    bentos = place.home.bentos / "bentos" / place.product.slug
    assert sorted(p.name for p in bentos.iterdir()) == sorted(
        p.name for p in (before.home.bentos / "bentos" / before.product.slug).iterdir()
    )
    assert place.plan() == {}


def test_a_worse_challenger_leaves_the_champion(base: Place, tmp_path: Path) -> None:
    place = base.copy(tmp_path / "home", with_trials(NAMED_ONLY))
    assert set(place.plan()) == set(place.stages("candidates"))
    ran = place.refresh()
    assert _decision(place).outcome == "keep"
    assert "The challenger is worse" in ran.failed["gate"]
    assert "look for what changed in its data or trial" in ran.failed["gate"]
    assert_refused(place, base, ran)
    page = unescape((place.evaluation_folder() / "report.html").read_text())
    assert ran.failed["gate"] in page
    assert place.plan() == {}, "the gate has spoken"
    gate = place.product.gate.model_copy(update={"alpha": 0.01})
    asked = place.copy(tmp_path / "asked", place.product.model_copy(update={"gate": gate}))
    assert set(asked.plan()) == set(place.stages("promotion")), "another policy, another question"


def test_a_better_challenger_is_promoted_packed_and_rolled_out(
    judged: Place, base: Place, tmp_path: Path
) -> None:
    place, old = judged.copy(tmp_path / "home"), base.ledger.current()
    assert old is not None
    assert set(place.plan()) == set(place.stages("promotion"))
    ran = place.refresh()
    assert ran.success, ran.error
    assert ran.failed == {}
    assert ran.materialized == set(place.stages("promotion"))
    new, decision = place.ledger.current(), _decision(place)
    assert new is not None
    assert new.trial == "trees"
    assert new.version > old.version
    assert place.ledger.previous() == old
    assert decision.effect is not None
    assert decision.effect.low > 0
    assert decision.tests[0].name == "delong"
    assert decision.tests[0].p_value < 0.04
    assert place.aliases() == {"champion": new.mlflow_version, "previous": old.mlflow_version}
    assert new.mlflow_version != old.mlflow_version
    assert _kinds(place) == [*_kinds(base), "decision", "release", "rollout"]
    assert place.deployer.calls == [f"{place.product.slug}:{new.version}"]
    assert (place.home.bentos / "bentos" / place.product.slug / new.version).is_dir()
    assert place.plan() == {}


def test_with_a_plan_for_its_rollout_a_better_challenger_is_staged(
    judged: Place, base: Place, tmp_path: Path
) -> None:
    serving = judged.product.serving.model_copy(update={"rollout": RolloutPlan()})
    planned = judged.product.model_copy(update={"serving": serving})
    place, old = judged.copy(tmp_path / "home", planned), base.ledger.current()
    assert old is not None
    ran = place.run(place.stages("promotion", "promotion"))
    assert ran.success, ran.error
    staged = place.ledger.staged()
    assert staged is not None
    assert (staged.trial, staged.semver, old.semver) == ("trees", "1.1.0", "1.0.0")
    assert place.ledger.current() == old, "what serves stays until the rollout's verdict"
    assert place.aliases() == base.aliases()
    newest, first = versions(place.product, place.settings)
    assert newest.aliases == ("staged",)
    assert "trial 'logistic_all' became 'trees'" in newest.semver_reason
    assert first.semver_reason == "the first release"
    tags = (
        place.settings.tracking()
        .client.get_model_version(place.product.slug, staged.mlflow_version)
        .tags
    )
    assert (tags["semver"], tags["semver_reason"]) == ("1.1.0", newest.semver_reason)


def test_a_better_challenger_that_fails_one_tenant_is_refused(
    judged: Place, base: Place, tmp_path: Path
) -> None:
    place = judged.copy(tmp_path / "home")
    _spoil(place, tenant="dahlia")
    ran = place.refresh()
    decision = _decision(place)
    assert decision.outcome == "keep"
    assert decision.effect is not None
    assert decision.effect.value > 0, "better over all, in spite of it"
    broken = [g for g in decision.guardrails if g.status == "violated"]
    assert [(g.metric, g.slice) for g in broken] == [("roc_auc", "tenant=dahlia")]
    assert broken[0].adjusted_p is not None
    assert broken[0].adjusted_p < place.product.gate.alpha
    assert "dahlia" in ran.failed["gate"]
    assert "mend this first" in ran.failed["gate"]
    assert_refused(place, base, ran)


def _spoil(place: Place, tenant: str) -> None:
    """One tenant's scores in disorder, everybody else's a little better, as a model may do."""
    path = place.evaluation_folder() / "scores.parquet"
    rows = pd.read_parquet(path)
    mine, name = (rows["tenant"] == tenant).to_numpy(), f"{place.evaluation().challenger}:score"
    scores = rows[name].to_numpy(float).copy()
    scores[mine] = np.random.default_rng(0).permutation(scores[mine])
    closer = np.where(rows["label"] == 1, 1.0, 0.0)
    scores[~mine] += 0.2 * (closer - scores)[~mine]
    rows.assign(**{name: scores}).to_parquet(path)


@pytest.fixture
def careful() -> ModelProduct:
    """Nothing is released without a person's word."""
    product = with_trials(TREES)
    gate = Gate.model_validate(product.gate.model_dump() | {"needs_approval": True})
    return product.model_copy(update={"gate": gate})


def test_a_release_that_needs_a_person_waits_for_one(
    judged: Place, base: Place, careful: ModelProduct, tmp_path: Path
) -> None:
    place = judged.copy(tmp_path / "home", careful)
    ran = place.refresh()
    assert _decision(place).outcome == "awaiting_approval"
    assert "a named person must approve it now" in ran.failed["gate"]
    assert_refused(place, base, ran)

    approve(place.product, place.settings, by="ada")
    assert set(place.plan()) == set(place.stages("promotion"))
    ran = place.run(place.stages("promotion", "promotion"))
    assert ran.success, ran.error
    assert ran.failed == {}
    release = place.ledger.current()
    assert release is not None
    assert release.trial == "trees"
    assert place.aliases()["champion"] == release.mlflow_version
    assert _kinds(place) == [*_kinds(base), "decision", "approval", "decision", "release"]
    assert place.ledger.approvals(release.candidate_id)[0].body["by"] == "ada"
    assert set(place.plan()) == set(place.stages("bento")), "the next run packs and serves it"
    with pytest.raises(LedgerError, match="nothing waits for approval"):
        approve(place.product, place.settings, by="ada")


def test_the_same_evaluation_is_decided_once_even_across_a_crash(
    judged: Place, base: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = judged.copy(tmp_path / "home")
    promotion = place.stages("promotion", "promotion")
    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "register", _killed)
        assert not place.run(promotion).success
    assert _kinds(place) == [*_kinds(base), "decision"]
    assert place.aliases() == base.aliases(), "decided, not yet released: the old one serves"
    assert set(place.plan()) == set(place.stages("promotion"))

    assert place.run(promotion).success
    assert _kinds(place) == [*_kinds(base), "decision", "release"]
    once, aliases = place.ledger.entries(), place.aliases()
    assert aliases != base.aliases()

    assert place.run(promotion).success
    assert place.ledger.entries() == once
    assert place.aliases() == aliases


def _killed(*_: object) -> None:
    raise KeyboardInterrupt("somebody pulled the plug")


def test_what_was_judged_is_compared_for_a_person_as_the_gate_compares_it(judged: Place) -> None:
    found = kept(judged.product, judged.settings, ("trees",))
    (pair,) = found.pairs
    card = judged.evaluation().scorecards[judged.evaluation().champion or ""]
    assert (pair.better, pair.other, found.ranks) == ("trees", card.trial, None)
    assert pair.effect.low > 0
    assert max(pair.p.values()) < judged.product.gate.alpha
    both, lines = with_trials(TREES, NAMED_ONLY), list[str]()
    again = refit(both, judged.settings, ("trees", "logistic_named"), lines.append)
    assert sum(line.startswith("fit ") for line in lines) == 20
    assert again.f.p_value < both.gate.alpha
    assert again.verdict.startswith("trees learns better than logistic_named")
