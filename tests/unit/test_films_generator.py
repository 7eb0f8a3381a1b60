"""Generated ratings: the same for a seed, and with the laws that the world says it has."""

import numpy as np
import pandas as pd
import pytest

from assets.sources import films_generator, films_world
from assets.sources.films import items_schema, ratings_schema


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    return films_generator.ratings(0, 12_000).to_pandas()


@pytest.fixture(scope="module")
def items() -> pd.DataFrame:
    return films_generator.items(0, 12_000).to_pandas()


def test_a_seed_is_a_table_and_another_seed_another() -> None:
    one, again, other = (films_generator.ratings(seed, 400) for seed in (1, 1, 2))
    assert one.equals(again)
    assert not one.equals(other)
    assert one.schema.equals(ratings_schema())
    assert films_generator.items(1, 400).schema.equals(items_schema())


def test_too_few_rows_make_no_world() -> None:
    with pytest.raises(ValueError, match="at least 200, got 100"):
        films_generator.ratings(0, 100)


def test_rows_are_those_asked_for_and_nobody_rates_a_film_twice(
    ratings: pd.DataFrame, items: pd.DataFrame
) -> None:
    assert len(ratings) == 12_000
    assert ratings["event_id"].is_unique
    assert not ratings.duplicated(["user_id", "item_id"]).any()
    assert ratings["event_time"].is_monotonic_increasing
    assert set(ratings["rating"]) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert ratings["item_id"].isin(items["item_id"]).all()


def test_no_film_is_rated_before_it_is_there(ratings: pd.DataFrame, items: pd.DataFrame) -> None:
    entered = ratings["item_id"].map(items.set_index("item_id")["known_at"])
    assert (ratings["event_time"] >= entered).all()
    assert (items["known_at"] > items["known_at"].min()).any(), "some films come late"


def test_a_few_films_have_most_of_the_ratings(ratings: pd.DataFrame, items: pd.DataFrame) -> None:
    counts = np.sort(ratings["item_id"].value_counts().to_numpy())[::-1]
    assert counts[: len(items) // 5].sum() > 0.45 * counts.sum()


def test_the_next_film_of_a_series_often_follows(ratings: pd.DataFrame) -> None:
    ordered = ratings.sort_values(["user_id", "event_time"], kind="stable")
    number = ordered["item_id"].str[1:].astype(int)
    same_user = ordered["user_id"] == ordered["user_id"].shift()
    next_one = (number == number.shift() + 1) & (number % films_world.SERIES != 0)
    chance = 1 / ratings["item_id"].nunique()
    assert next_one[same_user].mean() > 20 * chance


def test_people_stay_with_their_genres(ratings: pd.DataFrame, items: pd.DataFrame) -> None:
    """Two ratings of one person share the main genre more often than two of different people."""
    category = ratings["item_id"].map(items.set_index("item_id")["category"])
    shares = category.value_counts(normalize=True)
    by_user = category.groupby(ratings["user_id"])
    own = by_user.apply(lambda c: (c.value_counts(normalize=True) ** 2).sum()).mean()
    assert own > 1.5 * float((shares**2).sum())


def test_descriptions_are_made_of_the_words_of_the_genres(items: pd.DataFrame) -> None:
    words = {word for text in films_world.GENRES.values() for word in text.split()}
    assert set(" ".join(items["description"]).split()) <= words
    first = items.iloc[0]
    assert first["category"] == first["tags"].split()[0]
