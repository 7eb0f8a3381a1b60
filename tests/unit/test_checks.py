"""Planted faults: each is caught by exactly the check meant for it, and clean frames pass all."""

import numpy as np
import pandas as pd
import pytest

from models.core import splits
from models.core.checks import check_dataset
from tests.unit.checked import KNOWN, failing, only, outcome, shuffled
from tests.unit.sample_frames import DATA, sample


@pytest.mark.parametrize("seed", range(4))
def test_a_clean_frame_passes_with_and_without_history(seed):
    frame = sample(seed=seed)
    assert not failing(outcome(frame))
    assert not failing(outcome(frame, frame.iloc[:KNOWN]))
    assert not failing(outcome(frame, frame))


# --- schema


def test_a_missing_column():
    only(outcome(sample().drop(columns="hours")), "schema", "1 columns are missing (hours)", "SQL")


def test_a_column_of_another_product_is_no_fault():
    found = outcome(sample().assign(outcome_files=1))
    assert not failing(found)
    assert found["schema"].numbers["not_read"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hours": lambda f: f["hours"].astype(str)}, "hours is object, not float"),
        ({"hours": lambda f: f["hours"].astype(int)}, "hours is int64, not float"),
        ({"files": lambda f: f["files"] + 0.0}, "files is float64, not int"),
        ({"lines": lambda f: f["lines"] + 0.5}, "lines is float64, not int"),
        ({"judged": lambda f: f["judged"].astype(int)}, "judged is int64, not bool"),
        ({"slice_hard": lambda f: f["slice_hard"].astype(int)}, "slice_hard is int64, not bool"),
    ],
)
def test_a_mistyped_column(change, said):
    results = outcome(sample().assign(**change))
    assert said in failing(results)["schema"]


def test_times_with_a_zone_are_mistyped():
    frame = sample()
    zoned = frame.assign(event_time=frame["event_time"].dt.tz_localize("UTC"))
    parts = splits.split(frame, DATA.split)
    results = {r.name: r for r in check_dataset(DATA, zoned, parts, None)}
    assert "event_time is datetime64[us, UTC], not time without zone" in results["schema"].message
    assert results["keys"].message == "not judged: mend the schema first"
    assert not any(result.passed for result in results.values())


def test_nulls_where_none_may_be():
    frame = sample()
    frame.loc[[7, 9], "hours"] = np.nan
    only(outcome(frame), "schema", "hours is null in 2 rows", frame["event_id"][7])


@pytest.mark.parametrize("bad", [-0.5, 1.5, np.inf])
def test_values_out_of_range(bad):
    frame = sample()
    frame.loc[[5, 6, 8], "rate"] = bad
    only(outcome(frame), "schema", "rate is outside [0, 1] in 3 rows", frame["event_id"][5])


def test_integers_may_come_with_nulls_or_as_nullable_integers():
    frame = sample().astype({"lines": "Int64"})
    assert not failing(outcome(frame))


def test_no_rows():
    frame = sample()
    parts = splits.split(frame, DATA.split)
    results = check_dataset(DATA, frame.iloc[:0], parts, None)
    assert "no rows" in results[0].message
    assert not any(result.passed for result in results)


# --- keys


def test_duplicated_keys():
    frame = sample()
    twice = pd.concat([frame, frame.iloc[100:104]]).sort_values("event_time", kind="stable")
    only(outcome(twice), "keys", "4 rows repeat an event_id", frame["event_id"][100])


def test_events_that_are_gone():
    frame = sample()
    only(outcome(frame.drop(index=range(200, 300)), frame.iloc[:KNOWN]), "keys", "100 of 1700")
    assert not failing(outcome(frame.drop(index=[200]), frame.iloc[:KNOWN]))  # an erasure


# --- labels


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_labels_in_a_first_snapshot(seed):
    frame = shuffled(sample(seed=seed), slice(0, 2_000), seed)
    only(outcome(frame), "labels", "like chance", "shuffled", "look at the join")


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_labels_in_the_new_rows(seed):
    frame = sample(rows=2_600, seed=seed)
    new = shuffled(frame, slice(KNOWN, 2_600), seed)
    only(outcome(new, frame.iloc[:KNOWN]), "labels", "on the 900 new rows", "shuffled")


def test_labels_that_are_no_labels():
    frame = sample()
    frame.loc[3, "label"] = 2
    only(outcome(frame), "labels", "1 labels are neither 0 nor 1", frame["event_id"][3])


@pytest.mark.parametrize("value", [0, 1])
def test_one_class(value):
    assert "labels" in failing(outcome(sample().assign(label=np.int32(value))))


def test_outcomes_that_were_not_recorded_lately():
    frame = sample(rows=2_600)
    lost = frame.assign(label=frame["label"].where(np.arange(2_600) < KNOWN, 0).astype("int32"))
    only(outcome(lost, frame.iloc[:KNOWN]), "labels", "0 of 900 new labels are positive")


def test_too_few_new_rows_say_nothing():
    frame = sample()
    results = outcome(shuffled(frame, slice(1_980, 2_000)), frame.iloc[:1_980])
    assert not failing(results)
    assert "too few new rows" in results["labels"].message
