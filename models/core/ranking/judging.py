"""Fitted models asked the questions, and their answers measured user by user.

Belongs here: from questions to values per user. Does not belong here: what is asked of whom
(``questions``), what a metric is (``metrics``), measures of the whole (``examine``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from models.contracts.learner import Catalogue, Interactions, Ranking, Recommender, Vector
from models.core.metrics import PER_USER
from models.core.ranking import frames, metrics, questions, watch
from models.core.ranking.questions import Question
from models.core.ranking.recommender import CatalogueRecommender
from models.core.ranking.scorers import Numbers

if TYPE_CHECKING:
    import pandas as pd

#: Items asked for: the most that a metric reads.
LONGEST = 20


def users_asked(earlier: pd.DataFrame, later: pd.DataFrame, items: Catalogue) -> int:
    """How many users of the later rows would be asked."""
    rows = (frames.interactions(frame, items) for frame in (later, earlier))
    return len(questions.questions(*rows))


def counts(rows: Interactions) -> Vector:
    """Interactions per item of the catalogue, shape (m,)."""
    return np.bincount(rows.items, minlength=len(rows.catalogue.items)).astype(np.float64)


def measure(
    rankings: Sequence[Ranking], asked: Sequence[Question], items: Catalogue, seen: Vector
) -> dict[str, Vector]:
    """Every metric per user, each of shape (n,).

    Args:
        rankings: n answers of ``LONGEST`` items.
        asked: n questions.
        items: The catalogue.
        seen: Shape (m,), training interactions per item.
    """
    ranked = questions.in_numbers(rankings, items.items, LONGEST)
    relevant = questions.relevant_items(asked, items.items)
    return metrics.per_user(PER_USER, ranked, relevant, seen)


def answers(models: Sequence[Recommender], asked: Sequence[Question]) -> list[Ranking]:
    """The answer to each question by the model of the same place; equal models answer at once."""
    found: dict[int, Ranking] = {}
    for model in {id(one): one for one in models}.values():
        mine = [number for number, one in enumerate(models) if one is model]
        queries = [questions.query(asked[number], LONGEST) for number in mine]
        found.update(zip(mine, model.recommend(queries), strict=True))
    return [found[number] for number in range(len(asked))]


def known(model: CatalogueRecommender, asked: Sequence[Question]) -> Vector:
    """How many items of each user are known when the question is asked, shape (n,)."""
    queries = (questions.query(question, LONGEST) for question in asked)
    return np.array([watch.past(model, query) for query in queries], np.float64)


def half(users: Iterable[str]) -> Numbers:
    """0 or 1 for each user id, the same in every run."""
    return np.array([crc32(user.encode()) % 2 for user in users], np.int64)
