"""Which models the trials of this product fit, and the columns only they derive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.contracts.learner import ALONE, FitContext, Predictor, TrainingRows
from models.contracts.product import Trial
from models.core import boosting, linear, tabular
from models.core.tabular import Derived

#: Products and ratios that shallow trees would need many splits to imitate.
DERIVED = (
    Derived("overlap_lines_product", ("lines_overlap_ours", "lines_overlap_theirs"), np.multiply),
    Derived("overlap_lines_sum", ("lines_overlap_ours", "lines_overlap_theirs"), np.add),
    Derived(
        "user_conflict_rate_smoothed",
        ("user_past_conflicts", "user_past_merges"),
        lambda conflicts, merges: (conflicts + 0.5) / (merges + 5.0),
    ),
    Derived(
        "user_conflict_rate_relative",
        ("user_conflict_rate", "tenant_recent_conflict_rate"),
        lambda user, tenant: user / (tenant + 0.01),
    ),
    Derived(
        "overlap_conflicts_per_edit",
        ("overlap_past_conflicts_sum", "overlap_edits_sum"),
        lambda conflicts, edits: conflicts / np.maximum(edits, 1.0),
    ),
    Derived(
        "overlap_conflicts_per_file",
        ("overlap_past_conflicts_sum", "files_overlap"),
        lambda conflicts, files: conflicts / np.maximum(files, 1.0),
    ),
    Derived(
        "overlap_edits_per_file",
        ("overlap_edits_sum", "files_overlap"),
        lambda edits, files: edits / np.maximum(files, 1.0),
    ),
)


class SyncConflictLearner:
    """Fits a logistic regression or boosted trees, by ``params["model"]``."""

    def fit(self, trial: Trial, rows: TrainingRows, context: FitContext = ALONE, /) -> Predictor:
        """Fit one trial; deterministic given the trial's seed.

        Raises:
            ValueError: ``params["model"]`` names no model of this product.
        """
        del context  # a fit takes seconds
        match trial.params.get("model"):
            case linear.KIND:
                return linear.fit(trial, rows)
            case boosting.KIND:
                return boosting.fit(trial, rows, DERIVED)
            case other:
                raise ValueError(
                    f"trial {trial.name!r}: params['model'] is {other!r}, give {linear.KIND!r} or "
                    f"{boosting.KIND!r}"
                )

    def load(self, folder: Path) -> Predictor:
        """Load a verified artifact folder (see ``models.core.artifact``)."""
        if tabular.read_model(folder)["kind"] == linear.KIND:
            return linear.load(folder)
        return boosting.load(folder, DERIVED)
