"""The retrain rule: what asks for a new fit, and what is named as missing when nothing does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from models.contracts.monitoring import RetrainDecision, WindowVerdict
from models.contracts.product import Monitoring
from models.core.retraining import Seen, decide

NOW = datetime(2030, 5, 1, tzinfo=UTC)
POLICY = Monitoring(violations=(2, 5), min_new_rows=500, cooldown_hours=24)


def seen(letters: str) -> list[Seen]:
    """One window per letter: h hurts, d drifted, . calm, - not judged; capitals by outcomes."""
    return [
        Seen(
            NOW - timedelta(days=len(letters) - i),
            WindowVerdict(
                judged=letter != "-", drifted=letter in "dD", hurt=letter in "hH",
                basis="realised" if letter in "HDC" else "estimated", reason=f"window {i}",
            ),
        )
        for i, letter in enumerate(letters)
    ]  # fmt: skip


def asked(letters: str, new_rows: int = 500, ago: float | None = None) -> RetrainDecision:
    last = None if ago is None else NOW - timedelta(hours=ago)
    return decide(seen(letters), POLICY, new_rows=new_rows, last_retrain_at=last, now=NOW)


def test_two_violations_with_the_newest_hurting_retrain() -> None:
    decision = asked("..h.h")
    assert decision.retrain
    assert (decision.violations, decision.windows, decision.new_rows) == (2, 5, 500)
    assert decision.window == NOW - timedelta(days=1)
    assert "2 of the last 5 judged windows violate and the newest hurts (window 4)" in (
        decision.reason
    )
    assert asked("dh").retrain, "an earlier drift counts as a violation"


def test_nothing_judged_decides_nothing() -> None:
    for letters in ("", "---"):
        decision = asked(letters)
        assert not decision.retrain
        assert decision.window is None
        assert decision.reason == "no window of the champion was judged yet"


def test_one_bad_window_is_not_enough() -> None:
    assert asked(".h").reason == "1 of the last 2 judged windows violate, 2 must"
    assert not asked("hh....h").retrain, "what lies before the last five is forgotten"


def test_windows_with_few_rows_are_no_windows() -> None:
    decision = asked("h---h-")
    assert decision.retrain
    assert decision.windows == 2
    assert decision.window == NOW - timedelta(days=2)


def test_what_is_over_does_not_retrain() -> None:
    decision = asked("hhhh.")
    assert not decision.retrain
    assert "the newest judged window (2030-04-30 00:00) does not violate" in decision.reason


def test_drift_alone_never_retrains_and_says_so() -> None:
    for letters in ("ddddd", "hhhhd"):
        decision = asked(letters)
        assert not decision.retrain
        assert decision.violations == 5
        assert "drift that hurts nothing is shown, not acted on" in decision.reason


def test_outcomes_that_prove_harm_are_not_cleared_by_a_newer_estimate() -> None:
    decision = asked(".Hd")
    assert decision.retrain
    assert "and the newest with outcomes hurts (window 1)" in decision.reason
    for cleared in ("HCd", "HHD", "HH."):
        assert not asked(cleared).retrain, "newer outcomes are fine, or nothing moves any more"


def test_a_rule_that_could_never_act_is_refused() -> None:
    for never in ((3, 2), (0, 2)):
        with pytest.raises(ValueError, match="must have 1 <= k <= n"):
            Monitoring(violations=never)


def test_too_few_new_rows_wait() -> None:
    decision = asked("hh", new_rows=499)
    assert not decision.retrain
    assert decision.reason == (
        "499 labelled rows arrived since the champion's snapshot, 500 are needed"
    )


def test_the_cooldown_holds_also_when_the_clock_jumped_back() -> None:
    for ago in (23.9, -5):
        decision = asked("hh", ago=ago)
        assert not decision.retrain
        assert "again not before" in decision.reason
    assert asked("hh", ago=24).retrain
