"""What the checks share: putting a result together, and finding rows again in the last snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from models.contracts.product import EVENT_ID
from models.contracts.results import CheckResult

if TYPE_CHECKING:
    import pandas as pd

Mask = NDArray[np.bool_]


class Shared(NamedTuple):
    """Rows of two frames with the same event id: row i of ``now`` is row i of ``before``."""

    now: pd.DataFrame
    before: pd.DataFrame


def conclude(
    name: str, problems: Sequence[str], fine: str, numbers: Mapping[str, JsonValue] | None = None
) -> CheckResult:
    """A result that failed when there are problems, and says all of them."""
    message = "; ".join(problems) if problems else fine
    return CheckResult(name=name, passed=not problems, message=message, numbers=dict(numbers or {}))


def example(frame: pd.DataFrame, mask: Mask) -> str:
    """The first row a mask marks, by its event id."""
    return f"e.g. {frame[EVENT_ID].iloc[int(np.argmax(mask))]}"


def shared(current: pd.DataFrame, previous: pd.DataFrame) -> Shared:
    """Rows present in both frames, in the order of ``current``; of duplicated ids the first."""
    now = current.drop_duplicates(EVENT_ID).set_index(EVENT_ID)
    before = previous.drop_duplicates(EVENT_ID).set_index(EVENT_ID)
    ids = now.index[now.index.isin(before.index)]
    return Shared(now.loc[ids], before.loc[ids])


def arrived(current: pd.DataFrame, previous: pd.DataFrame) -> Mask:
    """Which rows of ``current`` the last snapshot did not have, shape (n,)."""
    new: Mask = ~current[EVENT_ID].isin(previous[EVENT_ID]).to_numpy()
    return new


def changed(now: pd.Series, before: pd.Series) -> Mask:
    """Where two aligned columns differ, shape (n,); null equals null, rounding is forgiven."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(now) and pd.api.types.is_numeric_dtype(before):
        a, b = (column.to_numpy(np.float64, na_value=np.nan) for column in (now, before))
        near: Mask = np.isclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True)
        return ~near
    equal = (now == before) | (now.isna() & before.isna())
    differs: Mask = ~equal.to_numpy(dtype=bool)
    return differs
