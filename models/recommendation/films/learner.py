"""Which algorithms the trials of this product fit."""

from __future__ import annotations

from pathlib import Path

from models.contracts.learner import FitContext, Interactions
from models.contracts.product import Trial
from models.core.ranking import blend
from models.core.ranking.recommender import CatalogueRecommender
from models.core.ranking.scorers import fit_scorer


class FilmsLearner:
    """Fits the algorithm that ``params["model"]`` names, or a blend of earlier trials."""

    def fit(self, trial: Trial, rows: Interactions, context: FitContext) -> CatalogueRecommender:
        """Fit one trial; deterministic given the trial's seed.

        Raises:
            ValueError: ``params["model"]`` names no algorithm.
        """
        if trial.params.get("model") == blend.KIND:
            return blend.fit(trial, rows, context)
        return CatalogueRecommender.of(rows, {trial.name: fit_scorer(trial, rows, context)})

    def load(self, folder: Path) -> CatalogueRecommender:
        """Load a verified artifact folder (see ``models.core.artifact``)."""
        return blend.load(folder)
