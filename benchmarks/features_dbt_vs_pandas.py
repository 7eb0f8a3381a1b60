"""The same point-in-time features by dbt on DuckDB and by vectorised pandas: time and memory.

Three sides, each a process of its own: ``dbt run`` (whole process), dbt's compiled SQL alone on one
connection, and pandas as a good engineer would write it (both from reading the raw files to writing
the table, without interpreter start and imports). Rows are copies of generated tenants. At the
first scale the three tables must be equal. What needs more than the limits is reported as such.

    python benchmarks/features_dbt_vs_pandas.py --scales 1 10 100
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

if TYPE_CHECKING:
    import pyarrow as pa

PROJECT = Path(__file__).parents[1] / "dbt_project"
FEATURES = "features/risk/merges.parquet"
SIDES = ("dbt run", "SQL", "pandas")


class Measured(NamedTuple):
    """One side at one scale; ``note`` says why it did not end."""

    seconds: float
    cpu_s: float
    peak_gb: float
    note: str = ""


def main() -> None:
    """Measure every scale and print the table."""
    options = _options()
    if options.work:
        _work(options.work, options.home, options.memory_gb)
        return
    measured = [f"{side} {unit}" for side in SIDES for unit in ("s", "CPU s", "GB")]
    columns = ["events", *measured, "pandas/dbt", "pandas/SQL"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for number, scale in enumerate(options.scales):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            home = Path(name)
            events = _write_raw(home, options.rows, scale)
            sides = [_dbt(home, options.limit), _alone("sql", home, options),
                     _alone("pandas", home, options)]  # fmt: skip
            if number == 0 and not any(side.note for side in sides):
                _assert_equal(home)
        print(_line(events, *sides), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--rows", type=int, default=42_120, help="merges at scale 1")
    parser.add_argument("--limit", type=float, default=600, help="seconds per side and scale")
    parser.add_argument("--memory-gb", type=float, default=12, help="address space for pandas")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    parser.add_argument("--work", choices=["sql", "pandas"], help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _write_raw(home: Path, rows: int, scale: int) -> int:
    """``scale`` copies of the generated rows, each with tenants of its own."""
    import pyarrow.parquet as pq

    from assets.sources import merges_generator

    table = merges_generator.generate(seed=0, rows=rows)
    folder = home / "raw" / "merges"
    folder.mkdir(parents=True)
    (home / FEATURES).parent.mkdir(parents=True)
    for copy in range(scale):
        pq.write_table(_renamed(table, copy), folder / f"{copy}.parquet", compression="zstd")
    return rows * scale


def _renamed(table: pa.Table, copy: int) -> pa.Table:
    """The table with other tenants; copy 0 is the table itself."""
    import pyarrow.compute as pc

    for name in ("event_id", "tenant") if copy else ():
        place = table.schema.get_field_index(name)
        renamed = pc.binary_join_element_wise(f"copy{copy}", table[name], "-")
        table = table.set_column(place, table.schema.field(name), renamed)
    return table


def _dbt(home: Path, limit: float) -> Measured:
    target = home / "dbt"
    line = [str(Path(sys.executable).with_name("dbt")), "run", "--quiet", "--no-use-colors",
            "--select", "+features_risk_merges", "--project-dir", str(PROJECT),
            "--profiles-dir", str(PROJECT),
            "--target-path", str(target), "--log-path", str(target / "logs")]  # fmt: skip
    return _measure(line, limit, {"ASSAY_HOME": str(home)})


def _alone(side: str, home: Path, options: argparse.Namespace) -> Measured:
    line = [sys.executable, __file__, "--work", side, "--home", str(home),
            "--memory-gb", str(options.memory_gb)]  # fmt: skip
    measured = _measure(line, options.limit, {"PYTHONPATH": str(PROJECT.parent)})
    if measured.note:
        return measured
    seconds, cpu_s = json.loads((home / f"{side}.json").read_text())
    return measured._replace(seconds=seconds, cpu_s=cpu_s)


def _measure(line: list[str], limit: float, environment: dict[str, str]) -> Measured:
    """Run to the end or the limit; peak memory is the kernel's own figure for the process."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(line, env={**os.environ, **environment}, stdout=log, stderr=log)
        done = 0
        while not done:
            if time.perf_counter() - began > limit:
                process.kill()
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            time.sleep(0.02)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        tail = log.read().decode(errors="replace").strip().splitlines()[-1:]
    note = ""
    if process.returncode:
        note = f"not in {limit:.0f} s" if wall > limit else (tail or ["killed"])[0]
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20, note)


