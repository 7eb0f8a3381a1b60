"""Shares of values outside their bounds and of nulls."""

from __future__ import annotations

import numpy as np
import pytest

from models.contracts.product import Column
from models.core.data_quality import data_quality

COLUMNS = (
    Column(name="share", description="", minimum=0, maximum=1),
    Column(name="count", kind="int", description="", minimum=0, nullable=True),
    Column(name="free", description=""),
)


def test_values_outside_and_nulls_are_named_with_their_share() -> None:
    nan = np.nan
    inputs = np.array(
        [[0.5, 3, -9.0], [1.5, nan, 1e9], [-0.1, 2.5, 0.0], [1.0, -1, nan]], dtype=float
    )
    found = data_quality(COLUMNS, inputs, contradictions=2, orphans=1)
    assert found.outside == {"share": 0.5, "count": 0.5}, "2.5 is no count, -1 is below 0"
    assert found.nulls == {"count": 0.25, "free": 0.25}
    assert (found.contradictions, found.orphans) == (2, 1)


def test_clean_rows_and_no_rows_name_nothing() -> None:
    clean = np.array([[0.0, 0.0, 0.0], [1.0, 5.0, -3.5]])
    for inputs in (clean, clean[:0], None):
        found = data_quality(COLUMNS, inputs, contradictions=0, orphans=0)
        assert found.outside == {}
        assert found.nulls == {}


def test_rows_of_another_spec_are_refused() -> None:
    with pytest.raises(ValueError, match="have 2 inputs, the product declares 3"):
        data_quality(COLUMNS, np.zeros((5, 2)), contradictions=0, orphans=0)
