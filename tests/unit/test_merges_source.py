"""raw/merges: the schema, and the mirror's file read into it."""

import datetime as dt
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.sources import merges


def test_importing_the_source_imports_nothing_heavy() -> None:
    heavy = ("pyarrow", "duckdb", "pandas", "numpy")
    code = f"import sys, assets.sources.merges; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_outcome_time_and_keys_are_required_and_ids_are_not() -> None:
    schema = merges.schema()
    assert len(set(schema.names)) == len(schema.names) == 34
    required = {field.name for field in schema if not field.nullable}
    assert {"event_id", "tenant", "event_time", "known_at", "merger_id", "conflict"} <= required
    assert {"editor_ids", "overlap_file_ids", "lines_overlap_ours"}.isdisjoint(required)


def mirror_file(path: Path, **changes: str) -> Path:
    """A file with the mirror's columns and one merge; ``changes`` are SQL expressions."""
    columns = {
        "repo": "'acme/app'", "merge_sha": "'0123456789ab'", "ts_merge": "1075737091::bigint",
        "ts_base": "1075635370::bigint", "merger_id": "7", "conflict": "1::tinyint",
        "n_conflicted_files": "2", "via_pr_button": "0::tinyint", "concurrent_editors": "2",
        "editors_ours": "1", "editors_theirs": "2", "editors_both_sides": "1", "commits_ours": "1",
        "commits_theirs": "6", "files_ours": "2", "files_theirs": "321", "files_overlap": "2",
        "overlap_jaccard": "0.1::float", "dir_overlap_jaccard": "0.25::float",
        "hours_since_tip_ours": "0.5::float", "hours_since_tip_theirs": "1.5::float",
        "n_merge_bases": "1", "edits90_overlap_sum": "7", "edits90_overlap_max": "5",
        "edits90_theirs_mean": "1.5::float", "edits90_touched_mean": "2.5::float",
        "lines_overlap_ours": "null::double", "lines_overlap_theirs": "122.0",
        "merger_past_merges": "3", "editors_past_conflict_rate_mean": "0.125::float",
        "editors_past_conflict_rate_max": "0.5::float", "overlap_past_conflicts_sum": "4",
        "overlap_past_conflicts_max": "3", **changes,
    }  # fmt: skip
    query = ", ".join(f"{value} as {name}" for name, value in columns.items() if value)
    with duckdb.connect() as connection:
        connection.sql(f"copy (select {query}) to '{path}' (format parquet)")
    return path


def test_every_mirror_column_finds_its_place(tmp_path: Path) -> None:
    table = merges.from_mirror(mirror_file(tmp_path / "x.parquet"))
    assert table.schema.equals(merges.schema())
    (row,) = table.to_pylist()
    moment = dt.datetime(2004, 2, 2, 15, 51, 31)
    assert row == {
        "event_id": "acme/app@0123456789ab", "tenant": "acme/app", "event_time": moment,
        "base_time": dt.datetime(2004, 2, 1, 11, 36, 10),
        "known_at": moment, "merger_id": 7, "via_button": False, "conflict": True,
        "conflicted_files": 2, "concurrent_editors": 2, "editors_ours": 1, "editors_theirs": 2,
        "editors_both_sides": 1, "commits_ours": 1, "commits_theirs": 6, "files_ours": 2,
        "files_theirs": 321, "files_overlap": 2, "merge_bases": 1, "overlap_edits_sum": 7,
        "overlap_edits_max": 5, "directory_overlap_score": 0.25, "hours_since_tip_ours": 0.5,
        "hours_since_tip_theirs": 1.5, "theirs_edit_frequency": 1.5, "entity_edit_frequency": 2.5,
        "lines_overlap_ours": None, "lines_overlap_theirs": 122.0, "editor_ids": None,
        "overlap_file_ids": None, "reported_editors_conflict_rate_mean": 0.125,
        "reported_editors_conflict_rate_max": 0.5, "reported_overlap_past_conflicts_sum": 4,
        "reported_overlap_past_conflicts_max": 3,
    }  # fmt: skip


def test_a_missing_mirror_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(duckdb.Error, match="dir_overlap_jaccard"):
        merges.from_mirror(mirror_file(tmp_path / "x.parquet", dir_overlap_jaccard=""))


@pytest.mark.mirror
def test_the_real_mirror_is_the_pinned_file_and_reads() -> None:
    if "ASSAY_MIRROR" not in os.environ:
        pytest.skip("set ASSAY_MIRROR to the folder of the data mirror")
    file = Path(os.environ["ASSAY_MIRROR"]) / merges.MIRROR_FILE
    assert hashlib.sha256(file.read_bytes()).hexdigest() == merges.MIRROR_SHA256
    table = merges.from_mirror(file)
    assert table.num_rows == 42_120
    assert pc.sum(table["conflict"].cast(pa.int64())).as_py() == 4_408
    assert pc.sum(pc.invert(table["via_button"]).cast(pa.int64())).as_py() == 13_980
    assert len(table["tenant"].unique()) == 10
