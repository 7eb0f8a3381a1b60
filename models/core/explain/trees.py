"""Exact Shapley values of boosted trees, against the values of other rows.

Belongs here: a forest's leaves as boxes, and the closed form of one leaf. Does not belong here:
what a booster's margin is made into (``rows``), sampling (``shapley``).

This is the interventional TreeExplainer of the ``shap`` package, written out for all leaves at
once and checked against it: the package brings a compiler (100 MB, a second of import), which a
service should not load while it answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from models.contracts.learner import Matrix, Vector
from models.core.boosting import LEAF
from models.core.explain.shapley import Shapley

if TYPE_CHECKING:
    from xgboost import Booster

Counts = NDArray[np.int64]
#: Column to its bounds: from where on, below what, and whether a null is within.
Box = Mapping[int, tuple[float, float, bool]]


class Leaves(NamedTuple):
    """The leaves of a forest, each reached by the rows that are within all its bounds.

    Attributes:
        values: Shape (leaves,), what each adds to the margin.
        starts: Shape (leaves,), where the bounds of each begin.
        columns: Shape (e,), which column a bound is on; no column twice in one leaf.
        low: Shape (e,), float32 as trees compare: a value from here on is within.
        high: Shape (e,), float32: a value below is within.
        null: Shape (e,), whether a null is within.
    """

    values: Vector
    starts: Counts
    columns: Counts
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    null: NDArray[np.bool_]

    def within(self, rows: Matrix) -> NDArray[np.bool_]:
        """Which bounds each of m rows is within, shape (m, e)."""
        given = rows.astype(np.float32)[:, self.columns]
        between = (given >= self.low) & (given < self.high)
        return np.where(np.isnan(given), self.null, between)

    def per_leaf(self, bounds: NDArray[np.bool_]) -> Counts:
        """Bounds, shape (m, e), counted per leaf, shape (m, leaves)."""
        counted: Counts = np.add.reduceat(bounds, self.starts, axis=1, dtype=np.int64)
        return counted

    def spread(self, of_leaves: Matrix) -> Matrix:
        """A number per leaf, shape (m, leaves), given to each of its bounds, shape (m, e)."""
        lengths = np.diff(self.starts, append=len(self.columns))
        return np.repeat(of_leaves, lengths, axis=1)


def shapley_values(booster: Booster, row: Vector, background: Matrix) -> Shapley:
    """Shapley values of the margin (log-odds): a column left out takes other rows' values in turn.

    Take one leaf of value v and one other row. Let the row alone be within the bounds on a columns,
    the other alone on b, and no bound exclude both: the leaf is reached when all of the a columns
    are the row's and none of the b. Each of the a then has the value ``v (a-1)! b! / (a+b)!``, each
    of the b ``-v a! (b-1)! / (a+b)!``. Source: Lundberg et al. 2020, From local explanations to
    global understanding with explainable AI for trees, algorithm 3.

    Args:
        booster: XGBoost trees over numeric columns, with one output.
        row: Shape (d,), the trees' own columns; NaN stands for null.
        background: Shape (m, d) of other rows.
    """
    leaves = leaves_of(booster)
    ours, theirs = leaves.within(row[None]), leaves.within(background)
    for_it, against = ours & ~theirs, theirs & ~ours
    a, b = leaves.per_leaf(for_it), leaves.per_leaf(against)
    values = np.where(leaves.per_leaf(~ours & ~theirs) == 0, leaves.values, 0.0)
    share = _shares(int(max(a.max(initial=0), b.max(initial=0))))
    gains = np.where(for_it, leaves.spread(values * share[a, b]), 0.0)
    losses = np.where(against, leaves.spread(values * share[b, a]), 0.0)
    weights = np.zeros(len(row))
    np.add.at(weights, leaves.columns, (gains - losses).mean(axis=0))
    margins = booster.inplace_predict(background, predict_type="margin", missing=np.nan)
    base = float(np.asarray(margins, np.float64).mean())
    return Shapley(weights, base, base + float(weights.sum()))


@lru_cache(maxsize=2)  # reading a thousand trees takes longer than explaining a row by them
def leaves_of(booster: Booster) -> Leaves:
    """The leaves of a booster, but for trees that are a single leaf: those decide nothing.

    Source: XGBoost's documented JSON model.
    """
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]
    values: list[float] = []
    starts: list[int] = []
    bounds: list[tuple[float, ...]] = []
    for tree in model["trees"]:
        for value, box in _boxes(tree):
            values.append(value)
            starts.append(len(bounds))
            bounds.extend((column, *bound) for column, bound in box.items())
    columns, low, high, null = np.array(bounds, float).reshape(-1, 4).T
    return Leaves(
        np.array(values),
        np.array(starts, np.int64),
        columns.astype(np.int64),
        low.astype(np.float32),
        high.astype(np.float32),
        null.astype(bool),
    )


def _boxes(tree: Mapping[str, Any]) -> Iterator[tuple[float, Box]]:
    """Value and bounds of every leaf that has bounds."""
    waiting: list[tuple[int, Box]] = [(0, {})]
    while waiting:
        node, box = waiting.pop()
        left, at = tree["left_children"][node], tree["split_conditions"][node]
        if left == LEAF:
            if box:
                yield at, box
            continue
        column, null_left = tree["split_indices"][node], bool(tree["default_left"][node])
        low, high, null = box.get(column, (-np.inf, np.inf, True))
        below, above = (
            (low, min(high, at), null and null_left),
            (max(low, at), high, null and not null_left),
        )
        waiting.append((left, {**box, column: below}))
        waiting.append((tree["right_children"][node], {**box, column: above}))


def _shares(most: int) -> Matrix:
    """``(a-1)! b! / (a+b)!`` for a and b up to ``most``; 0 for no a."""
    a, b = np.ogrid[: most + 1, : most + 1]
    shares: Matrix = np.exp(gammaln(np.maximum(a, 1)) + gammaln(b + 1) - gammaln(a + b + 1))
    shares[0] = 0.0
    return shares
