"""What a ranking model is asked when it is judged, and what would have been right.

A user of the later rows is asked once, in the middle: what they did in the first half of those rows
is known by then and goes with the request, as a client would send it; what they liked in the second
half is to be found. So a user nobody knew when the model was fitted is no lost case, and neither
the model nor the request ever sees a later row. Belongs here: this protocol. Does not belong here:
metrics, models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from models.contracts.learner import Interactions, Query, Ranking
from models.core.ranking.scorers import Numbers

#: The newest so many items go with a request; older ones the model knows.
MOST_HISTORY = 50


class Question(NamedTuple):
    """One user, asked once.

    Attributes:
        user: Id.
        history: Ids of the user's newest items at that moment, newest last.
        relevant: Ids of what they liked from then on and had nothing to do with before; at least 1.
        row: Position of the first row from then on, in the time order of the later rows.
    """

    user: str
    history: tuple[str, ...]
    relevant: tuple[str, ...]
    row: int


def questions(later: Interactions, earlier: Interactions | None = None) -> list[Question]:
    """One question per user of the later rows who likes something new in their second half.

    Args:
        later: The rows that judge. Rows of one moment are in the same half, the second.
        earlier: Rows before them, for the history and for what is not new; None: not known here.

    Returns:
        In the order of the rows they are asked at.
    """
    past = {} if earlier is None else _items_by_user(earlier)
    order = np.argsort(later.users, kind="stable")  # rows are in time order already
    users = np.split(order, np.flatnonzero(np.diff(later.users[order])) + 1)
    asked = (_question(later, rows, past) for rows in users)
    return sorted((one for one in asked if one is not None), key=lambda question: question.row)


def query(question: Question, k: int) -> Query:
    """The question as a request."""
    return Query(user=question.user, k=k, history=question.history)


def relevant_items(asked: Sequence[Question], items: Sequence[str]) -> sp.csr_array:
    """What would be right, shape (n, m); relevant items outside the catalogue are left out."""
    numbers = {item: number for number, item in enumerate(items)}
    pairs = [
        (row, numbers[item])
        for row, question in enumerate(asked)
        for item in question.relevant
        if item in numbers
    ]
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(asked), len(items)))


def in_numbers(answers: Sequence[Ranking], items: Sequence[str], k: int) -> Numbers:
    """Rankings as item numbers, shape (n, k); -1 where nothing was answered or nobody knows it."""
    numbers = {item: number for number, item in enumerate(items)}
    ranked = np.full((len(answers), k), -1, np.int64)
    for row, answer in zip(ranked, answers, strict=True):
        row[: len(answer.items)] = [numbers.get(item, -1) for item in answer.items]
    return ranked


def _question(later: Interactions, rows: Numbers, past: Mapping[str, list[str]]) -> Question | None:
    """Of one user's rows, in time order; None when nothing new is liked in the second half."""
    user = later.user_ids[later.users[rows[0]]]
    first = int(np.searchsorted(later.times[rows], later.times[rows[len(rows) // 2]], "left"))
    ids = [later.catalogue.items[number] for number in later.items[rows]]
    known = [*past.get(user, ()), *ids[:first]]
    liked = [item for item, yes in zip(ids[first:], later.liked[rows[first:]], strict=True) if yes]
    new = tuple(dict.fromkeys(item for item in liked if item not in set(known)))
    if not new:
        return None
    newest = list(dict.fromkeys(reversed(known)))[:MOST_HISTORY]
    return Question(user, tuple(reversed(newest)), new, int(rows[first]))


def _items_by_user(rows: Interactions) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for user, item in zip(rows.users.tolist(), rows.items.tolist(), strict=True):
        found.setdefault(rows.user_ids[user], []).append(rows.catalogue.items[item])
    return found
