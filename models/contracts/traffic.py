"""What a service writes down and what comes back: predictions, outcomes, refusals, judged windows.

Field lists only, shared by the service (which writes them as JSON lines), the ingestion (which
lands them as Parquet) and dbt (which joins them). No behaviour, no file, no clock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from models.contracts.base import Frozen

#: Request header that says what a request is for; absent means traffic. Roll-outs replay golden
#: requests on the public address: they are logged like every other and told apart by this. A
#: ``shadow`` request is a gateway's copy of one that another release answers.
PURPOSE_HEADER = "x-assay-purpose"
Purpose = Literal["traffic", "golden", "shadow"]
RecordKind = Literal["prediction", "outcome", "refusal", "exposure"]


class PredictionRecord(Frozen):
    """One answered row.

    Attributes:
        prediction_id: UUID given to the client.
        request_id: Of the HTTP request; rows of one request share it.
        event_id: The client's own key of the row (that of the feature table), if it sent one.
        event_time: When the decision is for (UTC): sent by the client, else ``answered_at``.
        answered_at: The service's clock (UTC).
        inputs: Values in the product's column order, None for null; None as a whole when the
            product logs hashes only.
        inputs_hash: First 16 hex digits of the SHA-256 over the inputs as little-endian float64; of
            a text, over its UTF-8.
        latency_ms: From the first byte of the request to the answer, for the whole request.
        rows: Rows in the request.
    """

    prediction_id: str
    request_id: str
    product: str
    tenant: str
    model_version: str
    event_id: str | None
    event_time: datetime
    answered_at: datetime
    purpose: Purpose
    score: float
    inputs: tuple[float | None, ...] | None
    inputs_hash: str
    latency_ms: float
    rows: int


class OutcomeRecord(Frozen):
    """What came of a prediction. Exactly one of ``prediction_id`` and ``event_id`` is set.

    Policy: every report is kept. A repeated report changes nothing. Of contradicting reports the
    one with the latest ``known_at`` counts (of equal ones, the one received last). A report that
    becomes known more than 30 days (a setting) after the decision is kept and not judged.
    An outcome that was known before the decision's ``event_time`` cannot be and is not judged.

    Attributes:
        label: 0 or 1.
        tenant: Owner of the row, when the report says or its sender speaks for one only; then it
            is about rows of that tenant alone.
        known_at: When the outcome became known (UTC): sent by the client, else ``received_at``.
        received_at: The receiver's clock (UTC).
        source: ``http`` or the name of the file that brought it.
    """

    outcome_id: str
    product: str
    prediction_id: str | None
    event_id: str | None
    label: int
    known_at: datetime
    received_at: datetime
    source: str
    tenant: str | None = None


class RefusalRecord(Frozen):
    """A request of ``POST /predict`` or ``/outcome`` that a release did not answer 2xx.

    What a gateway refuses asks no release and is no such record: see ``gateway.app``.

    Attributes:
        status: HTTP status, 400 to 599; 4xx is the client's fault, 5xx ours.
    """

    request_id: str
    product: str
    model_version: str
    answered_at: datetime
    path: str
    status: int
    latency_ms: float
