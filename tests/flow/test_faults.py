"""Planted faults: each is caught by its check, which says what to do, and nothing else happens.

Nothing else: no snapshot, candidate, evaluation, release, bento or roll-out; pointers, ledger and
aliases as they were; the champion still serves.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from stores.landing import Landing
from tests.flow.bad_tables import TABLES, honest
from tests.flow.chain import Place, Ran, events
from tests.flow.conftest import Sql

FEATURES = "features/risk/merges"
HOUR = pd.Timedelta(hours=1)


def assert_nothing_happened(place: Place, before: dict[str, str], ran: Ran) -> None:
    """Whatever was caught, the chain behind it did not run and what serves still serves."""
    assert not ran.success
    assert not ran.materialized & set(place.stages())
    assert place.state() == before
    assert place.deployer.calls == []
    champion = place.ledger.current()
    assert champion is not None
    assert place.aliases() == {"champion": champion.mlflow_version}


# --- what a feature table may hide -----------------------------------------------------------


@pytest.mark.parametrize("fault", TABLES)
def test_a_bad_feature_table_becomes_no_snapshot(place: Place, fault: str) -> None:
    change, check, words = TABLES[fault]
    before = place.state()
    place.plant_features(change, definition="changed SQL")
    ran = place.run(place.stages())
    assert set(ran.failed) == {check}
    for word in words:
        assert word in ran.failed[check]
    assert_nothing_happened(place, before, ran)


def test_honest_new_rows_pass_every_check(place: Place) -> None:
    """The control: faults above are caught for what they are, not for being new rows."""
    place.plant_features(honest)
    ran = place.run(place.stages(last="dataset"))
    assert ran.success, ran.failed


def test_a_feature_that_sees_later_outcomes_rewrites_history(place: Place) -> None:
    """New SQL cannot be compared with the old; the first new rows give it away."""

    def leaking(frame: pd.DataFrame) -> pd.DataFrame:
        rate = frame.groupby("tenant")["label"].transform("mean")  # of all, also of later ones
        return frame.assign(tenant_recent_conflict_rate=rate)

    place.plant_features(leaking, definition="leaking SQL")
    assert place.run(place.stages(last="dataset")).success
    before = place.state()
    place.plant_features(lambda frame: leaking(honest(frame)), definition="leaking SQL")
    ran = place.run(place.stages())
    assert set(ran.failed) == {"future_leak"}
    for word in ("tenant_recent_conflict_rate: 3", "see the future", "known before the event"):
        assert word in ran.failed["future_leak"]
    assert_nothing_happened(place, before, ran)


def test_a_count_of_the_future_in_sql_fails_its_dbt_test(place: Place, sql: Sql) -> None:
    sql.edit_parsed(
        "features_risk_merges",
        "tenant_history.merges as tenant_past_merges",
        "count(*) over (partition by events.tenant) as tenant_past_merges",
    )
    before = place.state()
    ran = place.refresh()
    assert set(ran.failed) == {"features_risk_merges_tenant_knows_only_the_past"}
    said = ran.failed["features_risk_merges_tenant_knows_only_the_past"]
    assert "counts outcomes of its tenant that were not known before its time" in said
    assert "Got" in said
    assert FEATURES not in ran.materialized
    assert_nothing_happened(place, before, ran)


# --- what may arrive -------------------------------------------------------------------------


def _restated(raw: pd.DataFrame, later: pd.Timedelta) -> pa.Table:
    """Five old, settled outcomes with another result, dated to when they first became known."""
    alone = raw.drop_duplicates("event_id", keep=False).sort_values("event_time")
    chosen = alone.iloc[100:105].copy()
    chosen["conflict"] = ~chosen["conflict"]
    chosen["known_at"] += later
    return events(chosen)


def test_a_correction_dated_back_is_refused(place: Place) -> None:
    before = place.state()
    place.drop("corrections.parquet", _restated(place.raw(), HOUR))
    ran = place.refresh()
    assert FEATURES in ran.materialized
    assert "late_correction" in ran.failed
    for word in ("5 labels changed", "claim to have been known", "as a new row whose known_at"):
        assert word in ran.failed["late_correction"]
    # what later rows had counted changed with them, and that is seen as well
    assert set(ran.failed) == {"late_correction", "future_leak"}
    assert_nothing_happened(place, before, ran)


def test_an_outcome_overwritten_in_place_is_refused(place: Place) -> None:
    before = place.state()
    place.drop("overwritten.parquet", _restated(place.raw(), 0 * HOUR))
    ran = place.refresh()
    first, *rest = ran.failed
    assert first == "staging_merges_one_outcome_per_version"
    for word in (
        "contradict each other. Mend the source",
        "new row with a later known_at",
        "Got 5",
    ):
        assert word in ran.failed[first]
    assert {ran.failed[name] for name in rest} == {"not run: something above failed"}
    assert FEATURES not in ran.materialized
    assert_nothing_happened(place, before, ran)


def _arrivals(raw: pd.DataFrame) -> dict[str, tuple[pa.Table, tuple[str, ...]]]:
    good = events(raw.iloc[:20])
    mistyped = good.set_column(
        good.schema.get_field_index("conflict"), "conflict", good["conflict"].cast(pa.string())
    )
    return {
        "renamed": (
            good.rename_columns({"merger_id": "user_id"}),
            ("missing columns: merger_id", "unexpected columns: user_id", "drop it into the inbox"),
        ),
        "mistyped": (mistyped, ("wrong types: conflict is string, expected bool", "Mend the file")),
        "empty": (good.slice(0, 0), ("no rows", "ask its sender")),
    }


@pytest.mark.parametrize("fault", ["renamed", "mistyped", "empty"])
def test_a_bad_file_is_put_aside_and_read_by_nobody(place: Place, fault: str) -> None:
    table, words = _arrivals(place.raw())[fault]
    before, parts = place.state(), Landing(place.root).parts("merges")
    place.drop(f"{fault}.parquet", table)
    ran = place.refresh()
    assert set(ran.failed) == {"arrivals"}
    for word in (f"{fault}.parquet", *words):
        assert word in ran.failed["arrivals"]
    assert ran.materialized == set()
    assert Landing(place.root).parts("merges") == parts
    assert (place.root / "quarantine" / "merges" / f"{fault}.parquet").is_file()
    assert_nothing_happened(place, before, ran)
    assert place.plan() == {}, "the bad file is out of the way"


# --- what may lie where an artifact should ---------------------------------------------------


def _champion(place: Place) -> Path:
    release = place.ledger.current()
    assert release is not None
    return place.root / release.artifact


def _tampered(file: Path) -> None:
    """One digit of the model is another one."""
    content = file.read_bytes()
    at = next(i for i in range(len(content) // 2, len(content)) if content[i : i + 1] == b"3")
    file.write_bytes(content[:at] + b"4" + content[at + 1 :])


def _refused(place: Place, before: dict[str, str], ran: Ran, *words: str) -> None:
    for word in words:
        assert word in ran.error
    assert_nothing_happened(place, before, ran)


def test_a_tampered_artifact_is_not_evaluated(place: Place) -> None:
    _tampered(_champion(place) / "model.json")
    before = place.state()
    ran = place.run(place.stages("evaluation"))
    _refused(place, before, ran, "ArtifactError", str(_champion(place)), "model.json",
             "do not load it: fit the candidate again, or restore the folder")  # fmt: skip


def test_a_tampered_champion_is_not_packed(place: Place) -> None:
    _tampered(_champion(place) / "model.json")
    before = place.state()
    ran = place.run(place.stages("bento"))
    _refused(place, before, ran, "BentoError", "is not packed", "model.json", "do not load it")


class _Payload:
    """Unpickling it makes a file: proof that somebody's code ran."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.witness,))


@pytest.mark.parametrize("name", ["model.json", "pipeline.skops"])
@pytest.mark.parametrize("protocol", [0, 5])
def test_a_pickle_in_an_artifact_s_place_never_runs(
    place: Place, tmp_path: Path, name: str, protocol: int
) -> None:
    witness = tmp_path / "it ran"
    pickled = pickle.dumps(_Payload(witness), protocol)
    pickle.load(io.BytesIO(pickled))
    assert witness.exists(), "the payload works"
    witness.unlink()
    (_champion(place) / name).write_bytes(pickled)
    before = place.state()
    ran = place.run(place.stages("evaluation"))
    assert not witness.exists()
    _refused(place, before, ran, "ArtifactError", name, "is a pickle: loading it would run code",
             "never load this file")  # fmt: skip