def _line(events: int, dbt: Measured, sql: Measured, frame: Measured) -> str:
    def cells(side: Measured) -> str:
        seconds = side.note or f"{side.seconds:.1f}"
        return f"{seconds} | {side.cpu_s:.1f} | {side.peak_gb:.2f}"

    def ratio(side: Measured) -> str:
        return "-" if side.note or frame.note else f"{frame.seconds / side.seconds:.1f}x"

    sides = " | ".join(cells(side) for side in (dbt, sql, frame))
    return f"| {events:,} | {sides} | {ratio(dbt)} | {ratio(sql)} |"


def _assert_equal(home: Path) -> None:
    expected = pd.read_parquet(home / FEATURES).drop(columns=["user", "entity"])  # no features
    for side in ("sql", "pandas"):
        found = pd.read_parquet(home / f"{side}.parquet")
        pd.testing.assert_frame_equal(expected, found[list(expected)], check_dtype=False, rtol=1e-9)


def _work(side: str, home: Path, memory_gb: float) -> None:
    """One side's work, timed from reading to writing."""
    import pyarrow.parquet  # noqa: F401 an import is not work

    if side == "pandas":
        size = int(memory_gb * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    began, cpu = time.perf_counter(), time.process_time()
    if side == "pandas":
        pandas_features(home / "raw" / "merges").to_parquet(home / "pandas.parquet")
    else:
        _compiled_sql(home)
    spent = [time.perf_counter() - began, time.process_time() - cpu]
    (home / f"{side}.json").write_text(json.dumps(spent))


def _compiled_sql(home: Path) -> None:
    """What dbt compiled, in dbt's order, with the settings of the profile."""
    import duckdb

    (home / "sql").mkdir()
    results = json.loads((home / "dbt" / "run_results.json").read_text())["results"]
    with duckdb.connect(str(home / "sql" / "warehouse.duckdb")) as connection:
        connection.sql("set memory_limit = '2GB'")
        connection.sql(f"set temp_directory = '{home / 'sql' / 'spill'}'")
        for result in results:
            name, query = result["unique_id"].split(".")[-1], result["compiled_code"]
            if name.startswith("staging"):
                connection.sql(f"create table {name} as {query}")
            else:
                connection.sql(f"copy ({query}) to '{home}/sql.parquet' (compression zstd)")


def pandas_features(folder: Path) -> pd.DataFrame:
    """The feature table, written as one would with pandas: sort, group, cumulate, merge as of."""
    raw = pd.read_parquet(folder).drop_duplicates(["event_id", "known_at"])
    raw = raw.sort_values(["event_id", "known_at"], ignore_index=True)
    raw["tenant"] = raw["tenant"].astype("category")
    raw["merges"] = (~raw["event_id"].duplicated()).astype("int64")
    before = raw.groupby("event_id", sort=False)["conflict"].shift(fill_value=False)
    raw["conflicts"] = raw["conflict"].astype("int64") - before.astype("int64")
    newest = raw.drop_duplicates("event_id", keep="last").set_index("event_id")
    events = raw[raw["merges"] == 1].sort_values(["event_time", "event_id"], ignore_index=True)
    newest = newest.loc[events["event_id"]]
    sums = ["merges", "conflicts"]
    user = _known_totals(events, raw, ["tenant", "merger_id"], sums)
    tenant = _known_totals(events, _tenant_log(events, raw), ["tenant"],
                           [*sums, "recent_merges", "recent_conflicts"])  # fmt: skip
    editors = _exploded_totals(events, raw, "editor_ids", sums)
    rates = ((editors["conflicts"] + 0.5) / (editors["merges"] + 5)).groupby(editors["row"])
    files = _exploded_totals(events, raw, "overlap_file_ids", ["conflicts"])
    past = files.groupby("row")["conflicts"]
    union = events["files_ours"] + events["files_theirs"] - events["files_overlap"]
    hours = (events["event_time"] - events["base_time"]).dt.total_seconds() / 3600
    judged = ~events["via_button"]
    return events.assign(
        tenant=events["tenant"].astype(str),
        known_time=newest["known_at"].to_numpy(), label=newest["conflict"].to_numpy().astype(int),
        judged=judged, slice_hard=judged & (events["files_overlap"] > 0),
        hours_since_last_sync=hours,
        user_conflict_rate=user["conflicts"] / user["merges"].where(user["merges"] > 0),
        field_overlap_score=(events["files_overlap"] / union).fillna(0),
        user_past_merges=user["merges"], user_past_conflicts=user["conflicts"],
        tenant_past_merges=tenant["merges"],
        tenant_recent_conflict_rate=tenant["recent_conflicts"]
        / tenant["recent_merges"].where(tenant["recent_merges"] > 0),
        editors_conflict_rate_mean=rates.mean().reindex(events.index, fill_value=0.1),
        editors_conflict_rate_max=rates.max().reindex(events.index, fill_value=0.1),
        overlap_past_conflicts_sum=past.sum().reindex(events.index, fill_value=0),
        overlap_past_conflicts_max=past.max().reindex(events.index, fill_value=0),
        overlap_share_theirs=(events["files_overlap"] / events["files_theirs"]).fillna(0),
    )  # fmt: skip


def _known_totals(
    questions: pd.DataFrame, answers: pd.DataFrame, by: list[str], sums: list[str]
) -> pd.DataFrame:
    """Sums of the answers known strictly before each question, in the questions' order."""
    log = answers.groupby([*by, "known_at"], observed=True)[sums].sum()
    log = log.groupby(level=by, observed=True).cumsum().reset_index().sort_values("known_at")
    found = pd.merge_asof(questions[[*by, "event_time"]], log, left_on="event_time",
                          right_on="known_at", by=by, allow_exact_matches=False)  # fmt: skip
    return found[sums].fillna(0).astype("int64").set_axis(questions.index)


def _tenant_log(events: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    """The tenant's outcomes, and each one's leaving of the last 200."""
    place = pd.Series(events.index, index=events["event_id"])
    log = raw[["event_id", "tenant", "known_at", "merges", "conflicts"]]
    firsts = log[log["merges"] == 1].assign(row=lambda d: place[d["event_id"]].to_numpy())
    firsts = firsts.sort_values(["known_at", "row"])
    leaves = firsts.groupby("tenant", observed=True)["known_at"].shift(-200)
    leaves.index = pd.Index(firsts["event_id"])
    log = log.assign(leaves_at=leaves.reindex(log["event_id"]).to_numpy())
    gone = (log["merges"] == 0) & (log["known_at"] >= log["leaves_at"])
    log = log.assign(recent_merges=log["merges"], recent_conflicts=log["conflicts"].mask(gone, 0))
    left = log[log["leaves_at"].notna()]
    left = left.assign(known_at=left["leaves_at"], merges=0, conflicts=0,
                       recent_merges=-left["recent_merges"],
                       recent_conflicts=-left["recent_conflicts"])  # fmt: skip
    return pd.concat([log, left], ignore_index=True)


def _exploded_totals(
    events: pd.DataFrame, raw: pd.DataFrame, ids: str, sums: list[str]
) -> pd.DataFrame:
    """Totals per listed id; ``row`` is the event's index."""
    questions = events[["tenant", "event_time", ids]].explode(ids).dropna(subset=[ids])
    answers = raw if "merges" in sums else raw[raw["conflicts"] != 0]
    answers = answers[["tenant", "known_at", ids, *sums]].explode(ids).dropna(subset=[ids])
    questions[ids], answers[ids] = questions[ids].astype("int64"), answers[ids].astype("int64")
    rows = questions.index
    found = _known_totals(questions.reset_index(drop=True), answers, ["tenant", ids], sums)
    return found.assign(row=rows)


if __name__ == "__main__":
    main()
