"""The whole way back with a real service and real HTTP: traffic, windows, one retraining, the gate.

Two homes that start from the same champion. In one, drift that hurts nothing and then drift that
does; in the other, a world in which nothing can be learned any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pandas as pd
import pytest

from models.contracts.monitoring import MonitoringResult, VersionWindow
from models.contracts.results import GateDecision
from orchestration.loop import Done
from orchestration.rehearsal import Chapter, Happened, was_dropped
from tests.flow.chain import ROWS, Place
from tests.flow.loop import LoopPlace

HARMLESS = Chapter(1, 1_100, "harmless", after=ROWS)
HARMFUL = Chapter(2, 2_200, "harmful", after=ROWS + 1_100)
NOISE = Chapter(1, 1_600, "noise", after=ROWS)


class Part(NamedTuple):
    """What one chapter led to."""

    happened: Happened
    windows: list[VersionWindow]
    result: MonitoringResult
    done: tuple[Done, ...]
    again: tuple[Done, ...]


class Story(NamedTuple):
    """Both chapters of one home, and one more look afterwards."""

    place: LoopPlace
    harmless: Part
    harmful: Part
    later: MonitoringResult
    done_later: tuple[Done, ...]


def play(place: LoopPlace, chapter: Chapter) -> Part:
    """It happens, monitoring looks, what is due is done, and asked for once more."""
    happened = place.live(chapter)
    return Part(happened, place.windows(), place.monitored(), place.act(), place.act())


@pytest.fixture(scope="module")
def story(base: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with LoopPlace.serving_copy(base, tmp_path_factory.mktemp("loop") / "home") as place:
        parts = play(place, HARMLESS), play(place, HARMFUL)
        yield Story(place, *parts, place.judge_again(), place.act())


@pytest.fixture(scope="module")
def noise(
    base: Place, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LoopPlace, Part]]:
    with LoopPlace.serving_copy(base, tmp_path_factory.mktemp("noise") / "home") as place:
        yield place, play(place, NOISE)


def test_every_answered_row_comes_back_with_its_outcome(story: Story) -> None:
    log = pd.read_parquet(story.place.home.traffic / "predictions.parquet")
    asked = [part.happened.replayed for part in (story.harmless, story.harmful)]
    assert len(log) == log["event_id"].nunique() == sum(one.rows for one in asked)
    known = log[log["outcome_state"] == "known"].set_index("event_id")
    assert len(known) > 0.99 * len(log), "a few corrections come after the 30 days"
    features = story.place.features().set_index("event_id")
    assert (known["label"] == features.loc[known.index, "label"]).all()
    assert (known["tenant"] == features.loc[known.index, "tenant"]).all()


def test_drift_that_hurts_nothing_is_shown_and_left_alone(story: Story) -> None:
    part = story.harmless
    assert len(part.windows) == 2
    for one in part.windows:
        assert sum(effect.drifted for effect in one.drift) >= 0.3 * len(one.drift)
        assert (one.verdict.drifted, one.verdict.hurt) == (True, False)
        assert one.verdict.basis == "realised"
    assert not part.result.retrain.retrain
    assert "drift that hurts nothing is shown, not acted on" in part.result.retrain.reason
    assert part.done == part.again == ()


def test_drift_that_hurts_leads_to_one_retraining(story: Story) -> None:
    part = story.harmful
    assert part.windows[-1].verdict.hurt
    assert part.result.retrain.retrain
    assert part.result.retrain.violations >= 2
    assert [(one.due.kind, one.success) for one in part.done] == [("retrain", True)]
    assert part.again == story.done_later == ()
    assert story.place.served() == [part.done[0].due.key]


def test_the_gate_lets_the_better_model_through_and_it_serves(story: Story) -> None:
    place = story.place
    before, now = place.ledger.releases()
    assert place.ledger.current() == now
    assert place.snapshot().snapshot_id == now.snapshot_id != before.snapshot_id
    running = place.deployer.current(place.product)
    assert running.version == now.version
    answer = httpx.get(f"{running.url}/health", timeout=30).json()
    assert answer["model_version"] == now.version
    assert place.aliases() == {
        "champion": now.mlflow_version, "previous": before.mlflow_version
    }  # fmt: skip


def test_the_ledger_tells_it_all(story: Story) -> None:
    place = story.place
    assert place.kinds() == [
        "decision", "release", "rollout", "rollout",  # the first champion; served anew in the copy
        "retrain", "regression", "decision", "release", "rollout",
    ]  # fmt: skip
    first, asked = place.ledger.releases()[0], place.ledger.newest("retrain")
    assert asked is not None
    assert asked.body["champion"] == first.version
    assert "judged windows violate and the newest hurts" in str(asked.body["reason"])
    fell = place.ledger.newest("regression")
    assert fell is not None
    assert str(fell.body["reason"]).startswith(f"{first.version} promised")
    decision = GateDecision.model_validate(place.ledger.newest("decision").body["decision"])
    assert decision.outcome == "promote"
    assert decision.champion == first.candidate_id
    assert decision.effect is not None
    assert decision.effect.low > place.product.gate.min_effect / 2


def test_the_new_champion_is_not_judged_by_the_windows_of_the_old_one(story: Story) -> None:
    assert story.later.champion == story.place.ledger.current().version
    assert not story.later.retrain.retrain
    assert story.later.retrain.reason == "no window of the champion was judged yet"
    assert story.later.regression is None


def test_a_candidate_that_is_no_better_changes_nothing(noise: tuple[LoopPlace, Part]) -> None:
    place, part = noise
    assert part.windows[-1].verdict.hurt
    assert [one.due.kind for one in part.done] == ["retrain"]
    decision = GateDecision.model_validate(place.ledger.newest("decision").body["decision"])
    assert decision.outcome in ("keep", "too_few_data")
    (champion,) = place.ledger.releases()
    assert decision.champion == champion.candidate_id
    assert place.deployer.current(place.product).version == champion.version


def test_a_refused_retraining_is_not_tried_again_in_the_cooldown(
    noise: tuple[LoopPlace, Part],
) -> None:
    place, part = noise
    assert part.again == ()
    before = place.kinds()
    result = place.judge_again()
    assert result.windows == part.result.windows
    assert not result.retrain.retrain
    assert "again not before" in result.retrain.reason
    assert place.act() == ()
    assert place.kinds() == before
    assert len(place.served()) == 1
    assert was_dropped(place.home, NOISE)
    assert not was_dropped(place.home, HARMFUL)
