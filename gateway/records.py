"""What the log says of a request: pure functions from rows and answers to JSON bodies.

Bodies are plain dictionaries in the shape of ``models.contracts.traffic``: a validated model per
row would cost more than the prediction. No file, no clock, no framework.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from gateway.asked import Asked
from models.contracts.api import Answer, OutcomeReport
from models.contracts.learner import Matrix
from models.contracts.product import ModelProduct
from models.core.text.describe import describe

Body = dict[str, Any]


class Moment(NamedTuple):
    """When an answer was ready.

    Attributes:
        at: The service's clock (UTC).
        latency_ms: Since the request's first byte.
    """

    at: datetime
    latency_ms: float


def predictions(
    product: ModelProduct,
    asked: Asked,
    moment: Moment,
    *,
    rows: Sequence[Any],
    inputs: Matrix,
    answers: Sequence[Answer],
    digests: Sequence[str] | None = None,
) -> list[Body]:
    """One `PredictionRecord` per row, as JSON values.

    Args:
        product: Says whether values or only their hash are kept.
        asked: The request.
        moment: Its answer.
        rows: n validated request rows.
        inputs: Shape (n, d), the product's columns; NaN for null. What else a row holds, a text or
            a user, is never written down.
        answers: n predictions.
        digests: What tells the rows apart where it is not the inputs, see `digest`.
    """
    answered_at = iso(moment.at)
    shared = {
        "request_id": asked.request_id,
        "product": product.key,
        "answered_at": answered_at,
        "purpose": asked.purpose,
        "latency_ms": moment.latency_ms,
        "rows": len(rows),
    }
    values: list[list[float | None] | None] = [None] * len(rows)
    if product.serving.log_inputs == "values":
        values = [_values(line) for line in inputs.tolist()]
    return [
        {
            **shared,
            "prediction_id": answer.prediction_id,
            "tenant": row.tenant,
            "model_version": answer.model_version,
            "event_id": row.event_id,
            "event_time": iso(row.event_time) if row.event_time else answered_at,
            "score": answer.probability,
            "inputs": line,
            "inputs_hash": told_apart,
        }
        for row, answer, line, told_apart in zip(
            rows, answers, values, digests or hashes(inputs), strict=True
        )
    ]


def outcomes(product: ModelProduct, reports: Sequence[OutcomeReport], at: datetime) -> list[Body]:
    """One `OutcomeRecord` per report, as JSON values, each with an id of its own."""
    received_at = iso(at)
    return [
        {
            "outcome_id": str(uuid.uuid4()),
            "product": product.key,
            "prediction_id": str(report.prediction_id) if report.prediction_id else None,
            "event_id": report.event_id,
            "label": report.label,
            "known_at": iso(report.known_at) if report.known_at else received_at,
            "received_at": received_at,
            "source": "http",
            "tenant": report.tenant,
        }
        for report in reports
    ]


def refusal(
    product: ModelProduct, version: str, asked: Asked, moment: Moment, *, path: str, status: int
) -> Body:
    """A `RefusalRecord` as JSON values."""
    return {
        "request_id": asked.request_id,
        "product": product.key,
        "model_version": version,
        "answered_at": iso(moment.at),
        "path": path,
        "status": status,
        "latency_ms": moment.latency_ms,
    }


def described(rows: Sequence[Any]) -> tuple[Matrix, list[str]]:
    """What is logged of rows of text: numbers that describe it, and a digest; never the text."""
    asked = [row.text for row in rows]
    return describe(asked), [digest(text.encode()) for text in asked]


def hashes(inputs: Matrix) -> list[str]:
    """First 16 hex digits of the SHA-256 over each row as little-endian float64."""
    lines = np.ascontiguousarray(inputs, dtype="<f8")
    return [digest(line.tobytes()) for line in lines]


def digest(content: bytes) -> str:
    """First 16 hex digits of the SHA-256."""
    return sha256(content).hexdigest()[:16]


def iso(moment: datetime) -> str:
    """A moment in UTC with microseconds and Z."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _values(line: Sequence[float]) -> list[float | None]:
    return [None if value != value else value for value in line]  # noqa: PLR0124 - NaN is not itself
