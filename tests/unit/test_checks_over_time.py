"""Planted faults in time, between training rows and holdout, and against the last snapshot."""

import numpy as np
import pandas as pd
import pytest

from models.contracts.product import Column
from models.core import splits
from models.core.checks import drift, freshness, future_leak, overlap
from models.risk.sync_conflict.product import PRODUCT
from tests.unit.checked import KNOWN, failing, only, outcome, shuffled
from tests.unit.sample_frames import DATA, mirror, sample

# --- leakage


def test_an_input_made_from_the_outcome():
    frame = sample()
    rng = np.random.default_rng(0)
    leak = frame["label"] * 3.0 + rng.normal(0, 0.5, len(frame))
    only(outcome(frame.assign(noise=leak)), "target_leak", "noise alone ranks", "take it out")
    only(outcome(frame.assign(noise=-1.0 * frame["label"])), "target_leak", "1.0000")


def test_an_input_filled_in_with_the_outcome():
    frame = sample()
    filled = frame["rate"].fillna(0.5).where(frame["label"] == 1)
    only(outcome(frame.assign(rate=filled)), "target_leak", "whether it is null gives")


def test_an_outcome_known_before_its_event():
    frame = sample()
    frame.loc[[10, 11], "known_time"] -= pd.Timedelta(days=2)
    only(outcome(frame), "future_leak", "2 outcomes are known before their event")


def test_training_rows_inside_the_gap():
    frame = sample()
    parts = splits.split(frame, DATA.split)
    wrong = parts._replace(train=np.concatenate([parts.train, parts.gap]), gap=parts.gap[:0])
    found = future_leak(current=frame, previous=None, data=DATA, split=wrong)
    assert not found.passed
    assert f"{len(parts.gap)} training rows have an outcome that was known after" in found.message
    assert frame["event_id"][parts.gap[0]] in found.message


def test_inputs_that_change_after_the_fact():
    frame = sample()
    seen = frame["rate"].copy()
    seen.iloc[500:520] = 0.123  # what came to be known later
    results = outcome(frame.assign(rate=seen), frame.iloc[:KNOWN])
    only(results, "future_leak", "20 of 1700 rows", "rate: 20", frame["event_id"][500], "-> 0.123")
    assert not failing(outcome(frame.assign(rate=seen), frame.iloc[:KNOWN], same_definition=False))


def test_null_and_value_are_different_and_rounding_is_not():
    frame = sample()
    holes = frame["rate"].where(frame.index != frame["rate"].first_valid_index())
    assert (
        "rate: 1" in failing(outcome(frame.assign(rate=holes), frame.iloc[:KNOWN]))["future_leak"]
    )
    rounded = frame.assign(hours=frame["hours"].astype(np.float32))
    assert not failing(outcome(rounded, frame.iloc[:KNOWN]))


# --- corrections


def corrected(frame, rows, known):
    frame = frame.copy()
    frame.loc[rows, "label"] = 1 - frame.loc[rows, "label"]
    if known is not None:
        frame.loc[rows, "known_time"] = known
    return frame


def test_a_correction_in_the_open_is_counted():
    frame = sample()
    late = frame["known_time"].iloc[1_900]
    results = outcome(corrected(frame, range(300, 310), late), frame.iloc[:KNOWN])
    assert not failing(results)
    assert "10 of 1700 labels were corrected" in results["late_correction"].message


def test_a_correction_dated_back():
    frame = sample()
    results = outcome(corrected(frame, [300], None), frame.iloc[:KNOWN])
    only(
        results, "late_correction", "1 labels changed and claim", frame["event_id"][300], "new row"
    )


def test_too_many_corrections():
    frame = sample()
    late = frame["known_time"].iloc[1_900]
    results = outcome(corrected(frame, range(300, 330), late), frame.iloc[:KNOWN])
    only(results, "late_correction", "30 of 1700 labels were corrected", "ask the owner")


# --- overlap


def test_holdout_rows_copied_from_the_training_rows():
    frame = sample()
    copied = frame.copy()
    columns = [*DATA.names, "label"]
    copied.loc[1_900:1_939, columns] = frame.loc[100:139, columns].to_numpy()
    copied = copied.astype(frame.dtypes)
    only(outcome(copied), "overlap", "40 of 400 holdout rows", frame["event_id"][100], "copied")


def test_the_same_event_on_both_sides():
    frame = sample()
    frame.loc[1_950, "event_id"] = frame.loc[50, "event_id"]
    parts = splits.split(frame, DATA.split)
    found = overlap(current=frame, data=DATA, split=parts)
    assert "1 events are in the training rows and in the holdout" in found.message


def test_twins_by_chance_pass_where_inputs_are_coarse():
    coarse = DATA.model_copy(update={"columns": DATA.columns[:1]})
    frame = sample().drop(columns=["rate", "hours", "noise", "lines"])
    found = outcome(frame, data=coarse)["overlap"]
    assert found.passed
    assert found.numbers["twins"] > 300


# --- freshness


def test_a_missing_week():
    frame = sample()
    week = (frame.index >= 1_850) & (frame.index < 1_906)
    results = outcome(frame[~week], frame.iloc[:1_800])
    only(results, "freshness", "days without an event", "load it")


def test_old_events():
    frame = sample()
    as_of = frame["event_time"].max() + pd.Timedelta(days=31)
    found = freshness(current=frame, previous=None, data=DATA, as_of=as_of)
    assert not found.passed
    assert "31.0 days older than the newest arrival" in found.message


# --- drift


def test_units_that_changed():
    frame = sample(rows=2_600)
    new = frame.index >= KNOWN
    for name in ("files", "hours", "noise"):
        frame.loc[new, name] = frame.loc[new, name] * 60
    before = sample(rows=2_600).iloc[:KNOWN]
    only(outcome(frame, before), "drift", "3 of 5 inputs shifted", "changed unit")


def test_psi_by_hand():
    one = DATA.model_copy(update={"columns": (Column(name="files", description="x"),)})
    frame = sample(rows=2_000)
    before = frame.iloc[:1_000].assign(files=np.arange(1_000) % 2)
    now = frame.assign(files=np.where(np.arange(2_000) % 10 < 8, 0, 1))
    found = drift(current=now, previous=before, data=one)
    # deciles of 0/1: one edge at 0, one at 1, so two bins, 50/50 against 80/20
    expected = (0.8 - 0.5) * np.log(0.8 / 0.5) + (0.2 - 0.5) * np.log(0.2 / 0.5)
    assert found.numbers["files"] == pytest.approx(expected, abs=0.01)


# --- the mirror


@pytest.mark.mirror
def test_the_mirror_passes_as_a_first_and_as_a_later_snapshot():
    table = mirror().drop(columns="split")
    assert not failing(outcome(table, data=PRODUCT.data))
    for share in (0.5, 0.8, 0.97, 0.9995):
        known = table.iloc[: int(share * len(table))]
        assert not failing(outcome(table, known, data=PRODUCT.data)), share


@pytest.mark.mirror
def test_planted_faults_on_the_mirror():
    table = mirror()
    conflicted = table.assign(overlap_past_conflicts_sum=table["label"] * 2).drop(columns="split")
    only(outcome(conflicted, data=PRODUCT.data), "target_leak", "overlap_past_conflicts_sum")
    table = table.drop(columns="split")
    known = table.iloc[:40_000]
    mixed = shuffled(table, slice(40_000, len(table)))
    only(outcome(mixed, known, data=PRODUCT.data), "labels", "shuffled")
    mixed = shuffled(table, slice(0, len(table)))
    only(outcome(mixed, data=PRODUCT.data), "labels", "shuffled")
