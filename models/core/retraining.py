"""The retrain rule: when do judged windows ask for a new fit? Pure; the ledger and the run are not.

Drift alone never retrains: k of the last n judged windows must violate, the newest among them, and
the metric itself must have moved: in the newest window, or, while that one is only estimated, in
the newest whose outcomes are in. Then data and patience are asked for: enough new rows to learn
from, and the cooldown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from models.contracts.monitoring import RetrainDecision, WindowVerdict
from models.contracts.product import Monitoring


class Seen(NamedTuple):
    """The verdict on the champion in the window that starts at ``start``."""

    start: datetime
    verdict: WindowVerdict


def decide(
    seen: Sequence[Seen],
    policy: Monitoring,
    *,
    new_rows: int,
    last_retrain_at: datetime | None,
    now: datetime,
) -> RetrainDecision:
    """Whether to retrain; when not, the reason names everything that is missing.

    Args:
        seen: Windows of the current champion, newest last.
        policy: k of n, rows, cooldown.
        new_rows: Labelled rows that arrived since the champion's snapshot.
        last_retrain_at: When monitoring last asked for a retraining (ledger time).
        now: On the same clock.
    """
    k, n = policy.violations
    judged = [one for one in seen if one.verdict.judged][-n:]
    violations = sum(one.verdict.violated for one in judged)
    missing = _unproven(judged, violations, k)
    if not missing:  # only then do rows and patience matter to a person
        missing = _unready(policy, new_rows, last_retrain_at, now)
    return RetrainDecision(
        retrain=not missing,
        reason="; ".join(missing) if missing else _asked(judged, violations, new_rows),
        window=judged[-1].start if judged else None,
        violations=violations,
        windows=len(judged),
        new_rows=new_rows,
    )


def _unproven(judged: Sequence[Seen], violations: int, k: int) -> list[str]:
    """What the windows do not show."""
    if not judged:
        return ["no window of the champion was judged yet"]
    newest, missing = judged[-1], []
    if violations < k:
        missing.append(f"{violations} of the last {len(judged)} judged windows violate, {k} must")
    if not newest.verdict.violated:
        missing.append(f"the newest judged window ({newest.start:%Y-%m-%d %H:%M}) does not violate")
    elif _hurting(judged) is None:
        missing.append(
            "the newest judged window moved but its metric did not: drift that hurts nothing is "
            "shown, not acted on"
        )
    return missing


def _hurting(judged: Sequence[Seen]) -> Seen | None:
    """The window that shows the harm; None when there is none.

    An estimate cannot see the labels change (``label_free``), so it does not clear what the newest
    outcomes prove.
    """
    newest = judged[-1]
    if newest.verdict.hurt or newest.verdict.basis == "realised":
        return newest if newest.verdict.hurt else None
    measured = next((one for one in reversed(judged) if one.verdict.basis == "realised"), None)
    return measured if measured is not None and measured.verdict.hurt else None


def _unready(
    policy: Monitoring, new_rows: int, last_retrain_at: datetime | None, now: datetime
) -> list[str]:
    """What a retraining would lack."""
    missing = []
    if new_rows < policy.min_new_rows:
        missing.append(
            f"{new_rows:,} labelled rows arrived since the champion's snapshot, "
            f"{policy.min_new_rows:,} are needed"
        )
    if last_retrain_at is not None:
        again = last_retrain_at + timedelta(hours=policy.cooldown_hours)
        if now < again:
            missing.append(
                f"retraining was asked for at {last_retrain_at:%Y-%m-%d %H:%M}, again not before "
                f"{again:%Y-%m-%d %H:%M} UTC"
            )
    return missing


def _asked(judged: Sequence[Seen], violations: int, new_rows: int) -> str:
    shown, newest = _hurting(judged) or judged[-1], judged[-1]
    finding = "the newest hurts" if shown is newest else "the newest with outcomes hurts"
    return (
        f"{violations} of the last {len(judged)} judged windows violate and {finding} "
        f"({shown.verdict.reason}); {new_rows:,} new labelled rows to learn from"
    )
