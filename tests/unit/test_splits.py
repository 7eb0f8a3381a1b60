"""Division by time: hand-made rows, random rows, the mirror; folds and their balance."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contracts.product import Folds, TimeSplit
from models.core.splits import fold_balance, folds, split
from tests.unit.sample_frames import mirror

START = pd.Timestamp("2026-01-01")


def frame(hours, delays):
    event = START + pd.to_timedelta(hours, unit="h")
    return pd.DataFrame({"event_time": event, "known_time": event + pd.to_timedelta(delays, "h")})


def test_rows_go_where_time_says():
    parts = split(
        frame([0, 10, 20, 30, 40, 50, 60, 70, 80, 90], [1, 200, 5, 1, 30, 26, 1, 1, 0, 500]),
        TimeSplit(holdout=0.3, gap_hours=2),
    )
    assert parts.split_at == START + pd.Timedelta(hours=70)
    assert parts.holdout.tolist() == [7, 8, 9]
    # known by hour 68: row 1 (known at 210), row 4 (70) and row 5 (76) came too late
    assert parts.train.tolist() == [0, 2, 3, 6]
    assert parts.gap.tolist() == [1, 4, 5]


def test_an_outcome_exactly_at_the_limit_may_teach():
    parts = split(frame([0, 4, 10, 20], [8, 4.001, 0, 0]), TimeSplit(holdout=0.5, gap_hours=2))
    assert parts.train.tolist() == [0]
    assert parts.gap.tolist() == [1]


def test_rows_of_one_time_never_straddle():
    parts = split(frame([0, 1, 5, 5, 5, 9], [0] * 6), TimeSplit(holdout=0.34, gap_hours=0))
    assert parts.holdout.tolist() == [2, 3, 4, 5]
    assert parts.train.tolist() == [0, 1]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 100)), min_size=4, max_size=80),
    holdout=st.floats(0.1, 0.6),
    gap=st.floats(0, 50),
    seed=st.integers(0, 99),
)
def test_division_holds_for_any_rows_in_any_order(rows, holdout, gap, seed):
    hours, delays = np.array(rows, float).T
    order = np.random.default_rng(seed).permutation(len(rows))
    table = frame(hours[order], delays[order])
    try:
        parts = split(table, TimeSplit(holdout=holdout, gap_hours=gap))
    except ValueError as error:
        assert "known" in str(error) or "too few" in str(error)  # noqa: PT017  both are allowed
        return
    event, known = table["event_time"], table["known_time"]
    everything = np.concatenate([parts.train, parts.gap, parts.holdout])
    assert sorted(everything.tolist()) == list(range(len(rows)))
    assert len(parts.holdout) >= round(len(rows) * holdout)
    assert (event.iloc[parts.holdout] >= parts.split_at).all()
    assert (event.iloc[parts.train] < parts.split_at).all()
    assert (known.iloc[parts.train] <= parts.split_at - pd.Timedelta(hours=gap)).all()
    for part in parts[:3]:
        assert event.iloc[part].is_monotonic_increasing


def test_what_cannot_be_divided_is_said():
    with pytest.raises(ValueError, match="2 rows are too few"):
        split(frame([0, 1], [0, 0]), TimeSplit(holdout=0.1))
    with pytest.raises(ValueError, match="4 rows are in the gap; make gap_hours"):
        split(frame([0, 1, 2, 3, 4], [9] * 5), TimeSplit(holdout=0.2))
    with pytest.raises(ValueError, match="known_time"):
        split(frame([0, 1], [0, 0]).drop(columns="known_time"), TimeSplit())


@pytest.mark.mirror
def test_holdout_of_the_mirror_is_the_mirrors_own_test_split():
    table = mirror()
    parts = split(table, TimeSplit())
    assert parts.split_at == pd.Timestamp(1650536864, unit="s")
    assert set(parts.holdout) == set(np.flatnonzero(table["split"] == "test"))
    assert (len(parts.train), len(parts.gap), len(parts.holdout)) == (33_687, 9, 8_424)


def labels(n=400, rate=0.2, seed=1):
    return (np.random.default_rng(seed).random(n) < rate).astype(float)


def test_stratified_folds_judge_every_row_once_in_equal_shares():
    y = labels()
    parts = folds(y, Folds(kind="stratified", k=5), seed=3)
    judged = np.concatenate([judge for _, judge in parts])
    assert sorted(judged.tolist()) == list(range(len(y)))
    for fit, judge in parts:
        assert not set(fit) & set(judge)
        assert len(fit) + len(judge) == len(y)
        assert abs(y[judge].mean() - y.mean()) < 0.01
    again = folds(y, Folds(kind="stratified", k=5), seed=3)
    other = folds(y, Folds(kind="stratified", k=5), seed=4)
    assert all((a[1] == b[1]).all() for a, b in zip(parts, again, strict=True))
    assert any((a[1] != b[1]).any() for a, b in zip(parts, other, strict=True))


def test_time_folds_only_ever_judge_the_future():
    parts = folds(labels(60), Folds(kind="time", k=5))
    assert [judge.tolist() for _, judge in parts] == [
        list(range(low, low + 10)) for low in (10, 20, 30, 40, 50)
    ]
    for fit, judge in parts:
        assert fit.tolist() == list(range(judge[0]))


@pytest.mark.parametrize("kind", ["time", "stratified"])
def test_too_few_rows_for_the_folds_is_said(kind):
    with pytest.raises(ValueError, match=r"lower folds\.k"):
        folds(np.array([0.0] * 50 + [1.0] * 3), Folds(kind=kind, k=5))


@pytest.mark.parametrize("kind", ["time", "stratified"])
def test_balanced_folds_pass(kind):
    spec = Folds(kind=kind, k=5)
    found = fold_balance(labels(), folds(labels(), spec), spec)
    assert found.passed, found.message
    assert found.numbers["overall"] == pytest.approx(labels().mean())


def test_a_fold_without_its_share_fails_and_is_named():
    y = np.sort(labels())  # all positives at the end
    for kind in ("time", "stratified"):
        spec = Folds(kind=kind, k=5)
        found = fold_balance(y, folds(y, Folds(kind="time", k=5)), spec)
        assert not found.passed
        assert "fold 1 has 0 positives (0.0%)" in found.message
        assert "lower folds.k" in found.message


def test_published_parts_are_kept_and_time_divides_the_rest():
    published = frame([50, 3, 90, 1], [0] * 4).assign(part=["train", "holdout", "train", "holdout"])
    whole = split(published, TimeSplit(holdout=0.5, gap_hours=0))
    assert whole.train.tolist() == [0, 2]
    assert whole.holdout.tolist() == [3, 1]
    few = pd.concat([published, frame([100], [0]).assign(part=None)], ignore_index=True)
    assert split(few, TimeSplit(holdout=0.5)).gap.tolist() == [4]
    later = frame(range(100, 120), [0] * 20).assign(part=None)
    both = split(
        pd.concat([published, later], ignore_index=True), TimeSplit(holdout=0.5, gap_hours=0)
    )
    assert both.train.tolist() == [0, 2, *range(4, 14)]
    assert both.holdout.tolist() == [3, 1, *range(14, 24)]


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match=r"parts \['test'\] are unknown; give train, holdout"):
        split(frame([0, 1], [0, 0]).assign(part=["train", "test"]), TimeSplit())


def test_the_newest_fold_judges_the_newest_rows_once():
    ((fit, judge),) = folds(np.array([0.0, 1.0] * 10), Folds(kind="newest", k=4))
    assert fit.tolist() == list(range(15))
    assert judge.tolist() == list(range(15, 20))
