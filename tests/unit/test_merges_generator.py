"""The generator: one seed one table, a law that is true of its rows, outcomes that come late.

Chapters go on with the same world; how far the drifts move the real model's inputs and what a
retrained one gains is measured through dbt in ``tests/flow/test_loop.py``.
"""

import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from assets.sources import merges_generator as generator
from assets.sources.merges import schema
from assets.sources.merges_world import Facts, conflict_probability, given_no_button
from stores.landing import content_digest


@pytest.fixture(scope="module")
def simulation() -> generator.Simulation:
    return generator.simulate(seed=0)


@pytest.fixture(scope="module")
def versions(simulation: generator.Simulation) -> pd.DataFrame:
    return simulation.table.to_pandas()


@pytest.fixture(scope="module")
def merges(simulation: generator.Simulation, versions: pd.DataFrame) -> pd.DataFrame:
    """One row per merge with its newest outcome and the law's probability."""
    newest = versions.drop_duplicates("event_id", keep="last").set_index("event_id")
    return newest.loc[simulation.event_ids].assign(law=simulation.probability)


def facts(**changes: object) -> Facts:
    """One ordinary merge with overlapping files."""
    plain = {"bias": 0.0, "overlap": 1, "hours": 48.0, "editors": 3, "merger_carelessness": 0.0,
             "editors_carelessness": 0.0, "hotness": 0.0, "lines_ours": 12.0, "lines_theirs": 12.0,
             "directory_overlap": 0.1, "generated": False}  # fmt: skip
    return Facts(**{name: np.array([value]) for name, value in {**plain, **changes}.items()})


def test_a_table_has_the_raw_schema_and_is_made_in_seconds() -> None:
    began = time.perf_counter()
    table = generator.generate(seed=3)
    assert time.perf_counter() - began < 3
    assert table.schema.equals(schema())
    assert len(set(table["event_id"].to_pylist())) == 12_000
    for field in schema():
        assert field.nullable or table[field.name].null_count == 0, field.name


def test_one_seed_gives_one_table() -> None:
    one, same, other = (generator.generate(seed, rows=500) for seed in (1, 1, 2))
    assert one.equals(same)
    assert not set(one["event_id"].to_pylist()) & set(other["event_id"].to_pylist())


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_small_tables_are_made_too(rows: int) -> None:
    assert len(generator.simulate(seed=0, rows=rows).event_ids) == rows


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="rows must be at least 1"):
        generator.generate(rows=0)


