"""What a mean over users hides: who is never recommended, what follows popularity, who is new.

Belongs here: measures of a fitted recommender beyond the metrics per user. Does not belong here:
those (``metrics``), tests and thresholds (a guardrail of the product may name any of these).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.contracts.learner import Catalogue, Recommender, Vector
from models.contracts.results import Measure
from models.core.ranking import metrics, questions
from models.core.ranking.questions import Question
from models.core.ranking.scorers import Numbers

K = 10
_NDCG = f"ndcg_at_{K}"


def examine(
    model: Recommender, asked: Sequence[Question], items: Catalogue, counts: Vector
) -> dict[str, Measure]:
    """Every measure of one model.

    Args:
        model: The model.
        asked: n questions.
        items: The catalogue of m items.
        counts: Shape (m,), training interactions per item.

    Returns:
        ``catalogue.*``: how much of the catalogue the lists use. ``popularity.*``: how much more
        popular the lists are than what the same users chose. ``cold.*``: users and items without
        training rows. ``history.*``: what is left when the request brings no history, or half.
    """
    queries = [questions.query(question, K) for question in asked]
    answers = model.recommend(queries)
    ranked = questions.in_numbers(answers, items.items, K)
    new = np.array([not answer.known for answer in answers])
    return {
        **_catalogue(ranked, len(items.items)),
        **_popularity(ranked, asked, items, counts),
        **_cold(ranked, asked, items, counts, new),
        **_history(model, ranked, asked, items, counts),
    }


def _catalogue(ranked: Numbers, items: int) -> dict[str, Measure]:
    covered, unequal = metrics.coverage(ranked, items), metrics.gini(ranked, items)
    return {
        "catalogue.coverage_at_10": _measure("share of the catalogue in any list of ten", covered),
        "catalogue.gini_at_10": _measure(
            "inequality of how often items are listed", unequal, higher=False
        ),
    }


def _popularity(
    ranked: Numbers, asked: Sequence[Question], items: Catalogue, counts: Vector
) -> dict[str, Measure]:
    numbers = {item: number for number, item in enumerate(items.items)}
    below = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
    percentile = (below + 0.5) / len(counts)
    shown = [percentile[row[row >= 0]].mean() for row in ranked if (row >= 0).any()]
    chosen = [
        percentile[[numbers[item] for item in question.relevant if item in numbers]].mean()
        for question in asked
        if any(item in numbers for item in question.relevant)
    ]
    return {
        "popularity.lift": _measure(
            "popularity percentile of the lists over that of what the users chose",
            float(np.mean(shown) - np.mean(chosen)),
            higher=False,
        )
    }


def _cold(
    ranked: Numbers,
    asked: Sequence[Question],
    items: Catalogue,
    counts: Vector,
    new: np.ndarray,
) -> dict[str, Measure]:
    answered = ranked[ranked >= 0]
    found = {
        "cold.share_of_new_users": _measure(
            "share of the users the model was not fitted on", float(new.mean())
        ),
        "cold.share_of_new_items": _measure(
            "share of listed items nobody had to do with in training",
            float((counts[answered] == 0).mean()),
        ),
    }
    if new.any():
        mine = [question for question, yes in zip(asked, new, strict=True) if yes]
        found["cold.ndcg_at_10"] = _measure(
            "nDCG@10 of users the model was not fitted on", _ndcg(ranked[new], mine, items, counts)
        )
    return found


def _history(
    model: Recommender,
    ranked: Numbers,
    asked: Sequence[Question],
    items: Catalogue,
    counts: Vector,
) -> dict[str, Measure]:
    whole = _ndcg(ranked, asked, items, counts)
    found = {}
    for name, title, keep in (("none", "no", 0), ("half", "half of the", 2)):
        cut = [q._replace(history=q.history[::keep] if keep else ()) for q in asked]
        answers = model.recommend([questions.query(question, K) for question in cut])
        # items of the history may be recommended when the model was not told of them: as in life
        value = _ndcg(questions.in_numbers(answers, items.items, K), asked, items, counts)
        found[f"history.{name}"] = _measure(
            f"nDCG@10 with {title} history in the request, as a share of that with all of it",
            value / whole if whole else 0.0,
        )
    return found


def _ndcg(ranked: Numbers, asked: Sequence[Question], items: Catalogue, counts: Vector) -> float:
    relevant = questions.relevant_items(asked, items.items)
    return float(metrics.per_user([_NDCG], ranked, relevant, counts)[_NDCG].mean())


def _measure(title: str, value: float, *, higher: bool = True) -> Measure:
    return Measure(title=title, value=value, low=value, high=value, higher_is_better=higher)
