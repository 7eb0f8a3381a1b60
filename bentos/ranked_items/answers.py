"""What a ``ranked_items`` model answers, put into the contract's words.

Belongs here: filters to queries, rankings to predictions, what the log gets of them. Does not
belong here: HTTP, BentoML, the log itself, ranking (``models.core.ranking``).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bentos.runtime import Runtime
from models.contracts.api.rankings import Method, RankedItem, RankingPrediction, to_query
from models.contracts.learner import Matrix, Query, Ranking
from models.core.ranking.explaining import explain, refusal
from models.core.ranking.watch import watch


class Said(NamedTuple):
    """One answered query.

    Attributes:
        ranking: What the model recommends.
        inputs: Shape (d,), the product's columns, for the log.
        hit: Estimated probability that one of the items is taken: the logged score.
    """

    ranking: Ranking
    inputs: tuple[float, ...]
    hit: float


def strange_algorithms(runtime: Runtime, rows: Sequence[Any]) -> list[int]:
    """Positions of the rows that ask for a member the model does not have."""
    known = {None, *runtime.predictor.algorithms}
    return [position for position, row in enumerate(rows) if row.algorithm not in known]


def without_categories(runtime: Runtime, rows: Sequence[Any]) -> list[int]:
    """Positions of the rows that name categories, of a model that knows none."""
    if hasattr(runtime.predictor, "in_categories"):
        return []
    return [position for position, row in enumerate(rows) if row.categories]


def queries(runtime: Runtime, rows: Sequence[Any]) -> list[Query]:
    """What the rows ask the recommender."""
    return [
        to_query(
            row,
            runtime.predictor.in_categories(frozenset(row.categories)) if row.categories else None,
        )
        for row in rows
    ]


def rank(runtime: Runtime, asked: Sequence[Query]) -> list[Said]:
    """Ask the model, and note what monitoring watches; the only call that takes time."""
    ranked = runtime.predictor.recommend(asked)
    return [_said(runtime, *pair) for pair in zip(asked, ranked, strict=True)]


def pack(said: Said) -> bytes:
    """What was said of one query, to be kept."""
    ranking = said.ranking
    told = [ranking.items, ranking.scores, ranking.algorithm, bool(ranking.known)]
    return json.dumps([*told, [float(value) for value in said.inputs], said.hit]).encode()


def unpack(kept: bytes) -> Said:
    """The way back."""
    items, scores, algorithm, known, inputs, hit = json.loads(kept)
    return Said(Ranking(tuple(items), tuple(scores), algorithm, known), tuple(inputs), hit)


def watched(said: Sequence[Said]) -> Matrix:
    """What the log gets, shape (n, d): numbers that describe a query, never who asked what."""
    return np.array([one.inputs for one in said], dtype=np.float64)


def answer(runtime: Runtime, said: Sequence[Said]) -> list[RankingPrediction]:
    """One prediction per query, in order.

    Raises:
        ArithmeticError: An estimate is no probability: a fault of ours, which must not look like
            one of the request.
    """
    hits = [one.hit for one in said]
    if not all(0.0 <= hit <= 1.0 for hit in hits):
        raise ArithmeticError(f"{runtime.version} gave {hits}, not probabilities")
    return [_prediction(runtime, one) for one in said]


def unexplained(runtime: Runtime, rows: Sequence[Any], method: Method) -> dict[int, str]:
    """Positions of the rows whose answers cannot be explained so, and why not."""
    said = (refusal(runtime.predictor, row.algorithm, method) for row in rows)
    return {position: why for position, why in enumerate(said) if why}


def explained(
    runtime: Runtime, query: Query, said: Said, prediction: RankingPrediction, method: Method
) -> RankingPrediction:
    """The prediction with an explanation of each of its first items."""
    why = explain(runtime.predictor, query, said.ranking, method)
    return prediction.model_copy(update={"explanations": why})


def _said(runtime: Runtime, query: Query, ranking: Ranking) -> Said:
    noted = watch(runtime.product, runtime.candidate.thresholds, runtime.predictor, query, ranking)
    return Said(ranking, noted.inputs, noted.score)


def _prediction(runtime: Runtime, said: Said) -> RankingPrediction:
    ranking = said.ranking
    return RankingPrediction(
        prediction_id=str(uuid.uuid4()),
        items=[
            RankedItem(item=item, score=score)
            for item, score in zip(ranking.items, ranking.scores, strict=True)
        ],
        algorithm=ranking.algorithm,
        known=ranking.known,
        probability=said.hit,
        model_version=runtime.version,
    )
