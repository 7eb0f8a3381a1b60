"""What was wrong with the rows of a window themselves. Measured here, judged by a person.

Does not belong here: how far columns moved (``drift_effect``), or the checks of a snapshot
(``checks``), which block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.contracts.monitoring import DataQuality
from models.contracts.product import Column


def data_quality(
    columns: Sequence[Column], inputs: Matrix | None, *, contradictions: int, orphans: int
) -> DataQuality:
    """Shares of values outside their declared bounds and of nulls, where they are not zero.

    Args:
        columns: The d declared inputs.
        inputs: Shape (n, d), NaN for null; None when the log holds no inputs.
        contradictions: Predictions whose outcome reports contradict each other.
        orphans: Outcome reports without a known prediction.

    Raises:
        ValueError: The matrix has another number of columns than are declared.
    """
    outside, nulls = {}, {}
    if inputs is not None and len(inputs):
        if inputs.shape[1] != len(columns):
            raise ValueError(
                f"logged rows have {inputs.shape[1]} inputs, the product declares {len(columns)}; "
                "judge them with the product's spec of their time"
            )
        for i, column in enumerate(columns):
            values = inputs[:, i]
            if share := _outside(column, values):
                outside[column.name] = share
            if share := float(np.isnan(values).mean()):
                nulls[column.name] = share
    return DataQuality(outside=outside, nulls=nulls, contradictions=contradictions, orphans=orphans)


def _outside(column: Column, values: Vector) -> float:
    """Share of values beyond the bounds, or not whole where whole numbers are declared."""
    wrong = np.zeros(len(values), bool)
    if column.minimum is not None:
        wrong |= values < column.minimum
    if column.maximum is not None:
        wrong |= values > column.maximum
    if column.kind == "int":
        wrong |= ~np.isnan(values) & (values != np.round(values))
    return float(wrong.mean())
