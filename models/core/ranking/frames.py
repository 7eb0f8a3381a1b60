"""From the feature tables of a ranking product to what its learners take.

Belongs here: tables to numbers, and which training rows validate. Does not belong here: what is
asked of whom (``questions``), reading files, dividing train and holdout (``models.core.splits``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import Catalogue, Interactions
from models.contracts.product import EVENT_TIME, FRIEND, ITEM, LABEL, STRENGTH, USER

if TYPE_CHECKING:
    import pandas as pd

#: Texts of an item that a content model may read; a table may lack any of them.
FIELDS = ("title", "description", "tags", "category")


def catalogue(items: pd.DataFrame) -> Catalogue:
    """The catalogue, items in rising order of their ids whatever the table's order.

    Args:
        items: Column ``item`` (unique) and any of ``FIELDS``.

    Raises:
        ValueError: An item stands in the table twice.
    """
    ordered = items.sort_values(ITEM, kind="stable")
    ids = ordered[ITEM].astype(str)
    if again := sorted(ids[ids.duplicated()]):
        raise ValueError(
            f"{len(again)} items stand in the catalogue twice (e.g. {again[0]}); keep the newest "
            "version of each in its SQL model"
        )
    fields = {n: tuple(ordered[n].fillna("").astype(str)) for n in FIELDS if n in ordered.columns}
    return Catalogue(tuple(ids), fields)


def interactions(
    frame: pd.DataFrame, items: Catalogue, friends: pd.DataFrame | None = None
) -> Interactions:
    """Rows of the feature table in time order, in numbers.

    Args:
        frame: n rows with ``user``, ``item``, ``strength``, ``label``, ``event_time``.
        items: The whole catalogue, items nobody had to do with included.
        friends: See ``friends_among``; None where nobody knows of any.

    Returns:
        Users numbered in rising order of their ids.

    Raises:
        ValueError: A row's item is not in the catalogue, or a column of ``friends`` is missing.
    """
    ordered = frame.sort_values(EVENT_TIME, kind="stable")
    numbers = {item: number for number, item in enumerate(items.items)}
    found = ordered[ITEM].astype(str).map(numbers)
    if found.isna().any():
        strange = ordered[ITEM][found.isna()]
        raise ValueError(
            f"{len(strange)} rows are of items that are not in the catalogue (e.g. "
            f"{strange.iloc[0]}); land the catalogue's newest version first"
        )
    ids, users = np.unique(ordered[USER].to_numpy(dtype=str), return_inverse=True)
    return Interactions(
        users=users.astype(np.int64),
        items=found.to_numpy().astype(np.int64),
        strengths=ordered[STRENGTH].to_numpy(np.float64),
        liked=ordered[LABEL].to_numpy() == 1,
        times=ordered[EVENT_TIME].to_numpy("datetime64[us]").astype(np.int64) / 1e6,
        user_ids=tuple(ids.tolist()),
        catalogue=items,
        friends=friends_among(ids, friends, ordered[EVENT_TIME].max()),
    )


def friends_among(
    ids: NDArray[np.str_], friends: pd.DataFrame | None, until: pd.Timestamp
) -> NDArray[np.int64]:
    """Edges between users that have rows, by their numbers.

    Args:
        ids: Of the users, in the order of their numbers.
        friends: An undirected edge per row: ``user`` and ``friend``; with an ``event_time``,
            edges that are newer than ``until`` are left out: nobody could know them yet.
        until: Newest moment that may be known.

    Returns:
        Shape (f, 2), each edge once, the smaller number first; nobody is their own friend.

    Raises:
        ValueError: A column is missing.
    """
    if friends is None:
        return np.empty((0, 2), np.int64)
    if missing := [name for name in (USER, FRIEND) if name not in friends.columns]:
        raise ValueError(
            f"the table of friends lacks {', '.join(missing)}: add it to its SQL model"
        )
    if EVENT_TIME in friends.columns:
        friends = friends[friends[EVENT_TIME] <= until]
    numbers = {name: number for number, name in enumerate(ids.tolist())}
    ends = friends[[USER, FRIEND]].astype(str).apply(lambda column: column.map(numbers)).dropna()
    edges = np.sort(ends.to_numpy(np.int64).reshape(-1, 2), axis=1)
    return np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0)


def newest(frame: pd.DataFrame, k: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide rows by time: those to fit on, and the newest 1 / k of them, which validate.

    Rows of one moment stay together, in the newer part.

    Raises:
        ValueError: One of the parts would be empty.
    """
    times = np.sort(frame[EVENT_TIME].to_numpy())
    border = times[len(times) - len(times) // k] if len(times) >= k else None
    older = frame[EVENT_TIME].to_numpy() < border if border is not None else np.zeros(0, bool)
    if not older.any():
        raise ValueError(
            f"{len(frame)} training rows leave none to fit on beside the newest 1/{k}; wait for "
            "more rows"
        )
    return frame[older], frame[~older]
