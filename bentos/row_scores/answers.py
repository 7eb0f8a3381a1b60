"""What a ``row_scores`` model answers: a probability per row, put into the contract's words.

Knows no HTTP, no BentoML and no log.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from bentos.runtime import Runtime
from models.contracts.api import Prediction, PredictResponse
from models.contracts.api.common import risk_level
from models.contracts.api.rows import Explanation
from models.contracts.learner import Matrix


def answer(runtime: Runtime, inputs: Matrix) -> PredictResponse:
    """Predict rows of known tenants.

    Args:
        runtime: The model.
        inputs: Shape (n, d) in the product's column order; NaN for null.

    Returns:
        One prediction per row, in order.

    Raises:
        ArithmeticError: The model gave something else than probabilities: a fault of ours,
            which must not look like one of the request.
    """
    scores = runtime.predictor.predict(inputs).tolist()
    if not all(0.0 <= score <= 1.0 for score in scores):
        raise ArithmeticError(f"{runtime.version} gave {scores}, not probabilities")
    return PredictResponse(predictions=[_prediction(runtime, score) for score in scores])


def explained(response: PredictResponse, why: Sequence[Explanation]) -> PredictResponse:
    """The response with one explanation per prediction."""
    told = [
        prediction.model_copy(update={"explanations": [reason]})
        for prediction, reason in zip(response.predictions, why, strict=True)
    ]
    return PredictResponse(predictions=told)


def _prediction(runtime: Runtime, probability: float) -> Prediction:
    return Prediction(
        prediction_id=str(uuid.uuid4()),
        probability=probability,
        risk_level=risk_level(probability, runtime.candidate.threshold),
        confidence=max(probability, 1.0 - probability),
        model_version=runtime.version,
    )
