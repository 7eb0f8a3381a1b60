"""What every algorithm of this folder is to the recommender, and what they share.

Belongs here: the interface, the matrix they learn from, the files they are kept in. Does not belong
here: any algorithm, ids, filters and top-k (``recommender``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models.contracts.learner import FitContext, Interactions
from models.contracts.product import Trial
from models.core.artifact import ArtifactError

Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]
#: What an algorithm can answer from; several: any one will do; none: it needs nothing.
Reads = tuple[Literal["user", "history"], ...]

#: Kind of a saved scorer to the module whose ``load`` reads it. No file can name another module.
MODULES: Mapping[str, str] = MappingProxyType(
    {
        kind: f"models.core.ranking.{kind}"
        for kind in (
            "popularity", "itemknn", "ease", "ials", "svdpp", "graph_filter", "content", "social",
            "neumf", "lightgcn", "sasrec",
        )
    }
)  # fmt: skip

SETTINGS, ARRAYS = "scorer.json", "scorer.safetensors"


class Scorer(Protocol):
    """A fitted algorithm. Pure, and a user's scores do not depend on the others of the batch."""

    @property
    def kind(self) -> str:
        """A key of ``MODULES``."""
        ...

    @property
    def reads(self) -> Reads:
        """What it answers from. The recommender asks it only where it has that."""
        ...

    @property
    def liked_only(self) -> bool:
        """Whether it was fitted on liked interactions only, and so wants such histories."""
        ...

    def score(self, users: Numbers, histories: Sequence[Numbers], /) -> Scores:
        """Scores of the full catalogue; higher is better, comparable within a row.

        Args:
            users: Shape (b,), numbers into the training rows' ``user_ids``; -1 for an unknown one.
            histories: Per user, item numbers in time order: training rows, then what came since.

        Returns:
            A new array of shape (b, m), finite; the caller may write into it.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write into an existing empty folder, by ``write_scorer``."""
        ...


def positives(rows: Interactions, liked_only: bool) -> sp.csr_array:
    """Who had to do with what, each pair once.

    Returns:
        Shape (users, items) of float32 ones, column numbers sorted.
    """
    keep = rows.liked if liked_only else np.ones(len(rows.users), bool)
    shape = (len(rows.user_ids), len(rows.catalogue.items))
    return _ones(rows.users[keep], rows.items[keep], shape)


def history_matrix(histories: Sequence[Numbers], items: int) -> sp.csr_array:
    """The same for histories, one row each; shape (len(histories), items)."""
    lengths = [len(history) for history in histories]
    users = np.repeat(np.arange(len(histories)), lengths)
    columns = np.concatenate([*histories, np.empty(0, np.int64)])
    return _ones(users, columns, (len(histories), items))


def _ones(users: Numbers, items: Numbers, shape: tuple[int, int]) -> sp.csr_array:
    matrix = sp.csr_array((np.ones(len(users), np.float32), (users, items)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def write_scorer(
    folder: Path, scorer: Scorer, arrays: Mapping[str, NDArray[Any]], **settings: Any
) -> None:
    """Write a scorer's arrays, and JSON settings beside its kind and ``liked_only``."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / ARRAYS)
    content = {"kind": scorer.kind, "liked_only": scorer.liked_only, **settings}
    (folder / SETTINGS).write_text(json.dumps(content, indent=1, allow_nan=False))


def read_scorer(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Settings (without the kind) and arrays of what ``write_scorer`` wrote."""
    from safetensors.numpy import load_file

    settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text())
    settings.pop("kind")
    return settings, load_file(folder / ARRAYS)


def fit_scorer(trial: Trial, rows: Interactions, context: FitContext) -> Scorer:
    """Fit the algorithm that the trial's parameter ``model`` names, by its module's ``fit``.

    Raises:
        ValueError: There is no such algorithm.
    """
    kind = trial.params.get("model")
    if kind not in MODULES:
        raise ValueError(f"trial {trial.name!r}: no model {kind!r}, choose from {list(MODULES)}")
    return cast("Scorer", import_module(MODULES[str(kind)]).fit(trial, rows, context))


def load_scorer(folder: Path) -> Scorer:
    """Load a scorer of any kind from a verified folder.

    Raises:
        ArtifactError: No scorer, or one of a kind this code does not know.
    """
    try:
        kind = json.loads((folder / SETTINGS).read_text())["kind"]
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder} has no {SETTINGS}: fit the candidate again") from error
    if kind not in MODULES:
        raise ArtifactError(
            f"{folder} holds a scorer of kind {kind!r}, this code knows {', '.join(MODULES)}: "
            "serve it with the code it was fitted with, or fit it again"
        )
    return cast("Scorer", import_module(MODULES[kind]).load(folder))
