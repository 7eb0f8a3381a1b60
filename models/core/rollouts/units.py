"""What one request says of a challenger: answers read, differences between two releases.

Belongs here: from answer bytes to rows, from two releases' rows to differences in [-1, 1], larger
when the challenger is worse. Does not belong here: counting them (``fold``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from models.contracts.monitoring import Recalibration
from models.contracts.product import Contract
from models.contracts.rollout import Exposure, RuleName, Seen, Variant
from models.core.calibration import CLIP

#: A row as an exposure keeps it: prediction id, score, the decision or the list.
Row = tuple[str, float, bool | tuple[str, ...]]
_OK, _CLIENT, _SERVER = 200, 400, 500


class RowAnswer(NamedTuple):
    """One answered row, as far as two releases can be compared by it.

    Attributes:
        score: The watched probability.
        decision: Whether the first label is given; None of a ranking.
        items: The list, best first; None of the others.
        version: Release that answered.
    """

    prediction_id: str
    score: float
    decision: bool | None
    items: tuple[str, ...] | None
    version: str

    @property
    def row(self) -> Row:
        """As an exposure keeps it."""
        if self.items is not None:
            return self.prediction_id, self.score, self.items
        return self.prediction_id, self.score, bool(self.decision)


def read(contract: Contract, status: int, body: bytes) -> tuple[RowAnswer, ...]:
    """The rows of an answer of ``POST /predict``; none when it is not one that can be read."""
    if status != _OK:
        return ()
    try:
        return tuple(_row(contract, row) for row in json.loads(body)["predictions"])
    except (ValueError, KeyError, TypeError):
        return ()


def failed(seen: Seen) -> bool:
    """Whether the release, not the client, is to blame that there is no answer."""
    return seen.status == 0 or seen.status >= _SERVER or (seen.status == _OK and not seen.rows)


def answered(seen: Seen) -> bool:
    """Whether there is an answer with rows."""
    return seen.status == _OK and bool(seen.rows)


def differences(
    exposure: Exposure,
    slow_ms: float | None,
    recalibrations: Mapping[Variant, Recalibration],
    *,
    warm: bool,
) -> dict[RuleName, float]:
    """What a request that both releases saw says by each rule; rules it says nothing on are absent.

    Args:
        exposure: With both sides.
        slow_ms: From here on an answer is slow; None while that is not known.
        recalibrations: How far each release's probabilities can be believed; absent: as they are.
        warm: False for the challenger's first units: its caches are empty, only errors count.
    """
    champion, challenger = exposure.champion, exposure.challenger
    if champion is None or challenger is None:
        raise ValueError(f"{exposure.request_id}: only one release saw it; use single()")
    found: dict[RuleName, float] = {
        "errors": float(_lost(challenger, champion)) - float(_lost(champion, challenger))
    }
    if not (warm and answered(champion) and answered(challenger)):
        return found
    if slow_ms is not None:
        found["latency"] = float(challenger.ms > slow_ms) - float(champion.ms > slow_ms)
    pairs = list(zip(champion.rows, challenger.rows, strict=False))
    found["disagreement"] = _mean([_disagree(a, b) for a, b in pairs])
    gains = [_gain(a, b, recalibrations) for a, b in pairs]
    if known := [gain for gain in gains if gain is not None]:
        found["estimated"] = _mean(known)
    return found


def single(seen: Seen, slow_ms: float | None, *, warm: bool) -> dict[RuleName, float]:
    """What a request that one release saw says of it, 1 for bad; nothing of a client's mistake."""
    if failed(seen):
        return {"errors": 1.0}
    if not answered(seen):
        return {}
    found: dict[RuleName, float] = {"errors": 0.0}
    if warm and slow_ms is not None:
        found["latency"] = float(seen.ms > slow_ms)
    return found


def wrong(decision: bool, label: int) -> float:
    """Realised error of a decision."""
    return float(decision != bool(label))


def _row(contract: Contract, row: Mapping[str, Any]) -> RowAnswer:
    name, version, score = row["prediction_id"], row["model_version"], float(row["probability"])
    if not 0 <= score <= 1:
        raise ValueError(f"probability {score} of {name}")
    if contract == "ranked_items":
        items = tuple(str(item["item"]) for item in row["items"])
        return RowAnswer(str(name), score, None, items, str(version))
    # of every other contract: high is at or above the decision threshold of the first label
    return RowAnswer(str(name), score, row["risk_level"] == "high", None, str(version))


def _lost(mine: Seen, other: Seen) -> bool:
    """An answer is lost when this release failed, or refused what the other one answers."""
    refused = _CLIENT <= mine.status < _SERVER and answered(other)
    return failed(mine) or refused


def _disagree(champion: Row, challenger: Row) -> float:
    mine, theirs = challenger[2], champion[2]
    if isinstance(mine, bool) or isinstance(theirs, bool):
        return float(mine != theirs)
    longest = max(len(mine), len(theirs))
    return 1 - len(set(mine) & set(theirs)) / longest if longest else 0.0


def _gain(
    champion: Row, challenger: Row, recalibrations: Mapping[Variant, Recalibration]
) -> float | None:
    """Expected errors of the challenger less the champion's, by what both together believe."""
    if not isinstance(champion[2], bool) or not isinstance(challenger[2], bool):
        return None
    if champion[2] == challenger[2]:
        return 0.0
    believed = (
        _believed(champion[1], recalibrations.get("champion"))
        + _believed(challenger[1], recalibrations.get("challenger"))
    ) / 2
    return (float(champion[2]) - float(challenger[2])) * (2 * believed - 1)


def _believed(score: float, recalibration: Recalibration | None) -> float:
    if recalibration is None:
        return score
    clipped = min(max(score, CLIP), 1 - CLIP)
    odds = recalibration.intercept + recalibration.slope * math.log(clipped / (1 - clipped))
    return 1 / (1 + math.exp(-min(max(odds, -50.0), 50.0)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
