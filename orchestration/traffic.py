"""Replays rows of a feature table as a client would send them, and later reports their outcomes.

For the demo, the flow tests and anybody who wants to see what a champion would have done. Only
HTTP: it looks into no store and knows no ledger. Load tests are elsewhere (``benchmarks``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from pydantic import JsonValue, ValidationError

from models.contracts.api import MAX_OUTCOMES, OutcomeResponse, PredictResponse, to_rows
from models.contracts.base import Frozen
from models.contracts.product import EVENT_ID, EVENT_TIME, KNOWN_TIME, LABEL, TENANT, ModelProduct

if TYPE_CHECKING:
    import pandas as pd

Answer = TypeVar("Answer", PredictResponse, OutcomeResponse)

BATCH = 50
_TIMEOUT_S = 30.0


class TrafficError(Exception):
    """The service did not answer as its contract says; the message names the next step."""


class Replayed(Frozen):
    """What was asked and who answered.

    Attributes:
        versions: Release to the rows it answered.
    """

    requests: int
    rows: int
    versions: dict[str, int]


class Reported(Frozen):
    """Outcomes the service took."""

    requests: int
    outcomes: int


def replay(url: str, product: ModelProduct, rows: pd.DataFrame, *, batch: int = BATCH) -> Replayed:
    """Ask for a prediction of every row, with its id and its time.

    Args:
        url: Root of the service.
        product: Names the inputs.
        rows: Of the product's feature table; times are UTC. Sent in this order.
        batch: Rows per request.

    Raises:
        TrafficError: No connection, or any other answer than one prediction per row.
        ValueError: A column is missing or is no number.
    """
    versions: Counter[str] = Counter()
    requests = 0
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S) as client:
        for part in _batches(rows, batch):
            answer = _post(client, "/predict", {"rows": _asked(product, part)})
            found = _parsed(PredictResponse, answer).predictions
            _complete(answer, len(found), len(part))
            versions.update(one.model_version for one in found)
            requests += 1
    return Replayed(requests=requests, rows=versions.total(), versions=dict(versions))


def report_outcomes(url: str, rows: pd.DataFrame, *, batch: int = MAX_OUTCOMES) -> Reported:
    """Report the label of every row by its event id, as known at its ``known_time``.

    Args:
        url: Root of the service.
        rows: Of a feature table; times are UTC.
        batch: Outcomes per request.

    Raises:
        TrafficError: As ``replay``.
        ValueError: A column is missing.
    """
    requests = outcomes = 0
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S) as client:
        for part in _batches(rows, batch):
            answer = _post(client, "/outcome", {"outcomes": _known(part)})
            found = _parsed(OutcomeResponse, answer).outcome_ids
            _complete(answer, len(found), len(part))
            outcomes += len(found)
            requests += 1
    return Reported(requests=requests, outcomes=outcomes)


def _batches(rows: pd.DataFrame, size: int) -> Iterator[pd.DataFrame]:
    for start in range(0, len(rows), size):
        yield rows.iloc[start : start + size]


def _asked(product: ModelProduct, rows: pd.DataFrame) -> list[dict[str, JsonValue]]:
    from models.core.frames import matrix

    _require(rows, (EVENT_ID, EVENT_TIME, TENANT))
    inputs = to_rows(product, matrix(rows, product.data.names), rows[TENANT].tolist())
    keys = zip(rows[EVENT_ID], _times(rows[EVENT_TIME]), inputs, strict=True)
    return [{EVENT_ID: key, EVENT_TIME: time, **row} for key, time, row in keys]


def _known(rows: pd.DataFrame) -> list[dict[str, JsonValue]]:
    _require(rows, (EVENT_ID, LABEL, KNOWN_TIME))
    known = zip(rows[EVENT_ID], rows[LABEL], _times(rows[KNOWN_TIME]), strict=True)
    return [{EVENT_ID: key, "label": int(label), "known_at": time} for key, label, time in known]


def _times(column: pd.Series) -> list[str]:
    """Written with their offset; a feature table keeps UTC without one."""
    import pandas as pd

    return [moment.isoformat() for moment in pd.to_datetime(column, utc=True)]


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    try:
        answer = client.post(path, json=body)
    except httpx.TransportError as error:
        raise TrafficError(
            f"{client.base_url.join(path)}: {error}; see `assay status` whether the product is "
            "served, `assay serve` starts it"
        ) from error
    if not answer.is_success:
        raise TrafficError(
            f"POST {answer.url} answered {answer.status_code}: {answer.text[:500]} "
            "Mend what it names, then replay the rows from there on"
        )
    return answer


def _parsed(kind: type[Answer], answer: httpx.Response) -> Answer:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise TrafficError(
            f"POST {answer.url} answered what is no {kind.__name__} ({error.error_count()} errors, "
            f"{answer.text[:200]!r}); is another service on this port?"
        ) from error


def _complete(answer: httpx.Response, found: int, sent: int) -> None:
    if found != sent:
        raise TrafficError(
            f"POST {answer.url} answered {found} rows of {sent}; look into the service's log"
        )


def _require(rows: pd.DataFrame, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in rows.columns]:
        raise ValueError(f"columns {missing} are not in the rows; take them from the feature table")
