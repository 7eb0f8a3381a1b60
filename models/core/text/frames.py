"""From feature tables to texts and their labels.

Belongs here: the one place where null becomes NaN and the order of labels is fixed. Does not
belong here: choosing rows (``rows``), judging them (``models.core.checks``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.contracts.api.texts import join_context
from models.contracts.learner import Matrix, TextRows
from models.contracts.product import CONTEXT, LABEL, LABEL_PREFIX, RATIONALE, TEXT
from models.core.frames import matrix

if TYPE_CHECKING:
    import pandas as pd


def texts(frame: pd.DataFrame) -> tuple[str, ...]:
    """The texts with what they reply to, where it is known, in the frame's order."""
    said = frame[TEXT].astype(str)
    if CONTEXT not in frame.columns:
        return tuple(said)
    context = frame[CONTEXT].where(frame[CONTEXT].notna(), None)
    return tuple(map(join_context, said, context))


def rationales(frame: pd.DataFrame) -> list[list[tuple[int, int]]]:
    """Start and end of what people marked in each harmful text; nothing where nobody did."""
    if RATIONALE not in frame.columns:
        return [[]] * len(frame)
    told = frame[RATIONALE].where(frame[RATIONALE].notna() & (frame[LABEL] == 1), "[]")
    return [json.loads(spans) for spans in told]


def label_matrix(frame: pd.DataFrame, names: Sequence[str]) -> Matrix:
    """Shape (n, L) of 0.0, 1.0, or NaN where nobody said, in the order of ``names``.

    Raises:
        ValueError: A label's column is missing.
    """
    return matrix(frame, [f"{LABEL_PREFIX}{name}" for name in names])


def text_rows(frame: pd.DataFrame, names: Sequence[str], fewest: int) -> TextRows:
    """Texts to fit on.

    Args:
        frame: n rows in time order.
        names: The labels.
        fewest: A label with fewer rows of either class is left out (all NaN): a model answers
            nothing to it, rather than a number made of a handful of texts.
    """
    labels = label_matrix(frame, names)
    rarer = np.minimum((labels == 1).sum(axis=0), (labels == 0).sum(axis=0))
    labels[:, rarer < fewest] = np.nan
    return TextRows(texts(frame), labels, tuple(names))
