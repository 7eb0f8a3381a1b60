"""Metrics of rankings, per user or of the whole: relevance, novelty, popularity bias, coverage.

Belongs here: values of given rankings. Does not belong here: making them (``recommender``), means,
intervals and tests (``bootstrap``, ``significance``).

Relevance is yes or no. ``map`` divides by min(k, relevant), so that a perfect list has 1 whatever
k. The table of recommenders-team (ML-100k, MAP 0.13 at precision 0.39) divides by all relevant
items: that is ``map_all``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models.contracts.learner import Vector
from models.core.ranking.scorers import Numbers


class Lists(NamedTuple):
    """Rankings cut at k, beside what was relevant.

    Attributes:
        ranked: Shape (n, k), item numbers, best first; -1 where nothing more was answered.
        hits: Shape (n, k); whether the item there is relevant.
        relevant: Shape (n,), how many items are, at least 1.
        counts: Shape (m,), training interactions per item.
    """

    ranked: Numbers
    hits: NDArray[np.bool_]
    relevant: NDArray[np.int64]
    counts: Vector


def per_user(
    names: Iterable[str], ranked: Numbers, relevant: sp.csr_array, counts: Vector
) -> dict[str, Vector]:
    """Value of each metric for each user.

    Args:
        names: ``<metric>_at_<k>`` with a metric of ``METRICS``, e.g. ``ndcg_at_10``.
        ranked: Shape (n, at least the largest k), as ``CatalogueRecommender.rank`` gives it.
        relevant: Shape (n, m); an item is relevant to a user where something is stored.
        counts: Shape (m,), training interactions per item.

    Returns:
        Name to shape (n,).

    Raises:
        ValueError: An unknown name, rankings shorter than k, a user without a relevant item.
    """
    sizes = np.diff(relevant.indptr).astype(np.int64)
    if not sizes.all():
        raise ValueError(
            f"{(sizes == 0).sum()} users have no relevant item, nothing can be right or wrong for "
            "them: leave them out"
        )
    hits = hits_of(ranked, relevant)
    values = {}
    for name in names:
        metric, k = _parts(name, ranked.shape[1])
        values[name] = metric(Lists(ranked[:, :k], hits[:, :k], sizes, counts))
    return values


def hits_of(ranked: Numbers, relevant: sp.csr_array) -> NDArray[np.bool_]:
    """Which ranked items are relevant, shape (n, k)."""
    n, m = relevant.shape
    pairs = relevant.tocoo()
    keys = np.sort(pairs.row.astype(np.int64) * m + pairs.col)
    asked = np.where(ranked < 0, -1, np.arange(n)[:, None] * m + ranked)
    found = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    hits: NDArray[np.bool_] = keys[found] == asked
    return hits


def coverage(ranked: Numbers, items: int) -> float:
    """Share of the catalogue that is in any of the lists."""
    return len(np.unique(ranked[ranked >= 0])) / items


def gini(ranked: Numbers, items: int) -> float:
    """Inequality of how often items are in a list: 0 all alike, near 1 a few take all."""
    shown = np.sort(np.bincount(ranked[ranked >= 0], minlength=items))
    order = np.arange(1, items + 1)
    return float(((2 * order - items - 1) * shown).sum() / (items * shown.sum()))


def _discounts(k: int) -> Vector:
    discounts: Vector = 1 / np.log2(np.arange(2, k + 2))
    return discounts


def _ndcg(lists: Lists) -> Vector:
    discounts = _discounts(lists.ranked.shape[1])
    best = np.concatenate([[0.0], np.cumsum(discounts)])
    gained: Vector = (lists.hits @ discounts) / best[_reachable(lists)]
    return gained


def _recall(lists: Lists) -> Vector:
    return np.asarray(lists.hits.sum(axis=1) / lists.relevant)


def _precision(lists: Lists) -> Vector:
    return np.asarray(lists.hits.mean(axis=1), np.float64)


def _hit_rate(lists: Lists) -> Vector:
    return np.asarray(lists.hits.any(axis=1), np.float64)


def _map(lists: Lists) -> Vector:
    return _precisions_at_hits(lists) / _reachable(lists)


def _map_all(lists: Lists) -> Vector:
    return _precisions_at_hits(lists) / lists.relevant


def _precisions_at_hits(lists: Lists) -> Vector:
    places = np.arange(1, lists.ranked.shape[1] + 1)
    sums: Vector = (lists.hits * lists.hits.cumsum(axis=1) / places).sum(axis=1)
    return sums


def _reachable(lists: Lists) -> NDArray[np.int64]:
    """Hits of a perfect list."""
    return np.minimum(lists.relevant, lists.ranked.shape[1])


def _novelty(lists: Lists) -> Vector:
    """Mean self-information in bits: an item of 3 of 8 interactions has log2(8 / 3).

    An item nobody had to do with counts as one of a single interaction.
    """
    return _mean_of(np.log2(lists.counts.sum() / np.maximum(lists.counts, 1)), lists.ranked)


def _popularity(lists: Lists) -> Vector:
    """Mean popularity percentile: the share of the catalogue that is less popular, in 0 to 1.

    Equally popular items count half.
    """
    order = np.sort(lists.counts)
    below = np.searchsorted(order, lists.counts, "left")
    up_to = np.searchsorted(order, lists.counts, "right")
    return _mean_of((below + up_to) / 2 / len(order), lists.ranked)


def _mean_of(values: Vector, ranked: Numbers) -> Vector:
    """Mean over the answered items; 0 where nothing was answered."""
    answered = ranked >= 0
    sums = np.where(answered, values[ranked], 0.0).sum(axis=1)
    means: Vector = sums / np.maximum(answered.sum(axis=1), 1)
    return means


#: Metric name, without its k, to its value per user.
METRICS: Mapping[str, Callable[[Lists], Vector]] = MappingProxyType(
    {
        "ndcg": _ndcg,
        "recall": _recall,
        "precision": _precision,
        "map": _map,
        "map_all": _map_all,
        "hit_rate": _hit_rate,
        "novelty": _novelty,
        "popularity": _popularity,
    }
)


def _parts(name: str, longest: int) -> tuple[Callable[[Lists], Vector], int]:
    found = re.fullmatch(r"(\w+)_at_(\d+)", name)
    if found is None or found[1] not in METRICS or int(found[2]) < 1:
        raise ValueError(
            f"no metric {name!r}: write <metric>_at_<k>, metrics: {', '.join(METRICS)}"
        )
    if int(found[2]) > longest:
        raise ValueError(f"{name} needs rankings of {found[2]} items, these have {longest}")
    return METRICS[found[1]], int(found[2])
