"""The best products of a large table: a first look in eight bits, what is left in full precision.

To score everything is to read every factor, and the reading is what takes the time. Here the table
is kept in eight bits as well: a quarter of the bytes, which may stay in the processor's cache. Its
products are off by no more than a known error (triangle and Cauchy-Schwarz inequalities), so what
is worse at its best than the k-th best at its worst is out for certain. The few that are left are
scored in full: the answer is that of scoring everything. After FEXIPRO (Li, Chan, Yiu, Mamoulis,
SIGMOD 2017).

Belongs here: products and their errors. Does not belong here: which items may be answered
(``recommender``), when a first look pays (``factored``), picking (``top``).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from models.core.ranking.scorers import Numbers, Scores
from models.core.ranking.top import contenders, kth

#: Whole numbers that a factor of an item, and one of a query, becomes. A query's have seven bits:
#: processors without VNNI add two products in sixteen bits, which those of eight would overflow.
_ITEM, _QUERY = 127, 63
#: Makes a query's numbers positive, as the fast instructions want them.
_OFFSET = 64


class Estimates(NamedTuple):
    """Scores in eight bits, and what makes them exact.

    Attributes:
        scores: Shape (b, m), estimated.
        queries: Shape (b, f).
        lengths: Shape (b, 2): of each query, and of what it lost in seven bits.
        screen: Where they come from.
    """

    scores: Scores
    queries: Scores
    lengths: Scores
    screen: Screen

    def best(self, row: int, k: int) -> tuple[Numbers, Scores]:
        """See ``factored.Scored``; the scores are exact."""
        scores, lengths = self.scores[row], self.lengths[row]
        left = contenders(scores, k, lengths @ self.screen.largest)
        errors = lengths @ self.screen.losses[:, left]
        left = left[scores[left] + errors >= kth(scores[left] - errors, k)]
        exact = products(self.screen.items[left], self.queries[row])
        order = np.argsort(-exact, kind="stable")[:k]
        return left[order], exact[order]


class Screen:
    """A table of items, and the same in eight bits.

    Args:
        items: Shape (m, f).

    Attributes:
        losses: Shape (2, m): what an error is at most per length of a query, and per length of what
            the query lost.
        largest: Shape (2,), the largest of the losses: one number bounds all errors of a query.

    Raises:
        ValueError: A factor is not finite.
    """

    def __init__(self, items: Scores) -> None:
        if not np.isfinite(items).all():
            raise ValueError(
                "a factor is not finite: the fit diverged, fit again with smaller steps"
            )
        short, steps = _shortened(items, _ITEM)
        lengths, lost = _lengths(items), _lengths(items - short * steps)
        # of all float32 operations here and in ``products``, twice over
        rounding = np.float32((items.shape[1] + 16) * 2**-23) * (lengths + lost)
        self.items = items
        self.losses = np.stack([lost + rounding, lengths + lost + rounding])
        self.largest = self.losses.max(axis=1)
        self._table, self._steps = np.ascontiguousarray(short.T.astype(np.int8)), steps[:, 0]
        self._offset = _OFFSET * self._table.sum(axis=0, dtype=np.int32)

    def estimates(self, queries: Scores) -> Estimates:
        """A first look.

        Args:
            queries: Shape (b, f).
        """
        short, steps = _shortened(queries, _QUERY)
        asked = {"queries": (short + _OFFSET).astype(np.uint8), "table": self._table}
        (whole,) = _session().run(None, asked)
        whole -= self._offset
        scores = np.multiply(whole, self._steps, dtype=np.float32, casting="unsafe")
        scores *= steps
        lengths = np.stack([_lengths(queries), _lengths(queries - short * steps)], axis=1)
        return Estimates(scores, queries, lengths, self)


def products(items: Scores, queries: Scores) -> Scores:
    """Of items of shape (n, f) and a query of shape (f,), or queries of shape (b, 1, f).

    None depends on the other items and queries, as in BLAS it does.
    """
    found: Scores = np.vecdot(items, queries)
    return found


def _shortened(vectors: Scores, most: int) -> tuple[Scores, Scores]:
    """Whole numbers from ``-most`` to ``most``, and the step of each row, shape (n, 1)."""
    steps = np.abs(vectors).max(axis=1, keepdims=True) / np.float32(most)
    steps[steps == 0] = 1
    return np.rint(vectors / steps), steps


def _lengths(vectors: Scores) -> Scores:
    found: Scores = np.linalg.norm(vectors, axis=1)
    return found


@cache
def _session() -> Any:
    """Products of whole numbers, (b, f) by (f, m): exact, and numpy has none that is fast."""
    import onnxruntime  # type: ignore[import-untyped]  # ships no types
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["queries", "table"], ["products"])],
        "products",
        [
            helper.make_tensor_value_info("queries", TensorProto.UINT8, ["b", "f"]),
            helper.make_tensor_value_info("table", TensorProto.INT8, ["f", "m"]),
        ],
        [helper.make_tensor_value_info("products", TensorProto.INT32, ["b", "m"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # they would wait for memory
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
