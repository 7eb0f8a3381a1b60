"""Exposures and outcomes as a gateway journals them, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from models.contracts.rollout import Exposure, RolloutPlan, RolloutStep, Seen, Tally
from models.core.journal import Line
from models.core.rollouts.fold import fold

AT = datetime(2030, 5, 1, tzinfo=UTC)
#: No cold units, so that every line counts.
CANARY = RolloutPlan(warm_units=0)
EMPTY = Tally(rollout_id="r1")


def seen(decision: Any = False, *, name: str = "p", ms: float = 10.0, score: float = 0.5) -> Seen:
    """One answered row; a tuple is a ranking."""
    return Seen(status=200, ms=ms, rows=((name, score, decision),))


def lost(status: int = 500) -> Seen:
    """No answer."""
    return Seen(status=status, ms=10.0)


def exposure(number: int, **changed: Any) -> Exposure:
    """A canary's request that both saw: own id, own key, answered alike by the challenger."""
    fields: dict[str, Any] = {
        "rollout_id": "r1", "at": AT, "request_id": f"q{number}", "key": f"{number:08x}00000000",
        "weight": 0.05, "assigned": "challenger", "served": "challenger", "tenants": ("t",),
        "events": (None,), "champion": seen(name=f"a{number}"),
        "challenger": seen(name=f"b{number}"),
    }  # fmt: skip
    return Exposure(**fields | changed)


def line(number: int, record: Exposure | dict[str, Any]) -> tuple[str, Line]:
    """As the journal gives it."""
    if isinstance(record, Exposure):
        return "w", Line(number, "exposure", record.model_dump(mode="json"))
    return "w", Line(number, "outcome", record)


def outcome(label: int, *, name: str | None = None, event: str | None = None,
            tenant: str | None = None) -> dict[str, Any]:  # fmt: skip
    """The fields of an outcome that a rollout reads."""
    return {"prediction_id": name, "event_id": event, "label": label, "tenant": tenant}


def folded(*records: Exposure | dict[str, Any], plan: RolloutPlan = CANARY,
           tally: Tally = EMPTY, start: int = 1) -> Tally:  # fmt: skip
    """These lines, counted."""
    lines = [line(number, record) for number, record in enumerate(records, start)]
    return fold(tally, lines, plan, {})


def found(tally: Tally, rule: Any) -> dict[float, int]:
    """Differences of a rule that were counted: value to times."""
    counts = tally.counts.get(rule, ())
    return {(place - 16) / 16: n for place, n in enumerate(counts) if n}


def step(**changed: Any) -> RolloutStep:
    """The first running step of a canary."""
    fields: dict[str, Any] = {
        "rollout_id": "r1", "number": 2, "phase": "running", "kind": "canary", "champion": "v1",
        "challenger": "v2", "stage": 0, "weight": 0.05, "share": None, "units": 0, "reason": "",
        "by": "Ada",
    }  # fmt: skip
    return RolloutStep(**fields | changed)
