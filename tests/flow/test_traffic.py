"""From segments to tables: ingestion and dbt's part of the way back, in a home without a chain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd
import pytest

from assets.dbt import build_traffic_assets
from assets.dbt_manifest import load_manifest
from assets.traffic import build_spool
from models.contracts.traffic import OutcomeRecord, PredictionRecord, RefusalRecord
from models.core.journal import encode
from models.registry import products
from stores.home import Home
from stores.spool import TrafficPolicy

PRODUCT = products()[0]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
#: An hour instead of the default's day.
POLICY = TrafficPolicy(outcome_after_hours=1)


def prediction(key: str, age: timedelta, purpose: str = "traffic", **changes: Any) -> Any:
    record = PredictionRecord(
        prediction_id=key, request_id=f"request of {key}", product=PRODUCT.key, tenant="t",
        model_version="v1", event_id=f"event of {key}", event_time=NOW - age, answered_at=NOW - age,
        purpose=purpose, score=0.5, inputs=(1.0, None), inputs_hash="00", latency_ms=2.0, rows=1,
    )  # fmt: skip
    return "prediction", record.model_copy(update=changes)


def outcome(key: str, label: int, age: timedelta, **ids: str) -> Any:
    record = OutcomeRecord(
        outcome_id=key, product=PRODUCT.key, prediction_id=ids.get("prediction_id"),
        event_id=ids.get("event_id"), label=label, known_at=NOW - age, received_at=NOW - age,
        source="http", tenant=ids.get("tenant"),
    )  # fmt: skip
    return "outcome", record


DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LOG = (
    prediction("known", 3 * DAY),
    prediction("by event", 3 * DAY),
    prediction("contradicted", 3 * DAY),
    prediction("expired", 31 * DAY),
    prediction("open", 2 * HOUR, inputs=None),
    prediction("waiting", HOUR / 2),
    prediction("of the baseline", 5 * DAY, model_version="v1-baseline"),
    prediction("of the rule", 5 * DAY, model_version="rule"),
    prediction("golden", timedelta(0), purpose="golden"),
    prediction("shadow", timedelta(0), purpose="shadow"),
    outcome("o1", 1, 2 * DAY, prediction_id="known"),
    outcome("o2", 1, 2 * DAY, event_id="event of by event"),
    outcome("o3", 1, 2 * DAY, prediction_id="contradicted"),
    outcome("o4", 0, DAY, prediction_id="contradicted"),
    outcome("o5", 1, HOUR / 4, prediction_id="waiting"),
    outcome("o6", 1, DAY, prediction_id="nobody"),
    outcome("o7", 0, HOUR, event_id="event of known", tenant="another"),
    (
        "refusal",
        RefusalRecord(
            request_id="r", product=PRODUCT.key, model_version="v1", answered_at=NOW - 3 * DAY,
            path="/predict", status=503, latency_ms=1.0,
        ),
    ),
)  # fmt: skip


class Ran(NamedTuple):
    """One run of the way back."""

    home: Home
    result: dg.ExecuteInProcessResult

    def table(self, name: str) -> pd.DataFrame:
        """A table that left the warehouse."""
        return pd.read_parquet(self.home.table(f"traffic/{name}"))

    @property
    def failed(self) -> dict[str, str]:
        """Failed checks with their messages."""
        checks = self.result.get_asset_check_evaluations()
        return {c.check_name: c.description or "" for c in checks if not c.passed}


def run(home: Home) -> Ran:
    resources = {"home": home, "traffic": POLICY}
    assets = [build_spool([PRODUCT]), build_traffic_assets(load_manifest())]
    with dg.DagsterInstance.ephemeral() as instance:
        return Ran(home, dg.materialize(assets, instance=instance, resources=resources))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("traffic"))


@pytest.fixture(scope="module")
def empty(home: Home) -> dict[str, pd.DataFrame]:
    """What the first run leaves where no service ever ran."""
    ran = run(home)
    assert ran.result.success
    assert ran.failed == {}
    names = ("predictions", "orphans", "refusals", "daily_usage")
    return {name: ran.table(name) for name in names}


@pytest.fixture(scope="module")
def ran(home: Home, empty: dict[str, pd.DataFrame]) -> Iterator[Ran]:
    folder = home.spool(PRODUCT)
    folder.mkdir(parents=True)
    lines = [encode(n, k, r.model_dump(mode="json")) for n, (k, r) in enumerate(LOG, start=1)]
    torn = encode(len(LOG) + 2, "prediction", {"torn": True})[:-5] + b"\n"
    (folder / "20260301T000000000000-1-abcdef-000001.log").write_bytes(b"".join([*lines, torn]))
    return run(home)


def test_without_traffic_every_table_is_there_without_rows(empty: dict[str, pd.DataFrame]) -> None:
    assert {name: len(table) for name, table in empty.items()} == dict.fromkeys(empty, 0)
    assert "outcome_state" in empty["predictions"]


def test_a_lost_line_fails_its_check_and_stops_nothing(ran: Ran) -> None:
    assert ran.result.success
    assert list(ran.failed) == ["complete"]
    assert "line 19 is torn or altered" in ran.failed["complete"]
    materialized = {e.asset_key.path[-1] for e in ran.result.get_asset_materialization_events()}
    assert {"predictions", "outcomes", "refusals", "daily_usage"} <= materialized


def test_the_join_says_what_is_known_of_each_prediction(ran: Ran) -> None:
    found = ran.table("predictions").set_index("prediction_id")
    assert found["outcome_state"].to_dict() == {
        "expired": "expired", "by event": "known", "contradicted": "known", "known": "known",
        "open": "open", "waiting": "waiting", "of the baseline": "open", "of the rule": "open",
    }  # fmt: skip
    assert found["label"].dropna().to_dict() == {"by event": 1, "contradicted": 0, "known": 1}
    assert found["contradicted"].sum() == 1
    assert found.loc["contradicted", "outcome_reports"] == 2
    assert found["event_time"].is_monotonic_increasing
    assert found.loc["known", "inputs"][0] == 1.0
    assert pd.isna(found.loc["known", "inputs"][1])
    assert found.loc["open", "inputs"] is None


def test_what_belongs_to_no_prediction_is_kept_apart(ran: Ran) -> None:
    assert list(ran.table("orphans")["outcome_id"]) == ["o6", "o7"]
    assert list(ran.table("refusals")["status"]) == [503]


def test_usage_has_a_row_per_release_and_day(ran: Ran) -> None:
    usage = ran.table("daily_usage").set_index(["day", "model_version"])
    third = usage.loc[(date(2026, 2, 26), "v1")]
    assert (third["predictions"], third["requests"], third["errors"], third["outcomes"]) == (
        3, 3, 1, 3,
    )  # fmt: skip
    assert (third["share"], third["latency_p95_ms"]) == (1.0, 2.0)
    assert usage["predictions"].sum() == 8
    spares = usage.loc[date(2026, 2, 24)]  # what answers in need is no release's usage
    assert spares["predictions"].to_dict() == {"rule": 1, "v1-baseline": 1}
