"""Logistic regression on signed logarithms, kept as a skops file.

Belongs here: fitting, predicting, saving and loading it. Does not belong here: which columns it
reads (``tabular``), when it is fitted (a product's ``learner.py``).
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.contracts.base import Frozen
from models.contracts.learner import Matrix, TrainingRows, Vector
from models.contracts.product import Trial
from models.core import tabular
from models.core.artifact import ArtifactError
from models.core.tabular import Inputs

KIND = "logistic"
_FILE = "pipeline.skops"
#: Types beyond skops' own allow-list that a pipeline may hold. Never taken from the file.
TRUSTED = ("numpy.dtype",)
#: The earliest time a zip entry can carry: files must not differ by when they were written.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class LogisticParams(Frozen):
    """Parameters of a logistic trial.

    Attributes:
        penalty: Inverse strength of the L2 penalty, scikit-learn's C.
        unjudged_weight: Weight of rows that teach but are not judged.
    """

    model: str = KIND
    penalty: float = 1.0
    unjudged_weight: float = 1.0


@dataclass(frozen=True)
class LogisticPredictor:
    """A fitted pipeline: impute the median, mark what was missing, scale, weigh."""

    inputs: Inputs
    pipeline: Any
    probe: Matrix

    def predict(self, inputs: Matrix) -> Vector:
        """Probability of the positive class, shape (n,), for inputs of shape (n, d)."""
        scores: Vector = self.pipeline.predict_proba(_features(self.inputs, inputs))[:, 1]
        return scores

    def save(self, folder: Path) -> None:
        """Write ``model.json`` and ``pipeline.skops``; equal models give equal bytes."""
        import skops.io

        (folder / _FILE).write_bytes(canonical(skops.io.dumps(self.pipeline)))
        tabular.write_model(folder, KIND, self.inputs, (self.probe, self.predict(self.probe)))

    def importance(self) -> Mapping[str, float]:
        """Share of each column in the sum of |coefficient| on standardised columns.

        The mark "was missing" of a column counts for the column.
        """
        weights = np.abs(self.pipeline[-1].coef_[0])
        width = len(self.inputs.used) + len(self.inputs.derived)
        total = weights[:width].copy()
        marks = self.pipeline[0].indicator_.features_
        total[marks] += weights[width:]
        return self.inputs.importance(total)


def fit(trial: Trial, rows: TrainingRows) -> LogisticPredictor:
    """Fit a logistic regression on the trial's columns.

    Counts and hours span decades, so columns enter as ``sign(x) * log(1 + |x|)``.

    Args:
        trial: With ``LogisticParams`` as its params.
        rows: Training rows.

    Returns:
        The predictor.

    Raises:
        pydantic.ValidationError: A parameter that this model does not have.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    params = LogisticParams.model_validate(trial.params)
    inputs = Inputs.of(trial, rows.names)
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=params.penalty, solver="newton-cholesky", max_iter=100),
    )
    weights = tabular.weights_of(rows, params.unjudged_weight)
    features = _features(inputs, rows.inputs)
    with threadpool_limits(limits=1):  # as in boosting: sums must not depend on the cores
        pipeline.fit(features, rows.labels, logisticregression__sample_weight=weights)
    return LogisticPredictor(inputs, pipeline, tabular.probe_of(rows))


def load(folder: Path) -> LogisticPredictor:
    """Load what ``save`` wrote; only types on the allow-list are built.

    Raises:
        ArtifactError: A type outside the allow-list, or scores that differ from those at save time.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    content = tabular.read_model(folder)
    try:
        pipeline = skops.io.load(folder / _FILE, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as error:
        raise ArtifactError(
            f"{folder / _FILE}: {error} Refused; fit the candidate again"
        ) from error
    predictor = LogisticPredictor(
        tabular.read_inputs(content), pipeline, tabular.read_probe(content)
    )
    tabular.check_probe(content, predictor.predict(predictor.probe))
    return predictor


def canonical(dump: bytes) -> bytes:
    """A skops dump without what differs from run to run: memory addresses and times.

    skops names arrays and shared objects by ``id()``; here they are numbered as they appear.
    """
    with zipfile.ZipFile(io.BytesIO(dump)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return f"{found[1]}{numbers.setdefault(found[2], str(len(numbers)))}{found[3]}"

    schema = content.pop("schema.json").decode()
    schema = re.sub(r'("__id__": )(\d+)()', number, schema)
    schema = re.sub(r'("file": ")(\d+)(\.np[yz]")', number, schema)
    renamed = {"schema.json": schema.encode()}
    for name, data in content.items():
        stem, dot, suffix = name.partition(".")
        renamed[numbers[stem] + dot + suffix] = data
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(renamed):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), renamed[name])
    return out.getvalue()


def _features(inputs: Inputs, matrix: Matrix) -> Matrix:
    chosen = inputs.select(matrix)
    signed: Matrix = np.sign(chosen) * np.log1p(np.abs(chosen))
    return signed
