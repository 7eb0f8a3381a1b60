"""Tables of a ranking product, small enough to say what is right, and a trial fitted on them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.contracts.learner import FitContext
from models.contracts.product import Trial
from models.contracts.results import Candidate
from models.kinds import Model, Tables, kind_of
from models.recommendation.films.learner import FilmsLearner
from models.recommendation.films.product import PRODUCT

KIND = kind_of("ranked_items")
ITEMS = PRODUCT.data.tables[0]


def feature_table(rows: list[tuple[str, str, float, int]]) -> pd.DataFrame:
    """A feature table of (user, item, stars, hour), with point-in-time counts worked out here."""
    frame = pd.DataFrame(rows, columns=["user", "item", "strength", "hour"])
    past = [
        int(((frame["user"] == user) & (frame["hour"] < hour)).sum())
        for user, hour in zip(frame["user"], frame["hour"], strict=True)
    ]
    of_item = [
        int(((frame["item"] == item) & (frame["hour"] < hour)).sum())
        for item, hour in zip(frame["item"], frame["hour"], strict=True)
    ]
    moment = pd.Timestamp("2024-01-01").as_unit("us") + pd.to_timedelta(frame["hour"], "h").astype(
        "timedelta64[us]"
    )
    return frame.assign(
        event_id=[f"e{number}" for number in range(len(frame))],
        tenant="films",
        event_time=moment,
        known_time=moment,
        label=(frame["strength"] >= 4).astype(np.int32),
        judged=True,
        slice_cold=[n < 5 for n in past],
        user_past_interactions=past,
        item_past_interactions=of_item,
    ).drop(columns="hour")


def crowd(people: int = 60, films: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two circles that each watch their half of the films, round and round, four an hour."""
    rows = []
    for step in range(12):
        for person in range(people):
            half = person % 2 * (films // 2)
            film = half + (person // 2 + step) % (films // 2)
            rows.append((f"u{person:02d}", f"f{film:02d}", 5.0 if step % 3 else 2.0, step))
    table = feature_table(rows)
    items = pd.DataFrame(
        {"item": [f"f{n:02d}" for n in range(films)], "title": "", "category": "x"}
    )
    return table, items


def divided() -> Tables:
    """The crowd's rows: the first 70 % train."""
    table, items = crowd()
    border = table["event_time"].sort_values().iloc[int(len(table) * 0.7)]
    train, holdout = table[table["event_time"] < border], table[table["event_time"] >= border]
    return Tables(train.reset_index(drop=True), holdout.reset_index(drop=True), {ITEMS: items})


def fitted(trial: Trial, tables: Tables, context: FitContext) -> Model:
    """A trial through the kind, as the stages keep it."""
    found = KIND.fit(PRODUCT, FilmsLearner(), trial, tables, context)
    candidate = Candidate(
        product=PRODUCT.key, trial=trial.name, candidate_id="c", snapshot_id="s", learner="l",
        code_version="v", params=trial.params, columns=PRODUCT.data.names, tenants=("films",),
        seed=0, cv=dict(found.cv), threshold=found.threshold, thresholds=dict(found.thresholds),
        fit_seconds=found.seconds, files={},
    )  # fmt: skip
    return Model(candidate, found.predictor)
