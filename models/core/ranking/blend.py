"""A weighted blend of fitted members, weights chosen on interactions none of them has seen.

Members score on scales of their own, so each user's scores are standardised over the catalogue
before they are added. The weights come from bagged ensemble selection (Caruana, Niculescu-Mizil,
Crew, Ksikes: Ensemble selection from libraries of models, ICML 2004): the member whose addition
gives the best nDCG@10 joins, with repetition, so many times, on several samples of the users; a
weight is how often. Every member stays selectable by its name. Does not belong here: fitting them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.contracts.base import Frozen
from models.contracts.learner import FitContext, Interactions, Vector
from models.contracts.product import Trial
from models.core.ranking import metrics, questions, recommender
from models.core.ranking.questions import Question
from models.core.ranking.recommender import CatalogueRecommender
from models.core.ranking.scorers import Numbers, Reads, Scorer, Scores

KIND = "blend"
_FILE = "blend.json"
#: The metric that the weights are chosen by, and its k.
_METRIC, _K = "ndcg_at_10", 10


class BlendParams(Frozen):
    """Parameters of a blend.

    Attributes:
        rounds: Members that join, repetitions included.
        bags: Samples of the users, with replacement, whose weights are averaged.
        max_users: So many users at most choose the weights, spread over time.
    """

    model: str = KIND
    rounds: int = 10
    bags: int = 5
    max_users: int = 1000


@dataclass(frozen=True)
class Blend:
    """A scorer over scorers.

    Attributes:
        members: Name to scorer; all read whole histories (not liked ones only).
        weights: Name to weight, of every member.
    """

    members: Mapping[str, Scorer]
    weights: Mapping[str, float]
    liked_only: bool = False
    kind: str = KIND

    def __post_init__(self) -> None:
        """Refuse members that would get another history than they were fitted on.

        Raises:
            ValueError: A member was fitted on liked interactions only.
        """
        if picky := [name for name, member in self.members.items() if member.liked_only]:
            raise ValueError(f"members {picky} read liked items only; fit them with all of them")

    @property
    def reads(self) -> Reads:
        """What any of its members can answer from; nothing when one needs nothing."""
        each = [member.reads for name, member in self.members.items() if self.weights[name]]
        every: Reads = ("user", "history")
        return tuple(r for r in every if any(r in one for one in each)) if all(each) else ()

    def score(self, users: Numbers, histories: Sequence[Numbers]) -> Scores:
        """The weighted sum of the members' standardised scores; see ``Scorer``."""
        used = [name for name, weight in self.weights.items() if weight]
        parts = (self.weights[n] * standardised(self.members[n], users, histories) for n in used)
        return cast("Scores", reduce(np.add, parts))  # no copy of all parts side by side

    def save(self, folder: Path) -> None:
        """Write the weights; the members are saved beside it (see ``BlendedRecommender``)."""
        (folder / _FILE).write_text(json.dumps({"weights": dict(self.weights)}, indent=1))


def standardised(member: Scorer, users: Numbers, histories: Sequence[Numbers]) -> Scores:
    """Scores with mean 0 and deviation 1 over the catalogue, shape (b, m).

    A row is 0 where the member has nothing to answer from, or scores everything alike.
    """
    lengths = np.array([len(history) for history in histories])
    able = {"user": users >= 0, "history": lengths > 0}
    can = np.logical_or.reduce([able[r] for r in member.reads] or [np.ones(len(users), bool)])
    scores = np.zeros((len(users), 0), np.float32)
    if can.any():
        some = member.score(users[can], [h for h, yes in zip(histories, can, strict=True) if yes])
        some -= some.mean(axis=1, keepdims=True)
        deviation = some.std(axis=1, keepdims=True)
        some /= np.where(deviation > 0, deviation, 1)
        if can.all():
            return some
        scores = np.zeros((len(users), some.shape[1]), np.float32)
        scores[can] = some
    return scores


class BlendedRecommender(CatalogueRecommender):
    """A recommender whose first member is a blend of the others; saves those only once."""

    def save(self, folder: Path) -> None:
        """Write the other members as a recommender, and the blend's weights beside."""
        members = {name: one for name, one in self.members.items() if name != KIND}
        self.with_members(members).save(folder)
        self.members[KIND].save(folder)


