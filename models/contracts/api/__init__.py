"""What a service is asked and what it answers, one module per contract beside what they share.

Here are the names of ``row_scores`` and the shared ones. ``texts`` and ``rankings`` are imported by
who needs them, so that a change there leaves the code version of the others alone.
"""

from models.contracts.api.common import (
    MAX_AHEAD,
    MAX_OUTCOMES,
    STRICT,
    Answer,
    GoldenSet,
    OutcomeReport,
    OutcomeRequest,
    OutcomeResponse,
    PastTime,
    RiskLevel,
)
from models.contracts.api.rows import (
    EXACT_INT,
    Prediction,
    PredictResponse,
    request_model,
    row_model,
    to_matrix,
    to_rows,
)

__all__ = [
    "EXACT_INT",
    "MAX_AHEAD",
    "MAX_OUTCOMES",
    "STRICT",
    "Answer",
    "GoldenSet",
    "OutcomeReport",
    "OutcomeRequest",
    "OutcomeResponse",
    "PastTime",
    "PredictResponse",
    "Prediction",
    "RiskLevel",
    "request_model",
    "row_model",
    "to_matrix",
    "to_rows",
]
