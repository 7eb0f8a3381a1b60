"""A bad champion on real traffic: monitoring proves it, the rollback job undoes it, once.

The gate would not let such a model through, so its release is written by hand: the first model is
released again, over the better one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest

from assets.stages.service import roll_out
from models.contracts.monitoring import MonitoringResult
from models.contracts.results import Release
from orchestration.loop import Done
from orchestration.rehearsal import Chapter
from tests.flow.chain import ROWS, Place, deployer_of
from tests.flow.loop import LOOPED, LoopPlace

#: Some 800 rows prove a fifth more error, not a quarter: a policy that tolerates little.
STRICT = LOOPED.model_copy(
    update={"monitoring": LOOPED.monitoring.model_copy(update={"max_loss": 0.02})}
)


class Undone(NamedTuple):
    """A home in which the bad champion was found and acted on."""

    place: LoopPlace
    good: Release
    bad: Release
    url: str
    result: MonitoringResult
    done: tuple[Done, ...]
    again: tuple[Done, ...]
    later: tuple[Done, ...]


@pytest.fixture(scope="module")
def undone(judged: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undone]:
    root = tmp_path_factory.mktemp("rollback") / "home"
    better = judged.copy(root, judged.product)
    assert better.run(better.stages("promotion", "bento")).success
    place = LoopPlace(root, STRICT, deployer_of(root))
    first, good = place.ledger.releases()
    bad = first.model_copy(update={"version": place.ledger.new_version()})
    place.ledger.append("release", bad)
    try:
        url = roll_out(place.product, place.home, place.deployer, print).url
        place.live(Chapter(1, 1_100, "none", after=ROWS))
        result, done, again = place.monitored(), place.act(), place.act()
        place.judge_again()
        yield Undone(place, good, bad, url, result, done, again, place.act())
    finally:
        place.deployer.stop(place.product)


def test_outcomes_on_the_same_rows_prove_the_champion_worse(undone: Undone) -> None:
    found = undone.result.rollback
    assert found is not None
    assert found.roll_back, found.reason
    assert (found.champion, found.previous) == (undone.bad.version, undone.good.version)
    assert found.basis == "realised"
    assert found.champion_value is not None
    assert found.previous_value is not None
    assert found.champion_value.value < found.previous_value.value


def test_it_is_rolled_back_once_and_not_again(undone: Undone) -> None:
    assert [(one.due.kind, one.success) for one in undone.done] == [("rollback", True)]
    assert undone.again == undone.later == ()


def test_the_release_before_it_serves_on_the_same_address(undone: Undone) -> None:
    health = httpx.get(f"{undone.url}/health", timeout=30).json()
    assert health["model_version"] == undone.good.version
    assert undone.place.ledger.current() == undone.good
    assert undone.place.aliases()["champion"] == undone.good.mlflow_version


def test_the_ledger_says_that_it_was_automatic_and_why(undone: Undone) -> None:
    entry = next(e for e in undone.place.ledger.entries() if e.kind == "rollback")
    assert entry.body["automatic"] is True
    assert entry.body["from_version"] == undone.bad.version
    assert entry.body["to_version"] == undone.good.version
    assert undone.result.rollback is not None
    assert entry.body["reason"] == undone.result.rollback.reason
