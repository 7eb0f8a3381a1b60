"""Whether explanations point at what people would: one number of a model, for its evaluation.

Belongs here: which texts are explained, and the measure. Does not belong here: explaining
(``texts``), whether an explanation is true of the model (``fidelity``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import TextPredictor, Vector
from models.contracts.results import Measure
from models.core import metrics
from models.core.explain.fidelity import mean
from models.core.explain.texts import explain_text
from models.core.robustness import measures

#: Texts explained, each for as many answers as a service asks the model for.
EXPLAINED = 12
#: Start and end (exclusive) of characters that people marked.
Spans = Sequence[tuple[int, int]]


def rationale_auprc(
    predictor: TextPredictor,
    texts: Sequence[str],
    rationales: Sequence[Spans],
    label: str,
    *,
    seed: int = 0,
) -> dict[str, Measure]:
    """Mean area under precision and recall of the words that LIME's weights find.

    Plausibility as ERASER has it for weights (DeYoung et al. 2020, section 4.1): the words in the
    order of their weights, against those that annotators marked. High: people are shown what they
    would have marked; whether the model reads that is fidelity.

    Args:
        predictor: The model.
        texts: ``EXPLAINED`` of those in which some words are marked and others are not are drawn.
        rationales: What is marked in each; nothing where nobody did.
        label: One of ``predictor.labels``.
        seed: Of what is drawn.

    Returns:
        ``explain.rationale_auprc`` with the 90 % bootstrap interval over the texts; nothing where
        no text has a rationale.
    """
    marks = [marked(*both) for both in zip(texts, rationales, strict=True)]
    usable = [i for i, words in enumerate(marks) if 0 < words.sum() < len(words)]
    drawn = np.random.default_rng(seed).permutation(usable)[:EXPLAINED]
    if not len(drawn):
        return {}
    found = [
        metrics.compute("average_precision", marks[i], _weights(predictor, texts[i], label, seed))
        for i in drawn.tolist()
    ]
    chance = float(np.mean([marks[i].mean() for i in drawn.tolist()]))
    title = (
        f"AUPRC of the words that LIME names for {label} against those that annotators marked,"
        f" {len(found)} texts; by chance {chance:.2f}"
    )
    return {"explain.rationale_auprc": measures.area(title, mean(found, seed))}


def marked(text: str, spans: Spans) -> NDArray[np.bool_]:
    """Which words of a text hold a marked character."""
    words = (word.span() for word in re.finditer(r"\S+", text))
    return np.array([any(a < end and b > start for a, b in spans) for start, end in words], bool)


def _weights(predictor: TextPredictor, text: str, label: str, seed: int) -> Vector:
    """A weight per word; the words of a phrase share its."""
    found = explain_text(predictor, text, label, seed=seed)
    weights: Vector = np.repeat(found.weights, [len(part.split()) for part in found.parts])
    return weights
