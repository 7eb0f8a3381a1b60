"""Friends from a table of the snapshot to the learners that read them."""

import numpy as np
import pandas as pd
import pytest

from models.contracts.learner import FitContext, Query
from models.contracts.product import Trial
from models.core.ranking import frames
from models.kinds import Tables, kind_of
from models.recommendation.films.learner import FilmsLearner
from models.recommendation.films.product import PRODUCT

KIND = kind_of("ranked_items")
ITEMS, FRIENDS = PRODUCT.data.tables[0], "features/recommendation/friends"
SOCIAL = PRODUCT.model_copy(
    update={"data": PRODUCT.data.model_copy(update={"tables": (ITEMS, FRIENDS)})}
)
IDS = np.array(["ann", "bob", "cy"])
NOON = pd.Timestamp("2024-01-01 12:00")


def edges(pairs, **more):
    return pd.DataFrame([*pairs], columns=["user", "friend"]).assign(**more)


def test_edges_are_between_known_users_once_and_in_numbers():
    pairs = [("bob", "ann"), ("ann", "bob"), ("cy", "bob"), ("cy", "cy"), ("ann", "stranger")]
    assert frames.friends_among(IDS, edges(pairs), NOON).tolist() == [[0, 1], [1, 2]]
    assert frames.friends_among(IDS, edges([]), NOON).shape == (0, 2)
    assert frames.friends_among(IDS, None, NOON).shape == (0, 2)


def test_a_friendship_that_came_later_is_not_known():
    times = [NOON, NOON + pd.Timedelta("1s")]
    known = edges([("ann", "bob"), ("ann", "cy")], event_time=times)
    assert frames.friends_among(IDS, known, NOON).tolist() == [[0, 1]]


def test_a_table_without_its_columns_says_which():
    with pytest.raises(ValueError, match="lacks friend: add it"):
        frames.friends_among(IDS, pd.DataFrame({"user": ["ann"]}), NOON)


def tables(more=()):
    """Forty people, each with two of ten films an hour apart; newcomers have none of their own."""
    rows = [
        (f"u{person:02d}", f"f{(person + 5 * late) % 10}", NOON + pd.Timedelta(hours=person + late))
        for person in range(40)
        for late in (0, 1)
    ]
    frame = pd.DataFrame(rows, columns=["user", "item", "event_time"])
    frame = frame.sort_values("event_time", kind="stable", ignore_index=True)
    frame = frame.assign(
        strength=5.0, label=1, tenant="films", judged=True,
        user_past_interactions=0, item_past_interactions=0,
    )  # fmt: skip
    items = pd.DataFrame({"item": [f"f{n}" for n in range(10)]})
    return Tables(frame, frame, {ITEMS: items, **dict(more)})


def test_the_kind_gives_them_to_the_learner():
    """Who knows only u00 is recommended what u00 had, though everything is equally popular."""
    trial = Trial(name="social", params={"model": "social"})
    with pytest.raises(ValueError, match="carry no friends"):
        KIND.fit(PRODUCT, FilmsLearner(), trial, tables(), FitContext())
    given = tables({FRIENDS: edges([("u03", "u00")])}.items())
    found = KIND.fit(SOCIAL, FilmsLearner(), trial, given, FitContext())
    (answer,) = found.predictor.recommend([Query("u03", k=2)])
    assert set(answer.items) == {"f0", "f5"}
