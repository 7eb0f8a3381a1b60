"""Frames to arrays: order, nulls, and words for what is no number."""

import numpy as np
import pandas as pd
import pytest

from models.core import frames


def frame():
    return pd.DataFrame(
        {
            "b": pd.array([1, None, 3], dtype="Int64"),
            "a": [0.5, np.nan, -1.0],
            "c": [True, False, True],
            "word": ["x", "y", "z"],
            "label": np.array([0, 1, 1], np.int32),
            "judged": [True, False, True],
        }
    )


def test_columns_come_in_the_order_asked_for_and_null_is_nan():
    found = frames.matrix(frame(), ("a", "b", "c"))
    expected = [[0.5, 1, 1], [np.nan, np.nan, 0], [-1, 3, 1]]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float64
    assert found.flags.c_contiguous


def test_no_columns_is_an_empty_matrix():
    assert frames.matrix(frame(), ()).shape == (3, 0)


def test_labels_are_floats():
    np.testing.assert_array_equal(frames.labels(frame()), [0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("names", "said"), [(("a", "gone"), r"\['gone'\].*SQL"), (("word",), "'word' is object.*cast")]
)
def test_what_is_missing_or_no_number_is_named(names, said):
    with pytest.raises(ValueError, match=said):
        frames.matrix(frame(), names)


def test_a_null_label_is_refused():
    holed = frame().assign(label=[0, None, 1])
    with pytest.raises(ValueError, match="1 labels are null"):
        frames.labels(holed)


def test_training_rows_carry_which_rows_are_judged():
    rows = frames.training_rows(frame(), ("a", "c"))
    assert rows.names == ("a", "c")
    np.testing.assert_array_equal(rows.judged, [True, False, True])
    np.testing.assert_array_equal(rows.inputs, frames.matrix(frame(), ("a", "c")))
