"""What a ``text_labels`` model answers, put into the contract's words.

Belongs here: probabilities to flags, confidence and whether a person should look. Does not belong
here: HTTP, BentoML, the log; how a text is explained (``models.core.explain``).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bentos.runtime import Runtime
from gateway.errors import StartError
from models.contracts.api.common import risk_level
from models.contracts.api.texts import Confidence, Explanation, TextPrediction, join_context
from models.contracts.learner import Matrix, Vector

#: A probability this close to its threshold is not a decision to act on unseen.
REVIEW_MARGIN = 0.1
#: Consensus of an ensemble below which its members do not say the same thing: with five of them,
#: and probabilities that spread as usual, one says the opposite.
REVIEW_CONSENSUS = 0.5


class Said(NamedTuple):
    """What the model said of n texts.

    Attributes:
        scores: Shape (n, L), NaN for a label it never learned.
        confidence: Fields of ``Confidence`` to shape (n,), as far as the model says so.
    """

    scores: Matrix
    confidence: Mapping[str, Vector]


def check(runtime: Runtime) -> None:
    """Make sure that the model answers what the product says.

    Raises:
        StartError: The model answers other labels than the product has.
    """
    labels = tuple(runtime.predictor.labels)
    if labels != runtime.product.data.labels:
        raise StartError(
            f"the model answers {labels}, but {runtime.product.key} has"
            f" {runtime.product.data.labels} in this code; fit and release it again"
        )


def texts(rows: Sequence[Any]) -> list[str]:
    """What the model reads: each row's text, with its context where there is one."""
    return [join_context(row.text, row.context) for row in rows]


def say(runtime: Runtime, asked: Sequence[str]) -> Said:
    """Ask the model; the only call that takes time."""
    predictor = runtime.predictor
    if not hasattr(predictor, "predict_with_confidence"):
        return Said(predictor.predict(asked), {})
    scores, sure = predictor.predict_with_confidence(asked)
    return Said(scores, {"model": sure.model.mean(axis=1), "ensemble": sure.ensemble})


def together(parts: Sequence[Said]) -> Said:
    """The texts of one request as one."""
    names = parts[0].confidence
    return Said(
        np.concatenate([part.scores for part in parts]),
        {name: np.concatenate([part.confidence[name] for part in parts]) for name in names},
    )


def each(said: Said) -> list[Said]:
    """What was said of every text by itself; `together` is the way back."""
    return [
        Said(said.scores[n : n + 1], {name: of[n : n + 1] for name, of in said.confidence.items()})
        for n in range(len(said.scores))
    ]


#: What an ensemble says of its confidence, in the order in which it is kept.
_KEPT = ("ensemble", "model")


def pack(said: Said) -> bytes:
    """What was said of one text, to be kept."""
    sure = [said.confidence[name] for name in _KEPT if name in said.confidence]
    return np.concatenate([said.scores[0], *sure]).astype("<f8").tobytes()


def unpack(kept: bytes, labels: int) -> Said:
    """The way back, of a model with so many labels."""
    values = np.frombuffer(kept, "<f8")
    sure = values[labels:]
    return Said(
        values[None, :labels],
        {name: sure[n : n + 1] for n, name in enumerate(_KEPT)} if len(sure) else {},
    )


def answer(runtime: Runtime, said: Said) -> list[TextPrediction]:
    """One prediction per text, in order.

    Raises:
        ArithmeticError: The model gave something else than probabilities, or nothing for the first
            label: a fault of ours, which must not look like one of the request.
    """
    first, known = said.scores[:, 0], said.scores[~np.isnan(said.scores)]
    if np.isnan(first).any() or not ((known >= 0.0) & (known <= 1.0)).all():
        raise ArithmeticError(f"{runtime.version} gave {said.scores.tolist()}, not probabilities")
    return [
        _prediction(runtime, scores, {name: float(of[n]) for name, of in said.confidence.items()})
        for n, scores in enumerate(said.scores.tolist())
    ]


def explained(prediction: TextPrediction, why: Explanation) -> TextPrediction:
    """The prediction with its explanation."""
    return prediction.model_copy(update={"explanations": [why]})


def _prediction(
    runtime: Runtime, scores: Sequence[float], told: Mapping[str, float]
) -> TextPrediction:
    labels = dict(zip(runtime.product.data.labels, scores, strict=True))
    threshold, limits = runtime.candidate.threshold, runtime.candidate.thresholds
    probability = scores[0]
    return TextPrediction(
        prediction_id=str(uuid.uuid4()),
        probability=probability,
        labels={name: None if math.isnan(score) else score for name, score in labels.items()},
        flagged=[name for name, score in labels.items() if score >= limits.get(name, threshold)],
        risk_level=risk_level(probability, threshold),
        confidence=Confidence(prediction=max(probability, 1.0 - probability), **told),
        review=needs_review(probability, threshold, told.get("ensemble")),
        model_version=runtime.version,
    )


def needs_review(probability: float, threshold: float, consensus: float | None) -> bool:
    """Whether a person should look: the decision is close, or the members disagree."""
    close = abs(probability - threshold) < REVIEW_MARGIN
    return close or (consensus is not None and consensus < REVIEW_CONSENSUS)
