"""Why an item was recommended: the items of the history that its score comes from.

A score that is a sum over the history is divided exactly: of EASE, item-kNN and GF-CF by their
weights, of content by the profile's parts, of iALS by what each item adds to the user's factors
(Hu, Koren and Volinsky, ICDM 2008, section 5). Of the others an item's say is how much the score
falls when it is left out. SASRec's attention can be shown as well: a hint, not a reason.

Belongs here: who is explained how, and what it may cost. Does not belong here: the sums of an
algorithm (``Factored.parts``), HTTP.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.contracts.api.rankings import Explanation, How, Method, Part
from models.contracts.learner import Query, Ranking
from models.core.explain.attention import NOTE
from models.core.ranking import ease, graph_filter, itemknn, popularity
from models.core.ranking.factored import Factored
from models.core.ranking.recommender import CatalogueRecommender
from models.core.ranking.scorers import Numbers, Scorer, Scores

#: Items explained of an answer, items of a history that are weighed (the newest), and those named.
EXPLAINED, WEIGHED, NAMED = 10, 50, 5
#: Algorithms whose score is a sum over the history: without an item it falls by its summand.
_SUMS = (ease.KIND, graph_filter.KIND, itemknn.KIND)
#: Histories scored at once: each is a row of the whole catalogue.
_AT_ONCE = 8
_POPULAR = "the same ranking for everybody: how many users had to do with an item"
_NO_HISTORY = "nothing is known of what this user had to do with"
_SUMMED = "the score is the sum of what each item of the history adds"
_LEFT_OUT = "how much the score falls without the item; several together may do more, or less"


class _Told(NamedTuple):
    """What a member was told: who asks, their history, and which items of it are weighed."""

    user: int
    history: Numbers
    some: Numbers


class _Weighed(NamedTuple):
    """Says of h items of a history in the scores of n answered ones, shape (h, n)."""

    says: Scores
    how: How
    note: str


def refusal(model: CatalogueRecommender, algorithm: str | None, method: Method) -> str | None:
    """Why a member's answers cannot be explained so, and whose can; None where they can."""
    able = [name for name, member in model.members.items() if _able(member, method)]
    asked = algorithm or model.algorithms[0]
    if asked in able:
        return None
    why = {"attention": "has no attention", "history": "knows users, not what they had to do with"}
    instead = {"attention": "take method history", "history": "ask without explain"}[method]
    return f"{asked} {why[method]}; " + (f"ask {', '.join(able)}" if able else instead)


def explain(
    model: CatalogueRecommender, query: Query, ranking: Ranking, method: Method = "history"
) -> list[Explanation]:
    """Why each of the first ``EXPLAINED`` items was recommended.

    Args:
        model: Who answered.
        query: What was asked.
        ranking: What it answered.
        method: ``attention`` where the member that answered has it; else by the history.
    """
    member, asked = model.member(ranking.algorithm), model.asked(query)
    items = ranking.items[:EXPLAINED]
    history = model.history(ranking.algorithm, asked)
    newest = np.array(list(dict.fromkeys(history[::-1].tolist())), np.int64)
    if member.kind == popularity.KIND or not len(newest):
        note = _POPULAR if member.kind == popularity.KIND else _NO_HISTORY
        return [Explanation(item=item, method="none", parts=[], note=note) for item in items]
    told = _Told(asked.user, history, newest[:WEIGHED])
    numbers = np.array([model.item_numbers[item] for item in items], np.int64)
    found, note = _weigh(member, told, numbers, method), ""
    if len(newest) > WEIGHED:
        note = f"; shares of the newest {WEIGHED} of {len(newest)} items"
    return [
        Explanation(
            item=item,
            method=found.how,
            parts=_parts(model.items, told.some, says),
            note=found.note + note,
        )
        for item, says in zip(items, found.says.T, strict=True)
    ]


def _able(member: Scorer, method: Method) -> bool:
    if method == "attention":
        return hasattr(member, "attention")
    return member.reads != ("user",)


def _weigh(member: Scorer, told: _Told, items: Numbers, method: Method) -> _Weighed:
    if method == "attention" and (attention := getattr(member, "attention", None)):
        looked = attention(told.history).mean(axis=(0, 1))
        says = _together(told.some, told.history[-len(looked) :], looked[:, None])
        return _Weighed(np.repeat(says, len(items), axis=1), "attention", NOTE)
    if isinstance(member, Factored):
        parts = member.parts(told.history) @ member.items[items].T
        return _Weighed(_together(told.some, told.history, parts), "sum", _SUMMED)
    says = _left_out(member, told, items)
    if member.kind in _SUMS:
        return _Weighed(says, "sum", _SUMMED)
    return _Weighed(says, "left_out", _LEFT_OUT)


def _left_out(member: Scorer, told: _Told, items: Numbers) -> Scores:
    """How much the scores fall without each item, shape (h, n)."""
    histories = [told.history, *(told.history[told.history != item] for item in told.some)]
    scores = []
    for start in range(0, len(histories), _AT_ONCE):
        batch = histories[start : start + _AT_ONCE]
        users = np.full(len(batch), told.user, np.int64)
        scores.append(member.score(users, batch)[:, items])
    together: Scores = np.concatenate(scores)
    return together[:1] - together[1:]


def _together(some: Numbers, history: Numbers, parts: Scores) -> Scores:
    """Parts of each place of a history by item: what was met twice is one item."""
    says: Scores = (some[:, None] == history).astype(np.float32) @ parts
    return says


def _parts(ids: tuple[str, ...], some: Numbers, says: Scores) -> list[Part]:
    """The ``NAMED`` largest shares, the largest first; none where nothing has a say."""
    total = float(np.abs(says).sum())
    order = np.argsort(-np.abs(says), kind="stable")[:NAMED]
    return [Part(item=ids[some[at]], share=float(says[at]) / total) for at in order if says[at]]
