"""Which models the trials of this product fit, and the heads of its ensemble."""

from __future__ import annotations

from pathlib import Path

from models.contracts.learner import FitContext, TextPredictor, TextRows
from models.contracts.product import Trial
from models.core.text import dispatch
from models.core.text.heads import HeadSpec

#: Five views of a text. Two are whole models when those trials are given; the others are small
#: networks on frozen embeddings, or by ``params["heads"]`` any checkpoint, e.g.
#: ``unitary/toxic-bert`` or a RoBERTa head for offence or sentiment.
HEADS = (
    HeadSpec(
        name="toxicity",
        labels=("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_hate"),
        trial="minilm",
    ),
    HeadSpec(name="hate", labels=("hate", "identity_hate")),
    HeadSpec(name="light_toxicity", labels=("toxicity", "insult", "obscene"), trial="student"),
    HeadSpec(name="offensive", labels=("offensive", "insult")),
    HeadSpec(name="sentiment", labels=("negative_sentiment", "irony")),
)


class TextToxicityLearner:
    """Fits and loads every model of ``models.core.text.dispatch``, by ``params["model"]``."""

    def fit(self, trial: Trial, rows: TextRows, context: FitContext) -> TextPredictor:
        """Fit one trial; deterministic given the trial's seed.

        Raises:
            ValueError: ``params["model"]`` names no model of this product.
        """
        return dispatch.fit(trial, rows, context, HEADS)

    def load(self, folder: Path) -> TextPredictor:
        """Load a verified artifact folder (see ``models.core.artifact``)."""
        return dispatch.load(folder)