def fit(trial: Trial, rows: Interactions, context: FitContext) -> BlendedRecommender:
    """Choose the weights of the recommenders of ``Trial.after``.

    Args:
        trial: Its parameters.
        rows: Interactions that no member was fitted on.
        context: ``bases`` has the members, each a recommender of one.

    Raises:
        ValueError: No members, no user who likes something new, or members that read liked items
            only.
    """
    params = BlendParams.model_validate(trial.params)
    bases: Mapping[str, CatalogueRecommender] = context.bases
    asked = questions.questions(rows)
    if not bases or not asked:
        raise ValueError(
            f"trial {trial.name!r} blends {len(bases)} members on {len(asked)} users; name members "
            "in after, and give it more rows"
        )
    members = {name: base.members[base.algorithms[0]] for name, base in bases.items()}
    first = next(iter(bases.values()))
    step = -(-len(asked) // params.max_users)
    weights = _select(first, members, asked[::step], params, trial.seed)
    context.say(f"blend of { ({name: weight for name, weight in weights.items() if weight}) }")
    return _blended(first, members, weights)


def load(folder: Path) -> CatalogueRecommender:
    """Load a recommender, with its blend where it has one."""
    found = recommender.load(folder)
    if not (folder / _FILE).exists():
        return found
    weights = json.loads((folder / _FILE).read_text())["weights"]
    return _blended(found, found.members, weights)


def _blended(
    base: CatalogueRecommender, members: Mapping[str, Scorer], weights: Mapping[str, float]
) -> BlendedRecommender:
    everyone = {KIND: Blend(dict(members), dict(weights)), **members}
    return BlendedRecommender(
        base.items, base.users, everyone, base.seen, base.popularity, base.categories
    )


def _select(
    base: CatalogueRecommender,
    members: Mapping[str, Scorer],
    asked: Sequence[Question],
    params: BlendParams,
    seed: int,
) -> dict[str, float]:
    """Weights that sum to 1, the mean over the bags; of equal gains that of the better member."""
    users, since = _numbers(base, asked)
    histories = [_merged(base.seen.of(u, False), s) for u, s in zip(users, since, strict=True)]
    banned = np.zeros((len(asked), len(base.items)), bool)
    for row, history in zip(banned, histories, strict=True):
        row[history] = True
    relevant = questions.relevant_items(asked, base.items)
    judged = np.diff(relevant.indptr) > 0  # what was liked may be newer than the members
    scores = {
        name: np.where(banned, -np.inf, standardised(member, users, histories))[judged]
        for name, member in members.items()
    }
    counts = base.popularity.counts.astype(float)

    def values(total: NDArray[np.float32]) -> Vector:
        return metrics.per_user([_METRIC], _best(total), relevant[judged], counts)[_METRIC]

    alone = {name: float(values(s).mean()) for name, s in scores.items()}
    best_first = sorted(scores, key=lambda name: -alone[name])
    rng, chosen = np.random.default_rng(seed), dict.fromkeys(members, 0)
    for _ in range(params.bags):
        bag = rng.multinomial(judged.sum(), np.full(judged.sum(), 1 / judged.sum()))
        total = np.zeros((len(bag), len(base.items)), np.float32)
        for _ in range(params.rounds):
            gains = {n: round(float(values(total + scores[n]) @ bag), 9) for n in best_first}
            name = max(gains, key=lambda each: gains[each])
            total, chosen[name] = total + scores[name], chosen[name] + 1
    return {name: count / (params.rounds * params.bags) for name, count in chosen.items()}


def _numbers(
    base: CatalogueRecommender, asked: Sequence[Question]
) -> tuple[Numbers, list[Numbers]]:
    users = np.array([base.user_numbers.get(question.user, -1) for question in asked], np.int64)
    known = base.item_numbers
    since = [np.array([known[i] for i in q.history if i in known], np.int64) for q in asked]
    return users, since


def _merged(before: Numbers, since: Numbers) -> Numbers:
    return np.concatenate([before[~np.isin(before, since)], since])


def _best(scores: NDArray[np.float32]) -> Numbers:
    """The _K best items of each row, best first, shape (n, at most _K)."""
    k = min(_K, scores.shape[1])
    some = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1, kind="stable")
    ranked: Numbers = np.take_along_axis(some, order, axis=1).astype(np.int64)
    return ranked
