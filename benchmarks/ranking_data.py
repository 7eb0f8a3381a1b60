"""Public data for the benchmarks of ranking: rows, and what is relevant, divided as others did.

Wants the data mirror (ASSAY_MIRROR). Belongs here: reading and dividing. Does not belong here:
models, metrics, published figures (``ranking_anchors``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from models.contracts.learner import Catalogue, Interactions
from models.core.ranking.scorers import positives


class Task(NamedTuple):
    """Training rows and what is relevant; ``others`` are the only rivals of the one test item."""

    rows: Interactions
    relevant: sp.csr_array
    others: np.ndarray | None = None


def table(name: str) -> pd.DataFrame:
    folder = os.environ.get("ASSAY_MIRROR")
    if not folder:
        raise SystemExit("set ASSAY_MIRROR to the folder of the data mirror")
    return pd.read_parquet(Path(folder) / f"{name}.parquet")


def interactions(
    frame: pd.DataFrame, users: int, items: int, fields: Mapping[str, tuple[str, ...]]
) -> Interactions:
    """Columns user, item, strength, ts become rows in time order."""
    frame = frame.sort_values("ts", kind="stable")
    ids = tuple(str(number) for number in range(items))
    return Interactions(
        users=frame["user"].to_numpy(np.int64),
        items=frame["item"].to_numpy(np.int64),
        strengths=frame["strength"].to_numpy(np.float64),
        liked=np.ones(len(frame), bool),
        times=frame["ts"].to_numpy(np.float64),
        user_ids=tuple(str(number) for number in range(users)),
        catalogue=Catalogue(ids, fields),
        friends=np.empty((0, 2), np.int64),
    )


def task(
    train: pd.DataFrame, test: pd.DataFrame, fields: Mapping[str, tuple[str, ...]] = {}
) -> Task:
    both = pd.concat([train, test])
    users, items = int(both["user"].max()) + 1, int(both["item"].max()) + 1
    for names in fields.values():
        items = len(names)
    relevant = positives(interactions(test, users, items, {}), liked_only=False)
    return Task(interactions(train, users, items, fields), relevant)


def stratified(frame: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """python_stratified_split of recommenders-team: per user, the first share of a shuffle."""
    drawn = np.random.RandomState(seed).rand(len(frame))
    order = frame.assign(drawn=drawn).sort_values(["user", "drawn"])
    groups = order.groupby("user")["item"]
    first = (groups.cumcount() + 1) / groups.transform("count") <= share
    return order[first].drop(columns="drawn"), order[~first].drop(columns="drawn")


def ml100k_frame() -> tuple[pd.DataFrame, dict[str, tuple[str, ...]]]:
    ratings, films = table("movielens_100k/ratings"), table("movielens_100k/items")
    films = films.set_index("item").reindex(range(1, int(films["item"].max()) + 1)).fillna("")
    frame = ratings.rename(columns={"rating": "strength"}).assign(
        user=ratings["user"] - 1, item=ratings["item"] - 1
    )
    tags = films["genres"].str.replace("|", " ", regex=False)
    return frame, {"title": tuple(films["title"]), "tags": tuple(tags)}


def ml100k(seed: int, validate: bool) -> Task:
    frame, fields = ml100k_frame()
    train, test = stratified(frame, 0.75, seed)
    if validate:
        train, test = stratified(train, 0.75, seed)
    return task(train, test, fields)


def ml1m(seed: int, validate: bool) -> Task:
    frame = table("movielens_1m_ncf/interactions").assign(strength=1.0, ts=0.0)
    official = table("movielens_1m_ncf/test_with_99_negatives")
    others = np.array([np.asarray(row) for row in official["negatives"]], np.int64)
    train, test = frame[frame["split"] == "train"], official[["user", "item"]]
    if validate:  # one training item of each user, among 99 it had nothing to do with
        generator = np.random.default_rng(seed)
        drawn = train.assign(drawn=generator.random(len(train)))
        test = drawn.sort_values("drawn").groupby("user").head(1).sort_values("user")
        had = sp.csr_array((np.ones(len(frame)), (frame["user"], frame["item"])))
        others = np.stack([
            generator.choice(np.flatnonzero(had[[u], :].toarray()[0] == 0), 99, replace=False)
            for u in test["user"]
        ])  # fmt: skip
        train = train.drop(test.index)
    made = task(train, test[["user", "item"]].assign(strength=1.0, ts=0.0))
    return made._replace(others=others)


def gowalla(seed: int, validate: bool) -> Task:
    frame = table("gowalla_lightgcn/interactions").astype({"user": int, "item": int})
    frame = frame.assign(strength=1.0, ts=0.0)
    train, test = frame[frame["split"] == "train"], frame[frame["split"] == "test"]
    if validate:
        train, test = stratified(train, 0.9, seed)
    return task(train, test)


def lastfm(seed: int, validate: bool) -> Task:
    """Artists people listened to, and who trusts whom; LightGCN's split."""
    frame = table("lastfm_lightgcn/interactions").assign(strength=1.0, ts=0.0)
    train, test = frame[frame["split"] == "train"], frame[frame["split"] == "test"]
    if validate:
        train, test = stratified(train, 0.9, seed)
    made = task(train, test)
    trust = table("lastfm_lightgcn/trust_network")[["user", "friend"]].to_numpy(np.int64)
    known = trust[(trust < len(made.rows.user_ids)).all(axis=1)]
    edges = np.unique(np.sort(known, axis=1), axis=0)
    return made._replace(rows=made.rows._replace(friends=edges))


TASKS: dict[str, Callable[[int, bool], Task]] = {
    "ml100k": ml100k, "ml1m": ml1m, "gowalla": gowalla, "lastfm": lastfm,
}  # fmt: skip
