"""The lowest rung: what is answered when no model can be asked. Base rates, or popular items.

No model and no process of one is needed: the `Rule` comes with the routing table. Its answers are
logged like all others, under the version ``rule``. Behind a `Lane` this is one more release, so
parsing, the scope of keys and the log are those of every answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from pydantic import BaseModel

from gateway.asked import Asked
from gateway.openapi_routes import request_type
from gateway.ports import Answered, Wrong
from gateway.records import described
from gateway.traffic_log import TrafficLog
from models import registry
from models.contracts.api import rows as row_api
from models.contracts.api import to_matrix
from models.contracts.api.common import risk_level
from models.contracts.product import Contract, ModelProduct
from models.contracts.routing import Rule

#: Version of what no model answered.
RULE = "rule"
#: What a client sends of a user's past; the other numbers of a ranking only a model knows.
_PAST = "user_past_interactions"

Said = tuple[BaseModel, Any, Sequence[str] | None]


class Rules:
    """Answers without models; a `gateway.ports.Answers`.

    Args:
        find: The rule of a product, by its key; None while there is none.
        log: Makes the log of a product's answers.
    """

    def __init__(
        self, find: Callable[[str], Rule | None], log: Callable[[ModelProduct, str], TrafficLog]
    ) -> None:
        self._find, self._make = find, log
        self._logs: dict[str, TrafficLog] = {}

    def request_type(self, product: str, version: str) -> type[BaseModel]:  # noqa: ARG002 - the protocol's
        """See ``Answers``."""
        return request_type(product)

    async def answer(self, product: str, version: str, request: Any, asked: Asked) -> Answered:  # noqa: ARG002 - the protocol's
        """The rule's answer to every row; no explanation, there is nothing to explain."""
        rule = self._find(product)
        if rule is None:
            raise Wrong(503, {"error": f"{product} has no rule to answer by"})
        known = registry.get(product)
        response, inputs, digests = _SAY[known.contract](known, rule, request.rows)
        return Answered(response, request.rows, inputs, RULE, digests)

    async def health(self, product: str, version: str) -> dict[str, str]:
        """See ``Answers``."""
        log = self.log(product, version)
        return {
            "status": "fallback", "product": product, "model_version": RULE,
            "prediction_log": log.state,
        }  # fmt: skip

    def log(self, product: str, version: str) -> TrafficLog:  # noqa: ARG002 - the protocol's
        """See ``Answers``."""
        made = self._logs.get(product)
        if made is None:
            made = self._logs[product] = self._make(registry.get(product), RULE)
        return made

    def close(self) -> None:
        """Finish the logs."""
        for log in self._logs.values():
            log.close()


def _row_scores(product: ModelProduct, rule: Rule, rows: Sequence[Any]) -> Said:
    told = {
        "probability": rule.probability,
        "risk_level": risk_level(rule.probability, rule.threshold),
        "confidence": max(rule.probability, 1.0 - rule.probability),
        "model_version": RULE,
    }
    predictions = [row_api.Prediction(prediction_id=_id(), **told) for _ in rows]
    response = row_api.PredictResponse(predictions=predictions)
    return response, to_matrix(product, rows), None


def _text_labels(product: ModelProduct, rule: Rule, rows: Sequence[Any]) -> Said:
    from models.contracts.api.texts import Confidence, PredictResponse, TextPrediction

    first = product.data.labels[0]
    sure = max(rule.probability, 1.0 - rule.probability)
    predictions = [
        TextPrediction(
            prediction_id=_id(),
            probability=rule.probability,
            labels={name: rule.labels.get(name) for name in product.data.labels},
            flagged=[first] if rule.probability >= rule.threshold else [],
            risk_level=risk_level(rule.probability, rule.threshold),
            confidence=Confidence(prediction=sure),
            review=True,  # nobody read it
            model_version=RULE,
        )
        for _ in rows
    ]
    return PredictResponse(predictions=predictions), *described(rows)


def _ranked_items(product: ModelProduct, rule: Rule, rows: Sequence[Any]) -> Said:
    from models.contracts.api.rankings import PredictResponse, RankedItem, RankingPrediction

    predictions = [
        RankingPrediction(
            prediction_id=_id(),
            items=[
                RankedItem(item=item, score=1.0 / place)
                for place, item in enumerate(popular(rule.items, row), 1)
            ],
            algorithm="popularity",
            known=False,
            probability=rule.probability,
            model_version=RULE,
        )
        for row in rows
    ]
    past = [len(set(row.history)) for row in rows]
    inputs = np.full((len(rows), len(product.data.names)), np.nan)
    if _PAST in product.data.names:
        inputs[:, product.data.names.index(_PAST)] = past
    return PredictResponse(predictions=predictions), inputs, None


def popular(items: Sequence[str], row: Any) -> list[str]:
    """The first popular items that the row lets through.

    Which categories an item has is not known without the model: a row that names some gets none.
    """
    if row.categories:
        return []
    barred = {*row.exclude, *(() if row.seen else row.history)}
    only = None if row.only is None else frozenset(row.only)
    free = (item for item in items if item not in barred and (only is None or item in only))
    return [item for _, item in zip(range(row.k), free, strict=False)]


def _id() -> str:
    return str(uuid.uuid4())


_SAY: Mapping[Contract, Callable[[ModelProduct, Rule, Sequence[Any]], Said]] = MappingProxyType(
    {"row_scores": _row_scores, "text_labels": _text_labels, "ranked_items": _ranked_items}
)
