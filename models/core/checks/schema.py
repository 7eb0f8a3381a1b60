"""Are the columns there, of the declared kind, filled and in range?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from models.contracts.product import (
    EVENT_ID,
    EVENT_TIME,
    JUDGED,
    KNOWN_TIME,
    LABEL,
    SLICE_PREFIX,
    TENANT,
    Column,
    Data,
)
from models.contracts.results import CheckResult
from models.core.checks.common import conclude, example

if TYPE_CHECKING:
    import pandas as pd

#: Kind of the columns every feature table carries.
_KINDS = {
    EVENT_ID: "text",
    TENANT: "text",
    EVENT_TIME: "time without zone (UTC)",
    KNOWN_TIME: "time without zone (UTC)",
    LABEL: "int",
    JUDGED: "bool",
}


def schema(*, current: pd.DataFrame, data: Data) -> CheckResult:
    """Missing or mistyped columns, nulls where none may be, values out of range.

    A column that this product does not declare is no fault: products share feature tables, whose
    own columns dbt's contract pins. Such columns are counted and never read.

    Args:
        current: The feature table.
        data: Declares the inputs.

    Returns:
        Check ``schema``.
    """
    slices = [str(c) for c in current.columns if str(c).startswith(SLICE_PREFIX)]
    kinds = _KINDS | dict.fromkeys(slices, "bool") | {c.name: c.kind for c in data.columns}
    problems = list(_presence(current, kinds))
    nullable = {column.name for column in data.columns if column.nullable}
    present = [name for name in kinds if name in current.columns]
    problems += [
        f"{name} is {current[name].dtype}, not {kinds[name]}: cast it in its SQL model"
        for name in present
        if not _is_kind(current[name], kinds[name], nullable=name in nullable)
    ]
    if not problems:
        problems = [*_nulls(current, kinds.keys() - nullable), *_ranges(current, data)]
    others = len({str(column) for column in current.columns} - kinds.keys())
    fine = f"{len(kinds)} columns as declared in {len(current)} rows, {others} not read"
    numbers = {"rows": len(current), "columns": len(kinds), "not_read": others}
    return conclude("schema", problems, fine, numbers)


def has_frame(current: pd.DataFrame) -> bool:
    """Whether there are rows with the columns every feature table carries, sound and filled."""
    return len(current) > 0 and all(
        name in current.columns
        and _is_kind(current[name], kind, nullable=False)
        and not current[name].isna().any()
        for name, kind in _KINDS.items()
    )


def usable(current: pd.DataFrame, data: Data) -> tuple[Column, ...]:
    """The inputs that are there and numbers: what the other checks can look at."""
    from pandas.api import types

    return tuple(
        column
        for column in data.columns
        if column.name in current.columns and types.is_numeric_dtype(current[column.name])
    )


def _presence(frame: pd.DataFrame, kinds: dict[str, str]) -> Iterator[str]:
    if not len(frame):
        yield "the feature table has no rows: look at the sources and the staging models"
    if missing := [name for name in kinds if name not in frame.columns]:
        yield (
            f"{len(missing)} columns are missing ({', '.join(missing)}): add them to the feature's "
            "SQL model, or take them out of the product's columns"
        )


def _is_kind(column: pd.Series, kind: str, *, nullable: bool) -> bool:
    from pandas.api import types

    if kind == "text":
        return types.is_string_dtype(column.dropna())
    if kind.startswith("time"):
        return types.is_datetime64_dtype(column)
    if kind == "bool":
        return types.is_bool_dtype(column)
    if kind == "float":
        return types.is_float_dtype(column)
    if nullable and types.is_float_dtype(column):  # pandas has integers with nulls as floats
        values = column.dropna().to_numpy(np.float64)
        return bool((values == np.floor(values)).all())
    return types.is_integer_dtype(column)


def _nulls(frame: pd.DataFrame, filled: Collection[str]) -> Iterator[str]:
    for name in sorted(filled):
        empty = frame[name].isna().to_numpy()
        if empty.any():
            yield (
                f"{name} is null in {empty.sum()} rows ({example(frame, empty)}): fill it in its "
                "SQL model, or declare it nullable"
            )


def _ranges(frame: pd.DataFrame, data: Data) -> Iterator[str]:
    for column in data.columns:
        values = frame[column.name].to_numpy(np.float64, na_value=np.nan)
        low = -np.inf if column.minimum is None else column.minimum
        high = np.inf if column.maximum is None else column.maximum
        wrong = (values < low) | (values > high) | np.isinf(values)
        if wrong.any():
            first = values[np.argmax(wrong)]
            yield (
                f"{column.name} is outside {_bounds(column)} in {wrong.sum()} rows "
                f"({example(frame, wrong)}: {first:g}): mend the source or its SQL model"
            )


def _bounds(column: Column) -> str:
    low = "-" if column.minimum is None else f"{column.minimum:g}"
    high = "-" if column.maximum is None else f"{column.maximum:g}"
    return f"[{low}, {high}]"
