"""The rollback rule: must a fresh champion go back to the release before it? Pure.

Belongs here: who may be rolled back at all, and the comparison of champion and previous release on
the same rows of traffic. Does not belong here: scoring those rows (the monitoring stage), doing it
(``orchestration.operations``).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import NamedTuple

from models.contracts.monitoring import RollbackDecision
from models.contracts.product import Gate, Guardrail, Monitoring
from models.contracts.results import Estimate
from models.core import evaluation, guardrails, metrics, windows
from models.core import slices as slicing

#: Who is named in the ledger for a rollback that nobody asked for.
AUTOMATIC = "monitoring"
_REPLICATES = 1000


class Standing(NamedTuple):
    """What the ledger says of champion and previous release.

    Attributes:
        champion: Version that serves.
        previous: The version a rollback would go to; None when there is none.
        released_at: When the champion was released; None when a rollback brought it.
        last_rollback_at: When monitoring last rolled back; None when it never did.
        now: On the ledger's clock.
    """

    champion: str
    previous: str | None
    released_at: datetime | None
    last_rollback_at: datetime | None
    now: datetime


class SameRows(NamedTuple):
    """The champion's traffic, scored by both models.

    Attributes:
        rows: How many rows both scored.
        known: Those with a known outcome (``challenger`` is the champion in question,
            ``champion`` the release before it).
        estimated: Label-free estimates of the gate metric of champion and previous release, on
            all rows; None when one of them has none.
    """

    rows: int
    known: slicing.Scores
    estimated: tuple[Estimate, Estimate] | None


def barred(standing: Standing, policy: Monitoring) -> str | None:
    """Why no rollback can be considered, or None: asked before anything is loaded or scored."""
    if standing.previous is None:
        return "there is no release before the champion"
    if standing.released_at is None:
        return "the champion came by a rollback: monitoring does not roll back twice in a row"
    fresh_until = standing.released_at + timedelta(hours=policy.fresh_hours)
    if standing.now >= fresh_until:
        return (
            f"the champion is no longer fresh (released {standing.released_at:%Y-%m-%d %H:%M}, "
            f"fresh for {policy.fresh_hours:g} h): decay is answered by retraining"
        )
    if standing.last_rollback_at is not None:
        again = standing.last_rollback_at + timedelta(hours=policy.cooldown_hours)
        if standing.now < again:
            return f"monitoring rolled back already, again not before {again:%Y-%m-%d %H:%M} UTC"
    return None


def kept(standing: Standing, reason: str) -> RollbackDecision:
    """The decision to leave the champion, without a comparison."""
    return RollbackDecision(
        roll_back=False,
        reason=reason,
        champion=standing.champion,
        previous=standing.previous,
        basis="none",
    )


def decide(
    standing: Standing, gate: Gate, policy: Monitoring, same: SameRows, *, seed: int = 0
) -> RollbackDecision:
    """Compare champion and previous release on the same rows.

    With enough outcomes: roll back when the champion's error is provably (paired, at the gate's
    alpha) more than ``max_loss`` above that of its predecessor. Before that: when even the better
    end of its label-free estimate is below what ``max_loss`` leaves of its predecessor's worse end.

    Args:
        standing: From the ledger.
        gate: Its metric and alpha.
        policy: Tolerance, fewest rows, freshness, cooldown.
        same: Both models on the champion's traffic.
        seed: Of the resamples.
    """
    if reason := barred(standing, policy):
        return kept(standing, reason)
    if same.rows < policy.min_rows:
        few = f"{same.rows:,} rows of the champion's traffic, {policy.min_rows:,} are needed"
        return kept(standing, few)
    labels = same.known.labels
    if len(labels) >= policy.min_rows and slicing.enough_rows(labels):
        return _by_outcomes(standing, gate, policy, same.known, seed)
    if same.estimated is None:
        return kept(standing, "too few outcomes yet, and no label-free estimate of both models")
    return _by_estimates(standing, gate, policy, same)


def _by_outcomes(
    standing: Standing, gate: Gate, policy: Monitoring, rows: slicing.Scores, seed: int
) -> RollbackDecision:
    """The gate's own guardrail test, with the champion in the challenger's place."""
    drawn = slicing.replicate([gate.metric], rows, slicing.OVERALL, _REPLICATES, seed)
    tolerance = Guardrail(metric=gate.metric, max_loss=policy.max_loss)
    harm = guardrails.harm(tolerance, slicing.OVERALL, rows, drawn)
    compared = evaluation.compare(gate.metric, rows, drawn, alpha=gate.alpha)
    p_value = 1.0 if harm.p_value is None else harm.p_value
    worse = p_value < gate.alpha
    finding = "is provably" if worse else "is not provably"
    reason = (
        f"on {len(rows.labels):,} rows with outcomes {_pair(gate, standing)} "
        f"{harm.challenger:.4f} against {harm.champion:.4f}: its error {finding} more than "
        f"{policy.max_loss:.0%} above (p = {p_value:.2g} at level {gate.alpha:g})"
    )
    return RollbackDecision(
        roll_back=worse,
        reason=reason,
        champion=standing.champion,
        previous=standing.previous,
        basis="realised",
        champion_value=compared.challenger,
        previous_value=compared.champion,
    )


def _by_estimates(
    standing: Standing, gate: Gate, policy: Monitoring, same: SameRows
) -> RollbackDecision:
    assert same.estimated is not None  # noqa: S101 - the caller asked
    mine, theirs = same.estimated
    best, worst = windows.best_end(gate.metric, mine), windows.worst_end(gate.metric, theirs)
    tolerated = windows.bar(gate.metric, worst, policy.max_loss)
    comparable = math.isfinite(best) and math.isfinite(tolerated)
    worse = comparable and slicing.misses(gate.metric, best, tolerated)
    finding = "is provably worse than" if worse else "is not provably worse than"
    reason = (
        f"too few outcomes yet; on {same.rows:,} rows {_pair(gate, standing)} is estimated at "
        f"{windows.interval(mine)} against {windows.interval(theirs)}: {finding} "
        f"{tolerated:.4f}, which tolerates {policy.max_loss:.0%} more error"
    )
    return RollbackDecision(
        roll_back=worse,
        reason=reason,
        champion=standing.champion,
        previous=standing.previous,
        basis="estimated",
        champion_value=mine,
        previous_value=theirs,
    )


def _pair(gate: Gate, standing: Standing) -> str:
    title = metrics.METRICS[gate.metric].title
    return f"{title} of {standing.champion} (before it {standing.previous})"
