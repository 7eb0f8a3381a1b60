"""Only what changed runs: inputs, code, configuration."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from assets.sources import merges_generator
from stores.landing import Landing
from tests.flow.chain import SEED, Place, events
from tests.flow.conftest import Sql

FEATURES = "features/risk/merges"


def test_nothing_changed_nothing_runs(base: Place) -> None:
    assert base.plan() == {}


def test_a_changed_staging_model_runs_itself_and_what_reads_it(base: Place, sql: Sql) -> None:
    sql.edit_parsed("staging_merge_user_history", "-- The", "-- Changed. The")
    reasons = Place(base.root).plan()
    assert set(reasons) == {"staging/merge_user_history", FEATURES, *base.stages()}
    assert reasons["staging/merge_user_history"] == "its code or configuration changed"
    assert reasons[FEATURES] == "staging/merge_user_history runs"


def test_changed_sql_that_changes_no_row_changes_nothing_else(place: Place, sql: Sql) -> None:
    snapshot, candidates = place.snapshot(), place.candidates()
    sql.edit("features_risk_merges", "-- A row", "-- Changed. A row")
    assert set(place.plan()) == {FEATURES, *place.stages()}
    ran = place.run([FEATURES, *place.stages(last="candidates")])
    assert ran.success, ran.error
    assert ran.materialized == {FEATURES, *place.stages(last="candidates")}
    assert place.snapshot().snapshot_id == snapshot.snapshot_id
    assert place.snapshot().definition != snapshot.definition, "the next one is compared with this"
    assert place.candidates() == candidates
    assert place.plan() == {}


def test_a_new_file_is_read_once_and_its_rows_are_in_the_snapshot(place: Place) -> None:
    before, raw = place.snapshot(), place.raw()
    news, corrections = _news(raw, 300), _corrections(raw, 3)
    place.drop("monday.parquet", events(pd.concat([news, corrections])))
    reasons = place.plan()
    assert next(iter(reasons.items())) == ("raw/merges", "new files in the inbox")
    assert {"staging/merges", FEATURES, *place.stages()} < set(reasons)
    ran = place.run([key for key in reasons if key not in place.stages("candidates")])
    assert ran.success, ran.error or ran.failed
    after = place.snapshot()
    assert after.rows == before.rows + news["event_id"].nunique()
    assert after.as_of > before.as_of
    assert "3 of 4000 labels were corrected" in (ran.checks["late_correction"].description or "")
    labels = place.features().set_index("event_id")["label"]
    assert labels.loc[corrections["event_id"]].tolist() == corrections["conflict"].tolist()
    assert set(place.plan()) == set(place.stages("candidates"))
    _land_again(place, pd.concat([news, corrections]))


def _land_again(place: Place, rows: pd.DataFrame) -> None:
    """The same rows once more, under another name: known, and nothing follows."""
    landing, waiting = Landing(place.root), place.plan()
    parts = landing.parts("merges")
    place.drop("tuesday.parquet", events(rows))
    ran = place.run(["raw/merges"])
    assert ran.success
    assert landing.pending("merges") == ()
    assert landing.parts("merges") == parts
    assert place.plan() == waiting


def test_a_changed_gate_asks_the_gate_and_packs_what_serves(base: Place, tmp_path: Path) -> None:
    gate = base.product.gate.model_copy(update={"floor": 0.8})
    place = base.copy(tmp_path / "home", base.product.model_copy(update={"gate": gate}))
    before, aliases = place.ledger.entries(), place.aliases()
    assert set(place.plan()) == set(place.stages("promotion"))
    ran = place.refresh()
    assert ran.success, ran.error
    added = place.ledger.entries()[len(before) :]
    assert [entry.kind for entry in added] == ["rollout"], "the same evaluation is not judged twice"
    assert place.aliases() == aliases
    assert place.plan() == {}


def _news(raw: pd.DataFrame, rows: int) -> pd.DataFrame:
    """Merges of another seed, asked for after all others."""
    frame = merges_generator.generate(SEED + 1, rows).to_pandas()
    shift = raw["event_time"].max() - frame["event_time"].min() + pd.Timedelta(hours=1)
    for name in ("event_time", "base_time", "known_at"):
        frame[name] += shift
    return frame


def _corrections(raw: pd.DataFrame, rows: int) -> pd.DataFrame:
    """Newest versions of old merges with the other outcome, known now."""
    newest = raw.sort_values("known_at").drop_duplicates("event_id", keep="last")
    chosen = newest.sort_values("event_time").iloc[:rows].copy()
    chosen["conflict"] = ~chosen["conflict"]
    chosen["known_at"] = raw["known_at"].max() + pd.Timedelta(hours=2)
    return chosen
