"""From feature tables to the arrays that learners take.

Belongs here: the one place where null becomes NaN and column order is fixed.
Does not belong here: reading files, dividing rows (``splits``), judging them (``checks``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.contracts.learner import Matrix, TrainingRows, Vector
from models.contracts.product import JUDGED, LABEL

if TYPE_CHECKING:
    import pandas as pd


def matrix(frame: pd.DataFrame, names: Sequence[str]) -> Matrix:
    """The named columns as floats.

    Args:
        frame: n rows.
        names: d column names, in the order wanted.

    Returns:
        Shape (n, d), C-contiguous; null is NaN.

    Raises:
        ValueError: A column is missing or holds something that is no number.
    """
    _require(frame, names)
    columns = [_floats(frame[name]) for name in names]
    return np.ascontiguousarray(np.column_stack(columns)) if columns else np.empty((len(frame), 0))


def labels(frame: pd.DataFrame) -> Vector:
    """The label column as floats, shape (n,).

    Raises:
        ValueError: There is no label column, or a label is null.
    """
    _require(frame, (LABEL,))
    values = _floats(frame[LABEL])
    if missing := int(np.isnan(values).sum()):
        raise ValueError(f"{missing} labels are null; leave rows without an outcome out of the SQL")
    return values


def training_rows(frame: pd.DataFrame, names: Sequence[str]) -> TrainingRows:
    """A frame in time order as a learner takes it, with its ``judged`` column.

    Raises:
        ValueError: As ``matrix`` and ``labels``.
    """
    _require(frame, (JUDGED,))
    judged = frame[JUDGED].to_numpy(dtype=bool)
    return TrainingRows(matrix(frame, names), labels(frame), tuple(names), judged)


def _floats(column: pd.Series) -> Vector:
    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"column {column.name!r} is {column.dtype}, not a number; cast it in its SQL model"
        ) from error


def _require(frame: pd.DataFrame, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in frame.columns]:
        raise ValueError(
            f"columns {missing} are not in the table; add them to its SQL model or take them out "
            "of the product's columns"
        )
