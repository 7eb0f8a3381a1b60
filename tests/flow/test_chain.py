"""The whole chain in an empty home: what a clean run makes, a killed one, and that it serves."""

from __future__ import annotations

import httpx

from models.core.artifact import verify
from orchestration.refresh import upstream
from stores.bento_store import ARTIFACT
from stores.files import sha256
from tests.flow.chain import Place
from tests.flow.conftest import Clean, Revived


def test_a_clean_run_makes_every_asset_and_every_check_passes(clean: Clean) -> None:
    graph = clean.place.definitions.resolve_asset_graph()
    every = upstream(graph, [clean.place.product], "service")
    assert clean.ran.success, clean.ran.error
    assert clean.ran.failed == {}
    assert clean.ran.materialized == {key.to_user_string() for key in every}
    assert set(clean.ran.checks) == {key.name for key in graph.get_check_keys_for_assets(every)}


def test_the_first_champion_is_released_and_rolled_out(base: Place) -> None:
    decision, release, rollout = base.ledger.entries()
    assert [entry.kind for entry in base.ledger.entries()] == ["decision", "release", "rollout"]
    evaluation, current = base.evaluation(), base.ledger.current()
    assert current is not None
    assert decision.body["decision"]["outcome"] == "promote"
    assert current.candidate_id == evaluation.challenger
    assert current.trial == "logistic_all", "the better one by cross-validation"
    assert current.snapshot_id == base.snapshot().snapshot_id
    assert rollout.body["version"] == release.body["version"] == base.ledger.rolled_out()
    assert base.deployer.calls == [f"{base.product.slug}:{current.version}"]
    assert base.aliases() == {"champion": current.mlflow_version}


def test_every_digest_of_the_record_is_that_of_the_file(base: Place) -> None:
    snapshot, current = base.snapshot(), base.ledger.current()
    assert current is not None
    folder = base.home.dataset(base.product, snapshot.snapshot_id)
    assert snapshot.files == {name: sha256(folder / name) for name in snapshot.files}
    assert set(snapshot.files) == {"train.parquet", "gap.parquet", "holdout.parquet"}
    assert snapshot.rows == snapshot.train_rows + snapshot.gap_rows + snapshot.holdout_rows
    public_key = base.home.keys / "signing.pub.pem"
    for candidate in base.candidates().candidates:
        folder = base.home.candidate(base.product, candidate)
        assert verify(folder, public_key).candidate_id == candidate
    packed = base.home.bentos / "models" / base.product.slug / current.version
    assert verify(packed / ARTIFACT, public_key).candidate_id == current.candidate_id


def test_the_evaluation_s_pages_are_there_and_the_report_says_the_decision(base: Place) -> None:
    folder = base.evaluation_folder()
    golden = base.golden()
    assert len(golden.rows) == 32
    assert len(set(golden.expected)) > 20, "answers of a model, not a constant"
    decision = base.ledger.decision(base.evaluation().evaluation_id)
    assert decision is not None
    assert decision.reason.split(",")[0] in (folder / "report.html").read_text()


def test_the_same_seeds_in_another_home_give_the_same_ids(base: Place, revived: Revived) -> None:
    other = revived.place
    assert other.snapshot() == base.snapshot()
    assert other.candidates().candidates == base.candidates().candidates
    assert other.evaluation().evaluation_id == base.evaluation().evaluation_id
    mine, theirs = (p.evaluation().scorecards for p in (base, other))
    assert {c: card.metrics for c, card in mine.items()} == {
        c: card.metrics for c, card in theirs.items()
    }


def test_the_chain_ends_in_a_service_that_answers_as_offline(revived: Revived) -> None:
    place, url = revived.place, revived.service.url
    release = place.ledger.current()
    assert release is not None
    assert (place.evaluation_folder() / "evidently.html").stat().st_size > 1_000_000
    golden = place.golden()
    answer = httpx.post(f"{url}/predict", json={"rows": golden.rows[:5]}, timeout=30)
    assert answer.status_code == 200
    found = answer.json()["predictions"]
    assert [round(one["probability"], 9) for one in found] == [
        round(value, 9) for value in golden.expected[:5]
    ]
    assert {one["model_version"] for one in found} == {release.version}
    assert revived.finished.checks["golden"].passed
    assert "32 golden requests answered as offline" in (
        revived.finished.checks["golden"].description or ""
    )


def test_a_killed_run_is_finished_by_the_next(base: Place, revived: Revived) -> None:
    place, killed = revived.place, revived.killed
    assert not killed.success
    assert f"{place.product.key}/dataset" in killed.materialized
    assert not killed.materialized & set(place.stages("candidates"))
    assert set(revived.left) == set(place.stages("candidates")), "what was done is not done again"
    assert revived.finished.success, revived.finished.error
    assert place.candidates().candidates == base.candidates().candidates
    sealed = [p.name for p in place.home.candidate(place.product, "-").parent.iterdir()]
    expected = [*base.candidates().candidates, f"set-{base.candidates().set_id}.json"]
    assert sorted(sealed) == sorted(expected), "nothing half is left"
    assert revived.fitted == ["logistic_all"], "the trial that was sealed is not fitted again"
    kinds = [entry.kind for entry in place.ledger.entries()]
    assert kinds == ["decision", "release", "rollout"]
    assert place.plan() == {}
