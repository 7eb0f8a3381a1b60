"""Faults of a feature table, as bad SQL or bad sources make them, and what must be said of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

HOUR = pd.Timedelta(hours=1)


def later(frame: pd.DataFrame, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """New events like the newest ones, asked for after all others."""
    new = frame.sort_values("event_time").tail(rows).copy()
    shift = frame["event_time"].max() - new["event_time"].min() + HOUR
    new["event_time"] += shift
    new["known_time"] += shift
    new["event_id"] = [f"{tenant}@new{i:09x}" for i, tenant in enumerate(new["tenant"])]
    new["theirs_edit_frequency"] *= rng.uniform(0.9, 1.1, rows)  # no exact copies
    return new


def renamed(frame: pd.DataFrame) -> pd.DataFrame:
    """A column has another name."""
    return frame.rename(columns={"files_overlap": "files_in_common"})


def repeated(frame: pd.DataFrame) -> pd.DataFrame:
    """Seven events are there twice."""
    return pd.concat([frame, frame.iloc[:7]])


def honest(frame: pd.DataFrame) -> pd.DataFrame:
    """New events with nothing wrong."""
    return pd.concat([frame, later(frame, 1_000, np.random.default_rng(0))])


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    """New events whose outcomes were dealt out anew."""
    rng = np.random.default_rng(1)
    new = later(frame, 1_000, rng)
    new["label"] = rng.permutation(new["label"].to_numpy())
    return pd.concat([frame, new])


def days_missing(frame: pd.DataFrame) -> pd.DataFrame:
    """New events after six days without any."""
    new = later(frame, 300, np.random.default_rng(0))
    for name in ("event_time", "known_time"):
        new[name] += 6 * 24 * HOUR
    return pd.concat([frame, new])


def copied(frame: pd.DataFrame) -> pd.DataFrame:
    """Old, learned-from events come again under new ids."""
    old = frame.sort_values("event_time").iloc[:300].copy()
    span = frame["event_time"].max() - old["event_time"].min() + HOUR
    for name in ("event_time", "known_time"):
        old[name] += span
    old["event_id"] = [f"{tenant}@copy{i:08x}" for i, tenant in enumerate(old["tenant"])]
    return pd.concat([frame, old])


def label_in_disguise(frame: pd.DataFrame) -> pd.DataFrame:
    """An input that ranks the label almost perfectly."""
    noise = np.random.default_rng(0).uniform(0, 0.4, len(frame))
    return frame.assign(field_overlap_score=0.6 * frame["label"] + noise)


def the_label_itself(frame: pd.DataFrame) -> pd.DataFrame:
    """An input that is the label."""
    return frame.assign(field_overlap_score=frame["label"].astype(float))


Change = Callable[[pd.DataFrame], pd.DataFrame]
#: Name of the fault: how it is made, the check that must fail, words of its message.
TABLES: dict[str, tuple[Change, str, tuple[str, ...]]] = {
    "schema drift": (
        renamed, "schema",
        ("missing (files_overlap)", "add them to the feature's SQL model"),
    ),
    "duplicated keys": (repeated, "keys", ("7 rows repeat an event_id", "keep one row per event")),
    "shuffled labels": (
        shuffled, "labels", ("1000 new rows", "shuffled", "look at the join of outcomes to events")
    ),
    "empty days": (days_missing, "freshness", ("days without an event", "load it")),
    "train/test overlap": (
        copied, "overlap", ("300 of", "copied under new ids", "remove the copies at the source")
    ),
    "almost the label": (
        label_in_disguise, "target_leak", ("field_overlap_score alone", "made from the outcome",
                                            "take it out"),
    ),
    "the label": (
        the_label_itself, "target_leak", ("field_overlap_score alone", "ROC-AUC 1.0000")
    ),
}  # fmt: skip
