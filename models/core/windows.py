"""The one judgement of a window of traffic: did it move, and does it hurt?

Belongs here: the bar a metric is held to, the verdict that report, check and sensor share, and
whether a release fell below its own promise. Does not belong here: how drift (``drift_effect``) or
a metric (``label_free``, ``realised``) is measured, nor what follows (``retraining``,
``rollback``). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from models.contracts.monitoring import Basis, DriftEffect, WindowVerdict
from models.contracts.product import Gate, Monitoring
from models.contracts.results import Estimate
from models.core import metrics
from models.core.slices import misses

#: Columns named in a reason, farthest first.
_NAMED = 3


class Evidence(NamedTuple):
    """What was measured of one release in one window.

    Attributes:
        rows: Predictions.
        drift: One effect per input; empty when the log holds no inputs.
        score_drift: Effect of the scores; None when the release has no profile.
        estimated: The gate metric without labels; None when it could not be estimated.
        realised: The gate metric on known outcomes; None while a class has too few rows.
        outcomes: Rows with a known outcome.
    """

    rows: int
    drift: Sequence[DriftEffect]
    score_drift: DriftEffect | None
    estimated: Estimate | None
    realised: Estimate | None
    outcomes: int


def bar(metric: str, promised: float, max_loss: float, floor: float | None = None) -> float:
    """The value the metric must not be provably worse than.

    Args:
        metric: A key of ``metrics.METRICS``.
        promised: Its value on the holdout.
        max_loss: Tolerated relative increase of its error.
        floor: The gate's floor (a ceiling when lower is better); the stricter of both counts.
    """
    error = metrics.error(metric, promised) * (1 + max_loss)
    if metrics.METRICS[metric].higher_is_better:
        return 1 - error if floor is None else max(1 - error, floor)
    return error if floor is None else min(error, floor)


def best_end(metric: str, found: Estimate) -> float:
    """The better end of an interval: below the bar even there means provably below."""
    return found.high if metrics.METRICS[metric].higher_is_better else found.low


def worst_end(metric: str, found: Estimate) -> float:
    """The worse end of an interval."""
    return found.low if metrics.METRICS[metric].higher_is_better else found.high


def interval(found: Estimate) -> str:
    """Value and interval in words of a reason."""
    return f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"


def judge(gate: Gate, policy: Monitoring, promised: float, seen: Evidence) -> WindowVerdict:
    """Judge one release in one window.

    It drifted when enough inputs moved or the scores did. It hurts when even the better end of the
    gate metric's interval is below the bar: of the outcomes once enough rows have theirs, before
    that of the label-free estimate.

    Args:
        gate: Its metric and floor.
        policy: Thresholds.
        promised: The gate metric on the release's holdout.
        seen: What was measured.
    """
    if seen.rows < policy.min_rows:
        few = f"{seen.rows:,} predictions, {policy.min_rows:,} are needed to judge a window"
        return WindowVerdict(judged=False, drifted=False, hurt=False, basis="none", reason=few)
    inputs_moved, moved = _moved(policy, seen)
    basis, shown = _shown(policy, seen)
    hurt, value = _held(gate, bar(gate.metric, promised, policy.max_loss, gate.floor), basis, shown)
    scores_moved = seen.score_drift is not None and seen.score_drift.drifted
    return WindowVerdict(
        judged=True,
        drifted=inputs_moved or scores_moved,
        hurt=hurt,
        basis=basis,
        reason=f"{seen.rows:,} predictions: {moved}; {value} (promised {promised:.4f})",
    )


def regression(
    gate: Gate, policy: Monitoring, version: str, promised: float, realised: Estimate
) -> str | None:
    """One sentence when the outcomes prove the release below its own promise, else None.

    Unlike ``judge`` it asks for outcomes and leaves the floor aside: the promise is the release's.
    """
    tolerated = bar(gate.metric, promised, policy.max_loss)
    best = best_end(gate.metric, realised)
    if not math.isfinite(best) or not misses(gate.metric, best, tolerated):
        return None
    return (
        f"{version} promised {_title(gate)} {promised:.4f} and shows {interval(realised)} in "
        f"traffic, worse than the tolerated {tolerated:.4f}: look at the window's page for what "
        "moved; go back to the previous release or retrain"
    )


def _moved(policy: Monitoring, seen: Evidence) -> tuple[bool, str]:
    """Whether the inputs drifted, and a clause on inputs and scores."""
    far = sorted((d for d in seen.drift if d.drifted), key=lambda d: -d.effect)
    clause = "inputs not logged"
    if seen.drift:
        named = ", ".join(f"{d.name} {d.effect:.2f}" for d in far[:_NAMED])
        clause = f"{len(far)} of {len(seen.drift)} inputs moved{f' ({named})' if named else ''}"
        clause += f", {policy.drift_share:.0%} count as drift"
    if seen.score_drift is not None:
        clause += f", scores moved by {seen.score_drift.effect:.2f} of {policy.drift_effect:.2f}"
    return bool(seen.drift) and len(far) >= policy.drift_share * len(seen.drift), clause


def _shown(policy: Monitoring, seen: Evidence) -> tuple[Basis, Estimate | None]:
    """The best evidence there is on the metric."""
    if seen.realised is not None and seen.outcomes >= policy.min_rows:
        return "realised", seen.realised
    return ("none", None) if seen.estimated is None else ("estimated", seen.estimated)


def _held(gate: Gate, limit: float, basis: Basis, shown: Estimate | None) -> tuple[bool, str]:
    """Whether the metric is provably below the bar, and a clause that says so."""
    if shown is None:
        return False, f"{_title(gate)} neither measured nor estimated"
    best = best_end(gate.metric, shown)
    hurt = math.isfinite(best) and misses(gate.metric, best, limit)
    finding = "is provably worse than" if hurt else "is not provably worse than"
    return hurt, f"{basis} {_title(gate)} {interval(shown)} {finding} the tolerated {limit:.4f}"


def _title(gate: Gate) -> str:
    return metrics.METRICS[gate.metric].title
