"""Counting a rollout: pairs, blocks, outcomes, and that counting twice changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.contracts.rollout import RolloutPlan, Tally
from models.core.rollouts import fold as folding
from models.core.rollouts.fold import block_size, fold
from tests.unit.rollout_sample import (
    EMPTY,
    exposure,
    folded,
    found,
    line,
    lost,
    outcome,
    seen,
)

AB = RolloutPlan(kind="ab", warm_units=0)


def champion_only(number: int, champion: Any = None, **more: Any) -> Any:
    own = champion or seen(name=f"a{number}")
    return exposure(number, assigned="champion", served="champion", champion=own, challenger=None,
                    **more)  # fmt: skip


def challenger_only(number: int, challenger: Any = None, **more: Any) -> Any:
    own = challenger or seen(name=f"b{number}")
    return exposure(number, champion=None, challenger=own, **more)


def test_pairs_are_counted_and_shares_kept() -> None:
    tally = folded(
        exposure(1), exposure(2, challenger=seen(True)), exposure(3, challenger=lost(),
        served="champion"), champion_only(4), exposure(5, served=None, rollout_id="another"),
    )  # fmt: skip
    assert found(tally, "errors") == {0.0: 2, 1.0: 1}
    assert found(tally, "disagreement") == {0.0: 1, 1.0: 1}
    assert tally.answered == {"challenger": 2, "champion": 2}
    assert (tally.units, tally.stage.units, tally.stage.challenger) == (3, 4, 2)
    assert tally.cursor == {"w": 5}


def test_reading_twice_and_in_pieces_changes_nothing() -> None:
    records = [exposure(n, challenger=seen(n % 3 == 0, name=f"b{n}")) for n in range(1, 30)]
    records += [champion_only(n) for n in range(30, 300)]
    lines = [line(n, record) for n, record in enumerate(records, 1)]
    plan = RolloutPlan(warm_units=0)
    whole = fold(EMPTY, lines, plan, {})
    pieces = EMPTY
    for start in range(0, len(lines), 37):
        again = lines[max(0, start - 20) : start + 37]
        pieces = fold(Tally.model_validate_json(pieces.model_dump_json()), again, plan, {})
    assert pieces == whole


def test_cold_units_count_for_errors_only() -> None:
    plan = RolloutPlan(warm_units=2)
    tally = folded(*(exposure(n, challenger=seen(True)) for n in range(1, 5)), plan=plan)
    assert found(tally, "errors") == {0.0: 4}
    assert found(tally, "disagreement") == {1.0: 2}


def test_slow_is_frozen_by_the_champion_s_first_units() -> None:
    # ms 1 to 200: the 95th per cent is at place 190, value 191
    tally = folded(*(champion_only(n, seen(ms=float(n))) for n in range(1, 201)))
    assert tally.latency_limit_ms == 1.25 * 191 + 1
    assert tally.latency_sample == ()
    later = folded(exposure(201, challenger=seen(ms=239.9)),
                   exposure(202, challenger=seen(ms=239.7)), tally=tally, start=201)  # fmt: skip
    assert found(later, "latency") == {1.0: 1, 0.0: 1}
    assert later.latency_limit_ms == tally.latency_limit_ms


@pytest.mark.parametrize(
    ("weight", "size"), [(0.5, 1), (0.25, 3), (0.1, 9), (0.05, 16), (0.75, 3), (0.3, 2)]
)
def test_block_sizes(weight: float, size: int) -> None:
    assert block_size(weight) == size


def test_unpaired_units_meet_the_next_of_the_other_side() -> None:
    own = {"weight": 0.25, "plan": AB}
    plan = own.pop("plan")
    records = [
        champion_only(1, lost(), **own),  # nobody waits: not used
        challenger_only(2, lost(), **own),
        champion_only(3, lost(), **own), champion_only(4, **own), champion_only(5, **own),
        champion_only(6, lost(), **own),
    ]  # fmt: skip
    tally = folded(*records, plan=plan)
    # 1 - 1/3 = 2/3 lies between 10/16 and 11/16
    ((value, times),) = found(tally, "errors").items()
    assert (value, times) in {(10 / 16, 1), (11 / 16, 1)}
    assert tally.blocks["errors"].waiting == ()


def test_above_a_half_the_roles_change() -> None:
    own = {"weight": 0.75}
    tally = folded(
        champion_only(1, lost(), **own), challenger_only(2, **own), challenger_only(3, **own),
        challenger_only(4, **own), plan=AB,
    )  # fmt: skip
    assert found(tally, "errors") == {-1.0: 1}


def test_only_the_first_unit_of_a_key_counts_unpaired() -> None:
    own = {"weight": 0.5, "key": "0" * 16}
    records: list[Any] = [challenger_only(n, lost(), **own) for n in range(1, 9)]
    records += [champion_only(n, weight=0.5) for n in range(10, 20)]
    assert found(folded(*records, plan=AB), "errors") == {1.0: 1}


def test_who_was_not_drawn_counts_in_pairs_only() -> None:
    records = [challenger_only(1, lost(), weight=0.5, drawn=False), champion_only(2, weight=0.5)]
    tally = folded(*records, plan=AB)
    assert found(tally, "errors") == {}
    assert (tally.stage.units, tally.answered["challenger"]) == (1, 1)


def test_a_paired_outcome_by_either_name_once() -> None:
    wrong = exposure(1, challenger=seen(True, name="b1"))
    right = exposure(2, challenger=seen(True, name="b2"), events=("e2",))
    tally = folded(wrong, right, outcome(0, name="b1"), outcome(1, event="e2", tenant="t"),
                   outcome(0, name="b1"), outcome(0, event="e2"))  # fmt: skip
    assert found(tally, "realised") == {1.0: 1, -1.0: 1}
    assert (tally.open, tally.events, tally.outcome_unit) == ({}, {}, 2)


def test_another_tenant_s_outcome_is_nobody_s() -> None:
    tally = folded(exposure(1, events=("e1",)), outcome(1, event="e1", tenant="other"))
    assert found(tally, "realised") == {}
    assert set(tally.open) == {"b1"}


def test_an_outcome_may_come_before_its_exposure() -> None:
    tally = folded(outcome(0, name="b1"), exposure(1, challenger=seen(True, name="b1")))
    assert found(tally, "realised") == {1.0: 1}
    assert tally.early == {}
    later = folded(outcome(0, event="e1", tenant="other"), exposure(1, events=("e1",)))
    assert set(later.open) == {"b1"}


def test_rankings_are_judged_unpaired_by_what_was_taken() -> None:
    def ranked(number: int, make: Any, side: str) -> Any:
        return make(number, seen(("x",), name=f"{side}{number}"), weight=0.5)

    records = [ranked(1, challenger_only, "b"), ranked(2, champion_only, "a"),
               outcome(0, name="b1"), outcome(1, name="a2")]  # fmt: skip
    assert found(folded(*records, plan=AB), "realised") == {1.0: 1}


def test_the_ladder_s_answer_is_nobody_s_own() -> None:
    """The challenger failed and the champion stepped in: no draw of the champion's requests."""
    stepped = exposure(1, challenger=lost(), served="champion", weight=0.5)
    assert folded(stepped, plan=AB).open == {}
    assert set(folded(champion_only(1), plan=AB).open) == {"a1"}
    assert folded(champion_only(1)).open == {}, "with copies only pairs are judged"


def test_a_line_has_one_of_each_per_row() -> None:
    with pytest.raises(ValidationError, match="one per row"):
        exposure(1, events=(None, None))
    with pytest.raises(ValidationError, match="one per row"):
        exposure(1, tenants=("t", "t"), events=(None, None))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "MOST_OPEN", 2)
    monkeypatch.setattr(folding, "MOST_EARLY", 1)
    tally = folded(*(exposure(n, events=(f"e{n}",)) for n in range(1, 5)),
                   outcome(1, name="x"), outcome(1, name="y"))  # fmt: skip
    assert set(tally.open) == {"b3", "b4"}
    assert tally.events == {"e3": "b3", "e4": "b4"}
    assert set(tally.early) == {"y"}


def test_a_new_weight_begins_a_new_stage() -> None:
    tally = folded(exposure(1), exposure(2, weight=0.25), exposure(3), exposure(4, weight=0.25))
    assert (tally.stage.weight, tally.stage.units, tally.stage.seen) == (0.25, 2, 2)
    assert tally.units == 4
