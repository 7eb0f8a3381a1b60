"""How far LIME's explanations can be believed: one number of a model, for its evaluation.

Belongs here: which texts are explained, and the measure. Does not belong here: explaining
(``texts``), showing anybody's text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.contracts.learner import TextPredictor
from models.contracts.results import Estimate, Measure
from models.core import bootstrap
from models.core.explain.texts import explain_text
from models.core.robustness import measures
from models.core.text import words

#: Texts explained, each for as many answers as a service asks the model for.
EXPLAINED = 10


def lime_fidelity(
    predictor: TextPredictor, texts: Sequence[str], label: str, *, seed: int = 0
) -> dict[str, Measure]:
    """Mean R squared of LIME's weights as a model of the answers near a text.

    Low: words act together, and a weight per word says little (Ribeiro et al. 2016, section 3.2).

    Args:
        predictor: The model.
        texts: ``EXPLAINED`` of those with at least two words are drawn; one word explains itself.
        label: One of ``predictor.labels``.
        seed: Of what is drawn.

    Returns:
        ``explain.lime_fidelity`` with the 90 % bootstrap interval over the texts; nothing without a
        text to explain.
    """
    order = np.random.default_rng(seed).permutation(len(texts))
    usable = (texts[i] for i in order if len(words.places(words.pieces(texts[i]))) > 1)
    found = [
        explain_text(predictor, text, label, "lime", seed=seed).fidelity
        for text, _ in zip(usable, range(EXPLAINED), strict=False)
    ]
    if not found:
        return {}
    title = f"fidelity (R squared) of LIME's explanations of {label}, {len(found)} texts"
    return {"explain.lime_fidelity": measures.area(title, mean(found, seed))}


def mean(found: Sequence[float | None], seed: int) -> Estimate:
    """Of a number per text, with the 90 % bootstrap interval over the texts."""
    values = np.array(found, float)
    resamples = bootstrap.counts(len(values), measures.RESAMPLES, seed)
    drawn = bootstrap.means({"mean": values}, resamples)["mean"]
    low, high = bootstrap.percentile_interval(drawn, measures.ALPHA)
    return Estimate(value=float(values.mean()), low=low, high=high)
