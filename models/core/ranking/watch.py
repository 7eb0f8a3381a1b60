"""What the prediction log holds of an answered ranking: a few numbers and one probability.

The service calls ``watch`` for the log, the evaluation for the profile that traffic is compared
with: one function, so that both say the same of the same request. Imports no tables.

The probability is that the user takes one of the first ten items. It depends on how much is known
of the user, so it is a logistic curve over the logarithm of that, fitted on the validation users
(``models.kinds.ranked_items``) and kept with the candidate's thresholds. Does not belong here: how
good the ranking is; that is measured offline, and by outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from models.contracts.learner import Query, Ranking, Vector
from models.contracts.product import ModelProduct
from models.core.ranking.recommender import CatalogueRecommender

INTERCEPT, SLOPE = "hit_intercept", "hit_slope"
USER_PAST, ITEM_PAST = "user_past_interactions", "item_past_interactions"


class Noted(NamedTuple):
    """What is logged of one answer.

    Attributes:
        inputs: In the order of ``Data.columns``; NaN for null.
        score: Estimated probability that one of the first ten items is taken, 0 to 1.
    """

    inputs: tuple[float, ...]
    score: float


def watch(
    product: ModelProduct,
    thresholds: Mapping[str, float],
    recommender: CatalogueRecommender,
    query: Query,
    ranking: Ranking,
) -> Noted:
    """Describe one answered request.

    ``user_past_interactions``: items known of the user, those that came with the request included.
    ``item_past_interactions``: training interactions of the first item answered, null when none is.

    Args:
        product: Its columns say which numbers, in which order.
        thresholds: ``Candidate.thresholds`` of the model.
        recommender: The model.
        query: What was asked.
        ranking: What it answered.

    Raises:
        ValueError: The product has a column that is not known of a request.
    """
    known = past(recommender, query)
    numbers = {USER_PAST: float(known), ITEM_PAST: _first_item(recommender, ranking)}
    if strange := [name for name in product.data.names if name not in numbers]:
        raise ValueError(
            f"{product.key}: columns {strange} are not known of a request, only {list(numbers)}; "
            "take them out of Data.columns"
        )
    inputs = tuple(numbers[name] for name in product.data.names)
    return Noted(inputs, float(hit_probability(thresholds, np.array([known]))[0]))


def past(recommender: CatalogueRecommender, query: Query) -> int:
    """How many items of the user are known, from training and from the request."""
    user = recommender.user_numbers.get(query.user, -1) if query.user is not None else -1
    known = recommender.item_numbers
    sent = {known[item] for item in query.history if item in known}
    return len(sent | set(recommender.seen.of(user, liked_only=False).tolist()))


def _first_item(recommender: CatalogueRecommender, ranking: Ranking) -> float:
    if not ranking.items:
        return np.nan
    return float(recommender.popularity.counts[recommender.item_numbers[ranking.items[0]]])


def hit_probability(thresholds: Mapping[str, float], known: Vector) -> Vector:
    """The fitted curve at so many known items, each of shape (n,).

    Raises:
        KeyError: The candidate has no curve.
    """
    at = thresholds[INTERCEPT] + thresholds[SLOPE] * np.log1p(known)
    probability: Vector = 1 / (1 + np.exp(-at))
    return probability


def fit_hits(known: Vector, hits: Vector) -> dict[str, float]:
    """Fit the curve by logistic regression with a weak L2 penalty, so that it always exists.

    Args:
        known: Shape (n,), items known of each user.
        hits: Shape (n,) of 0 or 1.

    Returns:
        ``hit_intercept`` and ``hit_slope``. When all or none are hits there is no slope, and the
        intercept is that of half a case of the other kind.
    """
    from sklearn.linear_model import LogisticRegression

    share = (hits.sum() + 0.5) / (len(hits) + 1)
    if len(np.unique(hits)) < 2:
        return {INTERCEPT: float(np.log(share / (1 - share))), SLOPE: 0.0}
    fitted = LogisticRegression().fit(np.log1p(known)[:, None], hits)
    return {INTERCEPT: float(fitted.intercept_[0]), SLOPE: float(fitted.coef_[0, 0])}
