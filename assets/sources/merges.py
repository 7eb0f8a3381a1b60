"""Concurrent edits that were synchronised: one row per merge and version of its outcome.

A row says when the merge was asked for, when the two sides last agreed, who asked, what both sides
had touched, whether they conflicted, and when that outcome became known. A correction is a new row
with the same `event_id` and a later `known_at`; nothing is ever overwritten. Histories (past
conflicts of the person, the editors, the files, the tenant) are not in here: dbt computes them,
point in time.

From the mirror: 42,120 real merges of ten public repositories, 2004 on; a repository is a tenant.
From the generator: seeded events with a known conflict law (`assets.sources.merges_generator`).

This module holds the schema and the reading of the mirror. It fetches nothing, keeps nothing and
knows no feature.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

MIRROR_FILE = "merge_conflicts/merge_conflicts.parquet"
MIRROR_SHA256 = "dd39f8b646db55b656f694d90940f6c81ba42b1e73fc4895dccd9e08dcd99777"

_COUNTS = (
    "concurrent_editors", "editors_ours", "editors_theirs", "editors_both_sides", "commits_ours",
    "commits_theirs", "files_ours", "files_theirs", "files_overlap", "merge_bases",
    "overlap_edits_sum", "overlap_edits_max",
)  # fmt: skip
_MEASURES = (
    "directory_overlap_score", "hours_since_tip_ours", "hours_since_tip_theirs",
    "theirs_edit_frequency", "entity_edit_frequency",
)  # fmt: skip
_LINES = ("lines_overlap_ours", "lines_overlap_theirs")
_IDS = ("editor_ids", "overlap_file_ids")
_REPORTED_RATES = ("reported_editors_conflict_rate_mean", "reported_editors_conflict_rate_max")
_REPORTED_COUNTS = ("reported_overlap_past_conflicts_sum", "reported_overlap_past_conflicts_max")

#: The mirror's names, mapped to ours. Its other ``*_past_*`` and derived columns stay outside.
_MAPPING = """
    repo || '@' || merge_sha as event_id,
    repo as tenant,
    make_timestamp(ts_merge * 1000000) as event_time,
    make_timestamp(ts_base * 1000000) as base_time,
    make_timestamp(ts_merge * 1000000) as known_at, -- a conflict shows itself at the merge
    via_pr_button = 1 as via_button,
    conflict = 1 as conflict,
    n_conflicted_files as conflicted_files,
    n_merge_bases as merge_bases,
    dir_overlap_jaccard as directory_overlap_score,
    edits90_overlap_sum as overlap_edits_sum,
    edits90_overlap_max as overlap_edits_max,
    edits90_theirs_mean as theirs_edit_frequency,
    edits90_touched_mean as entity_edit_frequency,
    null as editor_ids, -- the mirror counts editors and files but does not list them
    null as overlap_file_ids,
    editors_past_conflict_rate_mean as reported_editors_conflict_rate_mean,
    editors_past_conflict_rate_max as reported_editors_conflict_rate_max,
    overlap_past_conflicts_sum as reported_overlap_past_conflicts_sum,
    overlap_past_conflicts_max as reported_overlap_past_conflicts_max,
    * exclude (conflict)
"""


@cache
def schema() -> pa.Schema:
    """Schema of ``raw/merges``: names, order, types, and which columns may be null.

    A function, because importing pyarrow costs 0.12 s that a code location need not pay.
    """
    import pyarrow as pa

    moment, ids = pa.timestamp("us"), pa.list_(pa.int64())
    required: list[tuple[str, pa.DataType]] = [
        ("event_id", pa.string()), ("tenant", pa.string()),
        ("event_time", moment), ("base_time", moment), ("known_at", moment),
        ("merger_id", pa.int64()), ("via_button", pa.bool_()),
        ("conflict", pa.bool_()), ("conflicted_files", pa.int64()),
        *((name, pa.int64()) for name in _COUNTS),
        *((name, pa.float64()) for name in _MEASURES),
    ]  # fmt: skip
    optional: list[tuple[str, pa.DataType]] = [
        *((name, pa.float64()) for name in _LINES),
        *((name, ids) for name in _IDS),
        *((name, pa.float64()) for name in _REPORTED_RATES),
        *((name, pa.int64()) for name in _REPORTED_COUNTS),
    ]
    fields = [pa.field(name, kind, nullable=False) for name, kind in required]
    return pa.schema([*fields, *(pa.field(name, kind) for name, kind in optional)])


def from_mirror(path: Path) -> pa.Table:
    """The mirror's file as raw events, in the file's order.

    Args:
        path: The Parquet file ``MIRROR_FILE``; verify it against ``MIRROR_SHA256`` first.

    Returns:
        One row per merge with the columns of ``schema()``. Each merge has one version, known at
        the merge itself.

    Raises:
        duckdb.Error: The file lacks a mapped column or is no Parquet file.
    """
    import duckdb

    names = ", ".join(schema().names)
    with duckdb.connect() as connection:
        query = f"select {names} from (select {_MAPPING} from read_parquet(?))"  # noqa: S608 names are ours
        table: pa.Table = connection.sql(query, params=[str(path)]).to_arrow_table()
    return table.cast(schema())
