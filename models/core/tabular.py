"""What every model over a table of columns shares: which columns it reads, and its model.json.

Belongs here: choosing and deriving input columns, importance per column, the probe that catches a
changed library or formula at load. Does not belong here: fitting (``linear``, ``boosting``), and
which columns a product derives (its ``learner.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.contracts.learner import Matrix, TrainingRows, Vector
from models.contracts.product import Trial
from models.core.artifact import ArtifactError

#: File that says what the other files of a saved model are.
MODEL_FILE = "model.json"
#: Training rows kept with a model; it must score them at load as it did when it was saved.
PROBE_ROWS = 32
#: Scores are float32 inside XGBoost; other processors may round the last digits differently.
PROBE_TOLERANCE = 1e-5


class Derived(NamedTuple):
    """A column computed from others.

    Attributes:
        name: Name of the new column; a saved model refers to it.
        sources: The columns it is computed from, in the order of ``compute``'s arguments.
        compute: Takes one (n,) vector per source, returns one; NaN in, NaN out.
    """

    name: str
    sources: tuple[str, ...]
    compute: Callable[..., Vector]


@dataclass(frozen=True)
class Inputs:
    """The columns one model reads, out of all the product's.

    Attributes:
        names: The product's columns: what ``select`` is given, in this order.
        used: Those the model reads.
        derived: Columns computed from used ones and appended.
    """

    names: tuple[str, ...]
    used: tuple[str, ...]
    derived: tuple[Derived, ...] = ()

    @classmethod
    def of(cls, trial: Trial, names: tuple[str, ...], derived: Sequence[Derived] = ()) -> Inputs:
        """The trial's columns, with every derived column that its columns allow."""
        used = trial.columns or names
        possible = tuple(d for d in derived if set(d.sources) <= set(used))
        return cls(names, used, possible)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}

    @cached_property
    def _taken(self) -> list[int]:
        return [self._positions[name] for name in self.used]

    def select(self, inputs: Matrix) -> Matrix:
        """What the model sees.

        Args:
            inputs: Shape (n, d), the product's columns in order.

        Returns:
            Shape (n, used + derived).

        Raises:
            ValueError: The matrix has not the product's columns.
        """
        if inputs.ndim != 2 or inputs.shape[1] != len(self.names):
            raise ValueError(
                f"inputs have shape {inputs.shape}, the model was fitted on (n, {len(self.names)}):"
                f" give the columns {', '.join(self.names)} in this order"
            )
        made = [
            d.compute(*(inputs[:, self._positions[source]] for source in d.sources))
            for d in self.derived
        ]
        return np.column_stack([inputs[:, self._taken], *made])

    def importance(self, weights: Vector) -> dict[str, float]:
        """Weights of the columns the model sees, as shares of the product's columns.

        Args:
            weights: Shape (used + derived,), non-negative, in the order of ``select``.

        Returns:
            One share per used column, summing to 1; a derived column counts for its sources
            equally. All equal when the model uses none.
        """
        shares = dict(zip(self.used, weights.tolist(), strict=False))
        for column, weight in zip(self.derived, weights[len(self.used) :].tolist(), strict=True):
            for source in column.sources:
                shares[source] += weight / len(column.sources)
        total = sum(shares.values())
        return {name: w / total if total else 1 / len(shares) for name, w in shares.items()}


def weights_of(rows: TrainingRows, unjudged: float) -> Vector:
    """Weight of each training row, shape (n,): 1 for judged rows, ``unjudged`` for the others."""
    judged = np.ones(len(rows.labels), bool) if rows.judged is None else rows.judged
    return np.where(judged, 1.0, unjudged)


def probe_of(rows: TrainingRows) -> Matrix:
    """A few training rows spread over time, to be kept with the model."""
    count = min(PROBE_ROWS, len(rows.inputs))
    spread: Matrix = rows.inputs[np.linspace(0, len(rows.inputs) - 1, count).astype(int)]
    return spread


def write_model(
    folder: Path, kind: str, inputs: Inputs, probe: tuple[Matrix, Vector], **more: Any
) -> None:
    """Write ``model.json``: what the model reads, its probe, and what its kind adds."""
    rows, scores = probe
    content = {
        "kind": kind,
        "names": inputs.names,
        "used": inputs.used,
        "derived": [d.name for d in inputs.derived],
        "probe": [[None if np.isnan(v) else v for v in row] for row in rows.tolist()],
        "scores": scores.tolist(),
        **more,
    }
    (folder / MODEL_FILE).write_text(json.dumps(content, indent=1, allow_nan=False))


def read_model(folder: Path) -> dict[str, Any]:
    """Content of ``model.json``.

    Raises:
        ArtifactError: There is none.
    """
    try:
        content: dict[str, Any] = json.loads((folder / MODEL_FILE).read_text())
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder} has no {MODEL_FILE}: fit the candidate again") from error
    return content


def read_inputs(content: Mapping[str, Any], derived: Sequence[Derived] = ()) -> Inputs:
    """The columns a saved model reads.

    Args:
        content: From ``read_model``.
        derived: The product's derived columns as the code has them now.

    Raises:
        ArtifactError: The model reads a derived column that the code no longer has.
    """
    known = {d.name: d for d in derived}
    if gone := [name for name in content["derived"] if name not in known]:
        raise ArtifactError(
            f"the model reads {gone}, which the code no longer derives: fit it again"
        )
    columns = tuple(known[name] for name in content["derived"])
    return Inputs(tuple(content["names"]), tuple(content["used"]), columns)


def read_probe(content: Mapping[str, Any]) -> Matrix:
    """The probe rows of a saved model, shape (k, d)."""
    rows = [[np.nan if v is None else v for v in row] for row in content["probe"]]
    return np.array(rows, dtype=np.float64)


def check_probe(content: Mapping[str, Any], scores: Vector) -> None:
    """Refuse a model that does not score its probe rows as it did when it was saved.

    Args:
        content: From ``read_model``.
        scores: Of the probe rows, now.

    Raises:
        ArtifactError: The scores differ: a library or a derived column changed since the fit.
    """
    worst = float(np.abs(scores - np.array(content["scores"])).max())
    if not worst <= PROBE_TOLERANCE:
        raise ArtifactError(
            f"the model scores its own probe rows {worst:.2g} off: a library or a derived column "
            "changed since it was fitted; fit it again, or install what it was fitted with"
        )
