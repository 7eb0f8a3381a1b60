"""Which texts a model is fitted on, which are held out of every fit, which labels can be learned.

Belongs here: choosing rows. Does not belong here: fitting, metrics, the product's holdout.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.contracts.learner import Matrix, TextRows

_HASH_RANGE = float(1 << 64)


def held_out(texts: Sequence[str], share: float) -> NDArray[np.bool_]:
    """Texts that are not fitted on: they stop the fit early, and weigh the heads of an ensemble.

    By the hash of the text, not by chance: every model leaves out the same ones, so an ensemble can
    be weighed on texts that none of its members was fitted on; and copies of a text are never on
    both sides. What is held out at one share is held out at every larger one.

    Args:
        texts: n texts; case and spacing do not count.
        share: Of the texts, 0 to 1.

    Returns:
        Shape (n,).
    """
    return np.array([_place(text) < share for text in texts], dtype=bool)


def learnable(labels: Matrix) -> NDArray[np.bool_]:
    """Labels of which both values are known, shape (L,), of labels (n, L) with NaN for unknown."""
    both: NDArray[np.bool_] = (labels == 1).any(axis=0) & (labels == 0).any(axis=0)
    return both


def learnable_or_raise(rows: TextRows) -> NDArray[np.int64]:
    """Numbers of the labels that can be learned.

    Raises:
        ValueError: There is none.
    """
    numbers = np.flatnonzero(learnable(rows.labels))
    if not len(numbers):
        raise ValueError(
            f"none of the labels {', '.join(rows.names)} has both a yes and a no among "
            f"{len(rows.texts)} texts: nothing can be learned; check the labels of the snapshot"
        )
    return numbers


def take(rows: TextRows, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> TextRows:
    """Some of the rows, in their order."""
    numbers = np.arange(len(rows.texts))[chosen]
    return TextRows(tuple(rows.texts[i] for i in numbers), rows.labels[numbers], rows.names)


def at_most(rows: TextRows, most: int | None, seed: int) -> TextRows:
    """All rows, or ``most`` of them drawn without replacement, in their order."""
    if most is None or len(rows.texts) <= most:
        return rows
    drawn = np.random.default_rng(seed).choice(len(rows.texts), most, replace=False)
    return take(rows, np.sort(drawn))


def divide(rows: TextRows, share: float) -> tuple[TextRows, TextRows]:
    """Rows to fit on and rows held out (see ``held_out``).

    Raises:
        ValueError: One of the two would be empty.
    """
    held = held_out(rows.texts, share)
    if held.all() or not held.any():
        raise ValueError(
            f"{len(rows.texts)} texts cannot be divided at held={share}: give more texts, or "
            "another share"
        )
    return take(rows, ~held), take(rows, held)


def copies(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """A number per different text, case and spacing aside; None where all differ.

    (Rows without groups are divided much faster.)
    """
    found, numbers = np.unique([_normal(text) for text in texts], return_inverse=True)
    return numbers if len(found) < len(texts) else None


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())


def _place(text: str) -> float:
    digest = hashlib.sha256(_normal(text).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / _HASH_RANGE
