"""dbt's features against three independent truths: the mirror's, a slow oracle's, and time's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.sources import merges, merges_generator
from models.contracts.product import FRAME_COLUMNS
from models.risk.sync_conflict.product import PRODUCT
from stores.landing import Landing
from tests.flow.dbt_helpers import FEATURES, dbt, features_of

FLOAT32 = {"rtol": 1e-6, "atol": 1e-7}


@pytest.fixture(scope="module")
def generated() -> pa.Table:
    """Generated rows with what is hard: outcomes known in the very second in which others ask,
    and many corrections, some of outcomes that have left the tenant's last 200.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merges_generator, "TIED_SHARE", 0.05)
        patch.setattr(merges_generator, "CORRECTED_SHARE", 0.2)
        frame = merges_generator.generate(seed=7, rows=1_500).to_pandas()
    frame["event_time"] = frame["event_time"].dt.floor("h")
    frame["known_at"] = frame["known_at"].dt.ceil("h")
    frame.loc[frame["event_id"].duplicated(), "known_at"] += pd.Timedelta(days=20)
    frame["base_time"] = frame[["base_time", "event_time"]].min(axis=1)
    return pa.Table.from_pandas(frame, schema=merges.schema(), preserve_index=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def features(home: Path, generated: pa.Table) -> pd.DataFrame:
    """Features of the generated rows, every dbt test passed."""
    return features_of(home, generated)


def test_the_table_is_the_product_s_inputs_in_order(features: pd.DataFrame) -> None:
    assert list(features) == [*FRAME_COLUMNS, "slice_hard", "user", "entity", *PRODUCT.data.names]
    assert features["event_id"].is_unique
    by_time = features.sort_values(["event_time", "event_id"])
    assert by_time.index.equals(features.index)
    for column in PRODUCT.data.columns:
        values = features[column.name]
        assert column.nullable or values.notna().all(), column.name
        assert column.minimum is None or values.min() >= column.minimum, column.name
        assert column.maximum is None or values.max() <= column.maximum, column.name
        whole = (values.dropna() % 1 == 0).all()
        assert column.kind == "float" or whole, column.name


def test_features_equal_a_slow_bitemporal_oracle(
    features: pd.DataFrame, generated: pa.Table
) -> None:
    expected = pd.DataFrame(_oracle(generated.to_pylist())).set_index("event_id")
    found = features.set_index("event_id")
    assert len(found) == len(expected) == 1_500
    # the sample holds what is hard: ties, corrections, a full window
    assert found.duplicated(["tenant", "event_time"]).sum() > 50
    assert generated.num_rows > 1_750
    assert found["tenant_past_merges"].max() > 300
    for name in expected:
        pd.testing.assert_series_equal(
            found[name].astype(float), expected.loc[found.index, name].astype(float),
            check_names=False, rtol=1e-9, atol=1e-12,
        )  # fmt: skip


def test_what_became_known_later_changes_no_earlier_row(
    features: pd.DataFrame, generated: pa.Table, tmp_path: Path
) -> None:
    moment = features["event_time"].quantile(0.6)
    past = generated.filter(pc.less(generated["known_at"], pa.scalar(moment, pa.timestamp("us"))))
    then = features_of(tmp_path, past, "run").set_index("event_id")
    now = features.set_index("event_id").loc[then.index]
    inputs = list(PRODUCT.data.names)
    pd.testing.assert_frame_equal(then[inputs], now[inputs], check_exact=True)
    # the test can fail: corrections that came later did change labels and known times
    assert (then["label"] != now["label"]).sum() > 20
    assert len(then) < len(features)


def test_the_same_rows_give_the_same_file_however_they_are_delivered(
    features: pd.DataFrame, home: Path, generated: pa.Table, tmp_path: Path
) -> None:
    order = np.random.default_rng(0).permutation(generated.num_rows)
    landing = Landing(tmp_path)
    for start, stop in ((0, 700), (500, 1_400), (1_300, generated.num_rows)):  # they overlap
        part = generated.take(order[start:stop])
        landing.land("merges", f"from-{start}", part, merges.schema())
    dbt(tmp_path, "run")
    assert (tmp_path / FEATURES).read_bytes() == (home / FEATURES).read_bytes()


def test_what_does_not_fit_into_memory_is_spilled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # each of DuckDB's threads needs memory of its own; two cores spill at 56 MB
    monkeypatch.setenv("ASSAY_DUCKDB_MEMORY", f"{28 * max(2, os.cpu_count() or 2)}MB")
    found = features_of(tmp_path, merges_generator.generate(rows=42_120), "run")
    assert found["event_id"].nunique() == len(found) == 42_120


@pytest.mark.mirror
def test_features_equal_the_mirror_s_own_and_every_difference_is_explained(
    tmp_path: Path,
) -> None:
    if "ASSAY_MIRROR" not in os.environ:
        pytest.skip("set ASSAY_MIRROR to the folder of the data mirror")
    file = Path(os.environ["ASSAY_MIRROR"]) / merges.MIRROR_FILE
    oracle = pd.read_parquet(file)
    oracle.index = pd.Index(oracle["repo"] + "@" + oracle["merge_sha"])
    found = features_of(tmp_path, merges.from_mirror(file)).set_index("event_id").loc[oracle.index]
    assert len(found) == 42_120
    for ours, theirs in MIRROR.items():
        np.testing.assert_allclose(
            found[ours].astype(float), oracle[theirs].astype(float), err_msg=ours, **FLOAT32
        )
    _explain_plain_counts(oracle)


#: Our feature and the mirror's column that says the same.
MIRROR = {
    "hours_since_last_sync": "hours_since_base",
    "user_conflict_rate": "merger_past_conflict_rate",
    "field_overlap_score": "overlap_jaccard",
    "user_past_merges": "merger_past_merges",
    "user_past_conflicts": "merger_past_conflicts",
    "tenant_past_merges": "repo_past_merges",
    "tenant_recent_conflict_rate": "repo_past200_conflict_rate",
    "editors_conflict_rate_mean": "editors_past_conflict_rate_mean",
    "editors_conflict_rate_max": "editors_past_conflict_rate_max",
    "overlap_past_conflicts_sum": "overlap_past_conflicts_sum",
    "overlap_past_conflicts_max": "overlap_past_conflicts_max",
    "overlap_share_theirs": "overlap_frac_theirs",
    "directory_overlap_score": "dir_overlap_jaccard",
    "entity_edit_frequency": "edits90_touched_mean",
    "label": "conflict",
}


def _explain_plain_counts(oracle: pd.DataFrame) -> None:
    """A count by row order is wrong on exactly the rows that share a second with an earlier one."""
    person = oracle.groupby(["repo", "merger_id"])
    second = oracle.groupby(["repo", "merger_id", "ts_merge"])
    plain_merges = person.cumcount()
    plain_conflicts = person["conflict"].cumsum() - oracle["conflict"]
    tied_merges = second.cumcount()
    tied_conflicts = second["conflict"].cumsum() - oracle["conflict"]
    wrong_merges = plain_merges != oracle["merger_past_merges"]
    wrong_conflicts = plain_conflicts != oracle["merger_past_conflicts"]
    assert (wrong_merges == (tied_merges > 0)).all()
    assert (wrong_conflicts == (tied_conflicts > 0)).all()
    assert (plain_merges - tied_merges == oracle["merger_past_merges"]).all()
    assert (plain_conflicts - tied_conflicts == oracle["merger_past_conflicts"]).all()
    assert 1 - wrong_merges.mean() == pytest.approx(0.9904, abs=5e-5)
    assert 1 - wrong_conflicts.mean() == pytest.approx(0.9982, abs=5e-5)


def _oracle(versions: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The features from their definition: for each merge, read all that was known before it."""
    for tenant in sorted({version["tenant"] for version in versions}):
        ours = sorted((v for v in versions if v["tenant"] == tenant), key=lambda v: v["known_at"])
        firsts: dict[str, dict[str, Any]] = {}
        newest: dict[str, dict[str, Any]] = {}
        for version in ours:
            firsts.setdefault(version["event_id"], version)
            newest[version["event_id"]] = version
        for key, merge in firsts.items():
            known: dict[str, dict[str, Any]] = {}
            for version in ours:
                if version["known_at"] < merge["event_time"]:
                    known[version["event_id"]] = version
            yield {"event_id": key, "label": newest[key]["conflict"],
                   **_touched(merge), **_histories(merge, known, firsts)}  # fmt: skip


def _touched(merge: dict[str, Any]) -> dict[str, Any]:
    union = merge["files_ours"] + merge["files_theirs"] - merge["files_overlap"]
    elapsed = merge["event_time"] - merge["base_time"]
    return {
        "judged": not merge["via_button"],
        "slice_hard": not merge["via_button"] and merge["files_overlap"] > 0,
        "hours_since_last_sync": elapsed.total_seconds() / 3600,
        "field_overlap_score": merge["files_overlap"] / union,
        "overlap_share_theirs": merge["files_overlap"] / merge["files_theirs"],
    }


def _histories(
    merge: dict[str, Any], known: dict[str, dict[str, Any]], firsts: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    def order(key: str) -> tuple[Any, ...]:
        return (firsts[key]["known_at"], firsts[key]["event_time"], key)

    recent = [known[key]["conflict"] for key in sorted(known, key=order)[-200:]]
    mine = [v["conflict"] for v in known.values() if v["merger_id"] == merge["merger_id"]]
    rates = []
    for editor in set(merge["editor_ids"]):
        past = [v["conflict"] for v in known.values() if editor in v["editor_ids"]]
        rates.append((sum(past) + 0.5) / (len(past) + 5))
    files = [
        sum(v["conflict"] for v in known.values() if file in v["overlap_file_ids"])
        for file in set(merge["overlap_file_ids"])
    ]
    return {
        "user_past_merges": len(mine),
        "user_past_conflicts": sum(mine),
        "user_conflict_rate": sum(mine) / len(mine) if mine else None,
        "tenant_past_merges": len(known),
        "tenant_recent_conflict_rate": sum(recent) / len(recent) if recent else None,
        "editors_conflict_rate_mean": sum(rates) / len(rates),
        "editors_conflict_rate_max": max(rates),
        "overlap_past_conflicts_sum": sum(files),
        "overlap_past_conflicts_max": max(files, default=0),
    }