def test_the_law_is_true_of_the_rows(merges: pd.DataFrame) -> None:
    judged = merges[~merges["via_button"]]
    law = given_no_button(judged["law"].to_numpy())
    bins = np.digitize(law, [0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
    for number in np.unique(bins):
        rows = bins == number
        spread = np.sqrt((law[rows] * (1 - law[rows])).sum()) / rows.sum()
        assert abs(judged["conflict"][rows].mean() - law[rows].mean()) < 4 * spread


@pytest.mark.parametrize("seed", range(5))
def test_the_best_possible_score_and_the_base_rate_are_realistic(seed: int) -> None:
    simulation = generator.simulate(seed)
    versions = simulation.table.to_pandas()
    newest = versions.drop_duplicates("event_id", keep="last").set_index("event_id")
    newest = newest.loc[simulation.event_ids].assign(law=simulation.probability)
    judged = newest[~newest["via_button"]]
    assert 0.20 <= judged["conflict"].mean() <= 0.35
    assert 0.90 <= roc_auc_score(judged["conflict"], judged["law"]) <= 0.96
    assert 0.7 <= len(judged) / len(newest) <= 0.9


def test_the_button_refuses_conflicts(merges: pd.DataFrame) -> None:
    assert not merges.loc[merges["via_button"], "conflict"].any()


def test_outcomes_are_known_minutes_to_two_days_later(versions: pd.DataFrame) -> None:
    assert versions["known_at"].is_monotonic_increasing
    first = versions.drop_duplicates("event_id", keep="first")
    delay = first["known_at"] - first["event_time"]
    assert delay.min() >= pd.Timedelta(minutes=1)
    assert delay.max() <= pd.Timedelta(hours=48)
    assert pd.Timedelta(hours=1) < delay.median() < pd.Timedelta(hours=4)


def test_corrections_come_later_and_change_only_the_outcome(versions: pd.DataFrame) -> None:
    repeated = versions[versions["event_id"].duplicated(keep=False)]
    assert 0.015 < repeated["event_id"].nunique() / versions["event_id"].nunique() < 0.025
    for _, pair in repeated.groupby("event_id"):
        old, new = pair.iloc[0], pair.iloc[1]
        assert len(pair) == 2
        assert new["known_at"] - old["known_at"] >= pd.Timedelta(hours=1)
        assert new["conflict"] != old["conflict"]
        same = versions.columns.drop(["known_at", "conflict", "conflicted_files"])
        assert old[same].astype(str).equals(new[same].astype(str))


def test_counts_agree_with_the_listed_ids(merges: pd.DataFrame) -> None:
    assert (merges["editor_ids"].map(len) == merges["concurrent_editors"]).all()
    assert (merges["overlap_file_ids"].map(len) == merges["files_overlap"]).all()
    sides = merges["editors_ours"] + merges["editors_theirs"] - merges["editors_both_sides"]
    assert (sides == merges["concurrent_editors"]).all()
    assert (merges["files_overlap"] <= merges[["files_ours", "files_theirs"]].min(axis=1)).all()
    assert (merges["overlap_edits_max"] <= merges["overlap_edits_sum"]).all()
    assert (merges["base_time"] < merges["event_time"]).all()
    inside = [m in e for m, e in zip(merges["merger_id"], merges["editor_ids"], strict=True)]
    assert all(inside)


def test_tenants_share_id_ranges_and_some_merges_share_a_second(merges: pd.DataFrame) -> None:
    people = merges.groupby("tenant")["merger_id"].agg(set)
    assert len(people) == 6
    assert all(len(people.iloc[0] & other) > 30 for other in people)
    tied = merges.duplicated(["tenant", "merger_id", "event_time"])
    assert 0.005 < tied.mean() < 0.02


def test_the_law_without_an_overlapping_file_is_near_zero() -> None:
    careless = facts(overlap=0, merger_carelessness=3.0, hotness=3.0)
    assert conflict_probability(careless)[0] == pytest.approx(1 / (1 + np.exp(5.5)))


@pytest.mark.parametrize(
    "change",
    [
        {"merger_carelessness": 1.0},
        {"editors_carelessness": 1.0},
        {"hotness": 1.0},
        {"lines_ours": 50.0, "lines_theirs": 50.0},
        {"directory_overlap": 0.9},
        {"bias": 1.0},
    ],
)
def test_each_danger_raises_the_law(change: dict[str, float]) -> None:
    assert conflict_probability(facts(**change))[0] > conflict_probability(facts())[0] + 0.1


def test_the_law_crosses_age_with_crowd() -> None:
    """No weighted sum can say this: either alone raises the risk or lowers it, by the other."""
    risk = {
        (hours, editors): conflict_probability(facts(hours=hours, editors=editors))[0]
        for hours in (10.0, 200.0)
        for editors in (2, 6)
    }
    assert risk[200.0, 6] > risk[10.0, 6] + 0.3
    assert risk[10.0, 2] > risk[200.0, 2] + 0.3


def test_the_button_takes_only_peace_from_the_rest() -> None:
    assert given_no_button(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 0.5 / 0.875, 1])


def test_ids_are_lists_of_whole_numbers(simulation: generator.Simulation) -> None:
    assert simulation.table.schema.field("editor_ids").type == pa.list_(pa.int64())


ROWS = 2_000
DRIFTS: tuple[generator.Drift, ...] = ("none", "harmless", "harmful", "noise")


@pytest.fixture(scope="module")
def chapters() -> dict[str, pd.DataFrame]:
    """Each drift's newest version per merge, with the law's probability, after 12,000 rows."""
    found = {}
    for drift in DRIFTS:
        simulation = generator.simulate_chapter(0, 1, ROWS, drift)
        newest = simulation.table.to_pandas().drop_duplicates("event_id", keep="last")
        newest = newest.set_index("event_id").loc[simulation.event_ids]
        found[drift] = newest.assign(law=simulation.probability)
    return found


def test_the_first_rows_are_those_that_earlier_releases_made() -> None:
    """Golden artifacts and every held snapshot depend on them."""
    made = {(seed, rows): content_digest(generator.generate(seed, rows))
            for seed, rows in ((0, 12_000), (1, 500), (3, 1))}  # fmt: skip
    assert made == {
        (0, 12_000): "bf1bbf16e6e4aade",
        (1, 500): "00a43206ae2a1843",
        (3, 1): "2207a93bdde3eb15",
    }


def test_a_chapter_goes_on_where_the_rows_before_it_ended(merges: pd.DataFrame) -> None:
    first = generator.chapter(0, 1, ROWS, "harmless").to_pandas()
    second = generator.chapter(0, 2, 500, "harmful", after=12_000 + ROWS).to_pandas()
    assert generator.chapter(0, 1, 10).schema.equals(schema())
    assert merges["event_time"].max() < first["event_time"].min()
    assert first["event_time"].max() < second["event_time"].min()
    assert second["event_time"].min() - first["event_time"].max() < pd.Timedelta(days=1)
    hours = (first["event_time"].max() - first["event_time"].min()) / pd.Timedelta(hours=1)
    assert hours == pytest.approx(ROWS, rel=0.02), "about one merge per hour, as before"
    ids = [set(merges.index), set(first["event_id"]), set(second["event_id"])]
    assert len(set.union(*ids)) == sum(len(one) for one in ids) == 12_000 + ROWS + 500
    assert (first["known_at"] > first["event_time"]).all()


def test_one_seed_and_number_give_one_chapter() -> None:
    one, same, other = (generator.chapter(0, number, 300, after=1_000) for number in (1, 1, 2))
    assert one.equals(same)
    assert not one["merger_id"].equals(other["merger_id"])
    with pytest.raises(ValueError, match="numbered from 1, got 0"):
        generator.chapter(0, 0, 300)
    with pytest.raises(ValueError, match="rows must be at least 1"):
        generator.chapter(0, 1, 0)


def test_a_chapter_has_the_same_careless_people_and_hot_files(
    merges: pd.DataFrame, chapters: dict[str, pd.DataFrame]
) -> None:
    def rates(rows: pd.DataFrame) -> pd.Series:
        hard = rows[rows["files_overlap"] > 0]
        by_person = hard.groupby(["tenant", "merger_id"])["law"].agg(["mean", "size"])
        return by_person.loc[by_person["size"] >= 8, "mean"]

    before = rates(merges)
    for drift in ("none", "harmless"):
        after = rates(chapters[drift])
        assert len(after) > 30
        assert np.corrcoef(before.loc[after.index], after)[0, 1] > 0.7


def test_each_drift_moves_what_it_says(
    merges: pd.DataFrame, chapters: dict[str, pd.DataFrame]
) -> None:
    def middle(rows: pd.DataFrame, column: str) -> float:
        return float(rows.loc[rows["files_overlap"] > 0, column].mean())

    moved = ("files_theirs", "commits_theirs", "theirs_edit_frequency")
    for column in moved:
        usual = middle(merges, column)
        assert middle(chapters["none"], column) == pytest.approx(usual, rel=0.1)
        for drift in ("harmless", "harmful", "noise"):
            assert middle(chapters[drift], column) > 1.4 * usual
    lines = {drift: rows["lines_overlap_ours"].quantile(0.9) for drift, rows in chapters.items()}
    assert lines["harmless"] < 1.5 * merges["lines_overlap_ours"].quantile(0.9)
    assert lines["harmful"] > 20 * lines["harmless"]


def test_only_noise_takes_the_law_away(chapters: dict[str, pd.DataFrame]) -> None:
    judged = {drift: rows[~rows["via_button"]] for drift, rows in chapters.items()}
    best = {d: roc_auc_score(rows["conflict"], rows["law"]) for d, rows in judged.items()}
    for drift in ("none", "harmless", "harmful"):
        assert 0.90 <= best[drift] <= 0.97
    hard = judged["noise"][judged["noise"]["files_overlap"] > 0]
    assert set(hard["law"]) == {0.5}
    share = hard["conflict"].mean()
    assert share == pytest.approx(given_no_button(np.array([0.5]))[0], abs=0.05)


def test_generated_code_turns_the_law_around() -> None:
    """What the first rows taught is wrong of it: more lines, more danger; stale and crowded too."""
    wild = {"lines_ours": 5_000.0, "lines_theirs": 5_000.0}
    people = conflict_probability(facts(**wild))[0]
    assert conflict_probability(facts(generated=True, **wild))[0] < people - 0.7
    risk = {
        hours: conflict_probability(facts(generated=True, hours=hours, editors=6, **wild))[0]
        for hours in (10.0, 200.0)
    }
    assert risk[10.0] > 3 * risk[200.0]
