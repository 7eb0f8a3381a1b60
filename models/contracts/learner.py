"""The two interfaces a product implements: a Learner that fits, a Predictor that predicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.contracts.product import Trial

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


class TrainingRows(NamedTuple):
    """Rows to fit on, in time order.

    Attributes:
        inputs: Shape (n, d) floats in the product's column order; NaN stands for null.
        labels: Shape (n,) of 0.0 or 1.0.
        names: The d column names.
        judged: Shape (n,); rows like those a model is judged on. The others may teach, with the
            weight a learner sees fit, but calibrate and score nothing. None means all.
    """

    inputs: Matrix
    labels: Vector
    names: tuple[str, ...]
    judged: NDArray[np.bool_] | None = None


class Predictor(Protocol):
    """A fitted model. Pure: the same inputs give the same outputs."""

    def predict(self, inputs: Matrix) -> Vector:
        """Probability of the positive class, shape (n,), for inputs of shape (n, d)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model into an existing empty folder, in safe formats only (no pickle)."""
        ...

    def importance(self) -> Mapping[str, float]:
        """Weight of each input in the decision, non-negative, summing to 1."""
        ...


class Learner(Protocol):
    """Fits a trial and loads what was saved."""

    def fit(self, trial: Trial, rows: TrainingRows) -> Predictor:
        """Fit one trial; deterministic given the trial's seed."""
        ...

    def load(self, folder: Path) -> Predictor:
        """Load a verified artifact folder (see ``models.core.artifact``)."""
        ...
