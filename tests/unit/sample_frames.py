"""Feature tables for tests: a small seeded one, and the data mirror's, mapped to the product."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.contracts.product import Column, Data
from models.risk.sync_conflict.product import COLUMNS

DATA = Data(
    features="features/test/rows",
    columns=(
        Column(name="files", kind="int", description="count", minimum=0),
        Column(name="rate", description="share", minimum=0, maximum=1, nullable=True),
        Column(name="hours", description="hours", minimum=0),
        Column(name="noise", description="nothing"),
        Column(name="lines", kind="int", description="count", minimum=0, nullable=True),
    ),
)

#: Inputs whose name differs in the mirror's file.
MIRROR_NAMES = {
    "hours_since_last_sync": "hours_since_base",
    "user_conflict_rate": "merger_past_conflict_rate",
    "entity_edit_frequency": "edits90_touched_mean",
    "field_overlap_score": "overlap_jaccard",
    "user_past_merges": "merger_past_merges",
    "user_past_conflicts": "merger_past_conflicts",
    "tenant_past_merges": "repo_past_merges",
    "tenant_recent_conflict_rate": "repo_past200_conflict_rate",
    "editors_conflict_rate_mean": "editors_past_conflict_rate_mean",
    "editors_conflict_rate_max": "editors_past_conflict_rate_max",
    "overlap_share_theirs": "overlap_frac_theirs",
    "directory_overlap_score": "dir_overlap_jaccard",
    "merge_bases": "n_merge_bases",
    "overlap_edits_sum": "edits90_overlap_sum",
    "overlap_edits_max": "edits90_overlap_max",
    "theirs_edit_frequency": "edits90_theirs_mean",
}


def sample(rows: int = 2_000, seed: int = 0) -> pd.DataFrame:
    """Rows as ``DATA`` declares them, three hours apart, whose label depends on the inputs."""
    rng = np.random.default_rng(seed)
    files, rate = rng.poisson(3, rows), rng.beta(2, 5, rows)
    hours, noise = rng.gamma(2.0, 20.0, rows), rng.normal(size=rows)
    odds = np.exp(-3.5 + 0.7 * files + 5.0 * (rate - 0.3) - 0.01 * hours)
    event = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(rows) * 3, unit="h")
    return pd.DataFrame(
        {
            "event_id": [f"tenant{i % 3}@{i:012x}" for i in range(rows)],
            "tenant": [f"tenant{i % 3}" for i in range(rows)],
            "event_time": event.astype("datetime64[us]"),
            "known_time": (event + pd.Timedelta(hours=1)).astype("datetime64[us]"),
            "label": (rng.random(rows) < odds / (1 + odds)).astype(np.int32),
            "judged": rng.random(rows) < 0.8,
            "slice_hard": files > 2,
            "files": files,
            "rate": np.where(rng.random(rows) < 0.1, np.nan, rate),
            "hours": hours,
            "noise": noise,
            "lines": np.where(rng.random(rows) < 0.05, np.nan, rng.poisson(20, rows)),
        }
    )


def mirror_folder() -> Path:
    """The data mirror's merges; the test is skipped without it."""
    if "ASSAY_MIRROR" not in os.environ:
        pytest.skip("set ASSAY_MIRROR to the folder of the data mirror")
    return Path(os.environ["ASSAY_MIRROR"]) / "merge_conflicts"


def mirror() -> pd.DataFrame:
    """The mirror's own features under the product's names, and its ``split`` column."""
    raw = pd.read_parquet(mirror_folder() / "merge_conflicts.parquet")
    time = pd.to_datetime(raw["ts_merge"], unit="s").astype("datetime64[us]")
    local = raw["via_pr_button"] == 0
    head = {
        "event_id": raw["repo"] + "@" + raw["merge_sha"],
        "tenant": raw["repo"],
        "event_time": time,
        "known_time": time,
        "label": raw["conflict"].astype(np.int32),
        "judged": local,
        "slice_hard": local & (raw["files_overlap"] > 0),
    }
    inputs = {c.name: raw[MIRROR_NAMES.get(c.name, c.name)] for c in COLUMNS}
    return pd.DataFrame({**head, **inputs, "split": raw["split"]})
