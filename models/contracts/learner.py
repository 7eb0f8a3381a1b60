"""The interfaces a product implements: a Learner that fits, and what it fits, by contract.

Rows are what a learner is given, a predictor is what it returns. All three kinds of predictor save
and explain themselves in the same way; what they answer differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.contracts.product import Trial

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

Rows_contra = TypeVar("Rows_contra", contravariant=True)
Fitted_co = TypeVar("Fitted_co", covariant=True)


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


class TextRows(NamedTuple):
    """Texts to fit on, in time order.

    Attributes:
        texts: n texts.
        labels: Shape (n, L) of 0.0 or 1.0; NaN where nobody said.
        names: The L label names.
    """

    texts: tuple[str, ...]
    labels: Matrix
    names: tuple[str, ...]


class Catalogue(NamedTuple):
    """What can be recommended.

    Attributes:
        items: m ids, unique; their positions are the item numbers everywhere.
        fields: Field name (``title``, ``description``, ``tags``, ``category``) to m texts, "" where
            there is none.
    """

    items: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]]


class Interactions(NamedTuple):
    """Who had to do with what, in time order.

    Attributes:
        users: Shape (n,), numbers into ``user_ids``.
        items: Shape (n,), numbers into ``catalogue.items``.
        strengths: Shape (n,), a rating or a count; 1.0 where only the fact is known.
        liked: Shape (n,); whether it is what a recommendation is for. The others still teach.
        times: Shape (n,), seconds since 1970.
        user_ids: u ids, unique.
        friends: Shape (f, 2) user numbers of an undirected social graph; empty where none is known.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    strengths: Vector
    liked: NDArray[np.bool_]
    times: Vector
    user_ids: tuple[str, ...]
    catalogue: Catalogue
    friends: NDArray[np.int64]


def _silent(*_: object) -> None:
    """Nobody asked to be told."""


class FitContext(NamedTuple):
    """What a fit may use beside its rows.

    Attributes:
        bases: Trial name to its fitted predictor, for every name in ``Trial.after``.
        folder: Where a long fit keeps its checkpoints, so that it goes on after a kill; None keeps
            none. Emptied by the caller when the fit's result is safe.
        say: Told a line of progress now and then.
        curve: Told ``(name, step, value)`` of what a person wants to see as a curve.
    """

    bases: Mapping[str, Any] = MappingProxyType({})
    folder: Path | None = None
    say: Callable[[str], object] = _silent
    curve: Callable[[str, int, float], object] = _silent


#: A fit that nobody watches and that keeps nothing.
ALONE = FitContext()


class Saved(Protocol):
    """What every fitted model can do."""

    def save(self, folder: Path) -> None:
        """Write the model into an existing empty folder, in safe formats only (no pickle)."""
        ...

    def importance(self) -> Mapping[str, float]:
        """Weight of each input in the decision, non-negative, summing to 1; may be empty."""
        ...


class Predictor(Saved, Protocol):
    """A fitted model over rows. Pure: the same inputs give the same outputs."""

    def predict(self, inputs: Matrix) -> Vector:
        """Probability of the positive class, shape (n,), for inputs of shape (n, d)."""
        ...


class TextPredictor(Saved, Protocol):
    """A fitted model over texts. Pure, and a text's answer does not depend on its neighbours."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The L labels, in the order answered."""
        ...

    def predict(self, texts: Sequence[str]) -> Matrix:
        """Probability of every label, shape (n, L), for n texts (any may be empty)."""
        ...


class Query(NamedTuple):
    """One question to a recommender.

    Attributes:
        user: Id; None or an unknown one gets the cold-start answer, by ``history`` where given.
        k: How many items, at least 1.
        history: Items the user had to do with since the model was fitted, newest last.
        exclude: Items that must not be answered.
        only: When given, nothing else may be answered.
        seen: Whether items the user had to do with may be answered.
        algorithm: One of ``algorithms``; None takes the first.
    """

    user: str | None
    k: int = 10
    history: tuple[str, ...] = ()
    exclude: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    seen: bool = False
    algorithm: str | None = None


class Ranking(NamedTuple):
    """The answer: at most k items, best first; fewer where no more may be answered.

    Attributes:
        scores: Falling; comparable within one answer only.
        algorithm: Who answered; the fallback's name for a user nobody knows.
        known: Whether the user was in the training rows.
    """

    items: tuple[str, ...]
    scores: tuple[float, ...]
    algorithm: str
    known: bool


class Recommender(Saved, Protocol):
    """A fitted model that ranks the whole catalogue. Pure, one query independent of the others."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Members that may be asked for by name; the first answers when nobody asks."""
        ...

    def recommend(self, queries: Sequence[Query]) -> tuple[Ranking, ...]:
        """One ranking per query.

        Raises:
            ValueError: A query asks for an algorithm that is not there, or for less than one item.
        """
        ...


class Learner(Protocol[Rows_contra, Fitted_co]):
    """Fits a trial and loads what was saved."""

    def fit(self, trial: Trial, rows: Rows_contra, context: FitContext, /) -> Fitted_co:
        """Fit one trial; deterministic given the trial's seed."""
        ...

    def load(self, folder: Path, /) -> Fitted_co:
        """Load a verified artifact folder (see ``models.core.artifact``)."""
        ...
