"""What one request says: answers of every contract read, differences by every rule."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.contracts.monitoring import Recalibration
from models.core.rollouts.units import differences, read, single
from tests.unit.rollout_sample import exposure, lost, seen

ROW = {"prediction_id": "p1", "probability": 0.7, "risk_level": "high", "model_version": "v2"}


def body(row: Any) -> bytes:
    return json.dumps({"predictions": [row]}).encode()


def test_rows_of_every_contract() -> None:
    (row,) = read("row_scores", 200, body(ROW))
    assert row == ("p1", 0.7, True, None, "v2")
    assert row.row == ("p1", 0.7, True)
    (text,) = read("text_labels", 200, body(ROW | {"risk_level": "medium", "flagged": ["hate"]}))
    assert text.row == ("p1", 0.7, False)
    items = [{"item": "x", "score": 2.0}, {"item": "y", "score": 1.0}]
    (ranking,) = read("ranked_items", 200, body(ROW | {"items": items}))
    assert ranking.row == ("p1", 0.7, ("x", "y"))


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (503, body(ROW)),
        (200, b"oops"),
        (200, b"[]"),
        (200, b'{"predictions": 3}'),
        (200, body({**ROW, "probability": 1.5})),
        (200, body({k: v for k, v in ROW.items() if k != "risk_level"})),
    ],
)
def test_what_cannot_be_read_has_no_rows(status: int, answer: bytes) -> None:
    assert read("row_scores", status, answer) == ()


def diff(champion: Any, challenger: Any, slow: float | None = 20.0, **more: Any) -> dict[str, Any]:
    rows = max(len(champion.rows), len(challenger.rows), 1)
    both = exposure(1, champion=champion, challenger=challenger, tenants=("t",) * rows,
                    events=(None,) * rows)  # fmt: skip
    return {**differences(both, slow, more.pop("recalibrations", {}), **{"warm": True} | more)}


def test_equal_answers_differ_by_nothing() -> None:
    assert diff(seen(), seen()) == {
        "errors": 0, "latency": 0, "disagreement": 0, "estimated": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("champion", "challenger", "errors"),
    [
        (seen(), lost(500), 1), (seen(), lost(0), 1), (lost(503), seen(), -1),
        (lost(500), lost(0), 0), (seen(), lost(422), 1), (lost(422), lost(422), 0),
        (lost(400), lost(500), 1), (seen(), lost(200), 1),
    ],
)  # fmt: skip
def test_errors(champion: Any, challenger: Any, errors: float) -> None:
    assert diff(champion, challenger) == {"errors": errors}


def test_latency_needs_a_limit_and_a_warm_challenger() -> None:
    assert diff(seen(), seen(ms=21))["latency"] == 1
    assert diff(seen(ms=21), seen(ms=20))["latency"] == -1
    assert "latency" not in diff(seen(), seen(ms=21), slow=None)
    assert diff(seen(), seen(ms=21), warm=False) == {"errors": 0}


def test_the_estimate_weighs_a_flip_by_what_both_believe() -> None:
    # both say 0.7 and 0.9 on average 0.8: giving up a positive costs 0.8 - 0.2
    dropped = diff(seen(True, score=0.7), seen(False, score=0.9))
    assert dropped["estimated"] == pytest.approx(0.6)
    assert dropped["disagreement"] == 1
    raised = diff(seen(False, score=0.7), seen(True, score=0.9))
    assert raised["estimated"] == pytest.approx(-0.6)
    # halved log-odds of 0.9 are 1/(1 + 9^-0.5) = 0.75, of 0.5 still 0.5
    flat = Recalibration(intercept=0.0, slope=0.5, covariance=((0, 0), (0, 0)))
    told = diff(seen(True, score=0.5), seen(False, score=0.9), recalibrations={"challenger": flat})
    assert told["estimated"] == pytest.approx(2 * (0.5 + 0.75) / 2 - 1)


def test_lists_disagree_by_what_they_do_not_share() -> None:
    lists = diff(seen(("x", "y", "z", "w")), seen(("y", "x", "q", "r")))
    assert lists["disagreement"] == 0.5
    assert "estimated" not in lists
    assert diff(seen(()), seen(()))["disagreement"] == 0


def test_of_many_rows_the_mean() -> None:
    many = {"status": 200, "ms": 1.0}
    rows = tuple((f"p{i}", 0.5, True) for i in range(4))
    flipped = (*rows[:3], ("p3", 0.5, False))
    both = seen().model_copy(update=many | {"rows": rows})
    assert diff(both, both.model_copy(update={"rows": flipped}))["disagreement"] == 0.25


def test_alone_a_client_s_mistake_says_nothing() -> None:
    assert single(lost(400), 20, warm=True) == {}
    assert single(lost(0), 20, warm=True) == {"errors": 1}
    assert single(seen(ms=30), 20, warm=True) == {"errors": 0, "latency": 1}
    assert single(seen(ms=30), 20, warm=False) == {"errors": 0}
    with pytest.raises(ValueError, match="only one release"):
        differences(exposure(1, champion=None), 20, {}, warm=True)
