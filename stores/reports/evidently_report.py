"""The Evidently report: quality of the scores on the holdout, drift of its inputs.

With ``evidently_drift`` (traffic) the only place that knows Evidently (0.7's API). It writes a
picture for a person; the checks and the gate have arithmetic of their own and never read it.
Evidently takes seconds to import, so it is imported inside ``write_evidently`` only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.contracts.learner import Vector
from models.contracts.product import LABEL
from stores.files import write_atomic
from stores.reports import ReportError

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 10_000
#: One method for every column, so that figures compare: Wasserstein distance in units of the
#: training rows' standard deviation (what Evidently itself takes for numbers above 1,000 rows).
DRIFT_METHOD, DRIFT_THRESHOLD = "wasserstein", 0.1
#: Evidently's metric -> our name.
QUALITY = {
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "F1Score": "f1",
    "RocAuc": "roc_auc",
    "LogLoss": "log_loss",
}


@dataclass(frozen=True)
class EvidentlySummary:
    """What the report says, typed.

    Attributes:
        path: The HTML file (4 to 6 MB: it carries its own script).
        rows: Judged units in it (a sample when there were more than 10,000).
        reference_rows: Training rows in it.
        drift: Column -> distance to the training rows, in their standard deviations.
        drifted: Columns at or over ``DRIFT_THRESHOLD``, farthest first.
        drift_share: Share of the compared columns that drifted.
        skipped: Columns without a single value on one of the sides.
        quality: Metric of the holdout rows shown -> value.
    """

    path: Path
    rows: int
    reference_rows: int
    drift: Mapping[str, float]
    drifted: tuple[str, ...]
    drift_share: float
    skipped: tuple[str, ...]
    quality: Mapping[str, float]


def write_evidently(
    path: Path,
    holdout: pd.DataFrame,
    train: pd.DataFrame,
    *,
    columns: Sequence[str],
    labels: Vector,
    scores: Vector,
    threshold: float,
    max_rows: int = MAX_ROWS,
    seed: int = 0,
) -> EvidentlySummary:
    """Write one HTML: how the scores classify the holdout, and how its inputs drifted.

    Quality is shown for the holdout alone: scores of rows the model was fitted on say nothing.

    Args:
        path: HTML file to write, in one step.
        holdout: Holdout rows with the columns.
        train: Training rows, the reference of the drift.
        columns: Numeric model inputs.
        labels: Shape (n,) of 0 or 1, of the judged units (rows, texts, users).
        scores: Shape (n,), probability of the positive class.
        threshold: Decision threshold.
        max_rows: Larger frames are sampled down to this, without replacement.
        seed: Of that sample.

    Raises:
        ReportError: Rows and scores do not match, a column is missing, or no column has values.
    """
    _check(holdout, train, columns, labels, scores)
    judged = sample_rows(_units(labels, scores, threshold), max_rows, seed)
    current, reference = (sample_rows(rows, max_rows, seed) for rows in (holdout, train))
    usable = comparable(columns, {"holdout": current, "training rows": reference})
    with quiet_evidently():
        quality, drift, page = _run(judged, current, reference, usable, threshold)
    write_atomic(path, page)
    drifted = (name for name in drift if drift[name] >= DRIFT_THRESHOLD)
    far = sorted(drifted, key=lambda name: -drift[name])
    return EvidentlySummary(
        path=path,
        rows=len(judged),
        reference_rows=len(reference),
        drift=drift,
        drifted=tuple(far),
        drift_share=len(far) / len(usable),
        skipped=tuple(name for name in columns if name not in usable),
        quality=quality,
    )


def _units(labels: Vector, scores: Vector, threshold: float) -> pd.DataFrame:
    """The judged units under the names that ``_run`` tells Evidently."""
    import pandas as pd

    decision = (scores >= threshold).astype(np.int64)
    return pd.DataFrame({LABEL: labels.astype(np.int64), "score": scores, "decision": decision})


def _run(
    judged: pd.DataFrame,
    current: pd.DataFrame,
    reference: pd.DataFrame,
    columns: list[str],
    threshold: float,
) -> tuple[dict[str, float], dict[str, float], str]:
    """Run both presets and lay their widgets into one page (script and style once, not twice)."""
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently.core.metric_types import render_widgets
    from evidently.legacy.renderers.html_widgets import group_widget, header_text
    from evidently.presets import ClassificationPreset, DataDriftPreset

    task = BinaryClassification(
        target="label", prediction_labels="decision", prediction_probas="score"
    )
    scored = DataDefinition(classification=[task])
    inputs = DataDefinition(numerical_columns=columns)
    quality = Report([ClassificationPreset(probas_threshold=threshold)]).run(
        Dataset.from_pandas(judged, data_definition=scored), None
    )
    preset = DataDriftPreset(columns=columns, method=DRIFT_METHOD, threshold=DRIFT_THRESHOLD)
    drift = Report([preset]).run(
        Dataset.from_pandas(current[columns], data_definition=inputs),
        Dataset.from_pandas(reference[columns], data_definition=inputs),
    )
    # A run with a reference wants scores for the reference too, so these are two runs; only the
    # widgets of a run, which Evidently keeps private, can be laid into one page.
    sections = (
        (f"Classification quality, {len(judged):,} judged units", quality),
        (f"Inputs: {len(current):,} holdout against {len(reference):,} training rows", drift),
    )
    widgets = [
        group_widget(title="", widgets=[header_text(label=name), *run._widgets])
        for name, run in sections
    ]
    return _quality(quality.dict()), _drift(drift.dict()), str(render_widgets(widgets))


def _quality(found: Mapping[str, Any]) -> dict[str, float]:
    """Our names and plain floats for the single-valued classification metrics."""
    values = {
        metric["config"]["type"].split(":")[-1]: metric["value"] for metric in found["metrics"]
    }
    return {name: float(values[theirs]) for theirs, name in QUALITY.items()}


def _drift(found: Mapping[str, Any]) -> dict[str, float]:
    """Column to drift distance."""
    return {
        str(metric["config"]["column"]): float(metric["value"])
        for metric in found["metrics"]
        if metric["config"]["type"].endswith(":ValueDrift")
    }


def comparable(columns: Sequence[str], sides: Mapping[str, pd.DataFrame]) -> list[str]:
    """Columns with a value on every side.

    Raises:
        ReportError: There is none.
    """
    usable = [name for name in columns if all(f[name].notna().any() for f in sides.values())]
    if not usable:
        raise ReportError(f"no column has a value in both {' and '.join(sides)}")
    return usable


def sample_rows(frame: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """The rows, or a seeded sample of them in their order."""
    chosen = frame if len(frame) <= most else frame.sample(most, random_state=seed).sort_index()
    return chosen.reset_index(drop=True)


def _check(
    holdout: pd.DataFrame,
    train: pd.DataFrame,
    columns: Sequence[str],
    labels: Vector,
    scores: Vector,
) -> None:
    if scores.shape != labels.shape or not len(labels):
        raise ReportError(f"labels of shape {labels.shape} but scores of shape {scores.shape}")
    if holdout.empty or train.empty:
        raise ReportError("the Evidently report wants holdout and training rows; one has none")
    for side, frame in (("holdout", holdout), ("train", train)):
        missing = [name for name in columns if name not in frame]
        if missing:
            raise ReportError(f"{side} rows lack the columns {missing}")


@contextmanager
def quiet_evidently() -> Iterator[None]:
    """Silence what Evidently 0.7.23 and the Litestar it imports warn of, no more."""
    with warnings.catch_warnings():
        for message in (
            r"numpy\.core is deprecated",
            r"invalid escape sequence",
            r"Call to deprecated function 'Dependency'",
            r"Use of deprecated class 'DependencyKwarg'",
        ):
            warnings.filterwarnings("ignore", message=message, category=DeprecationWarning)
        # a threshold that nothing reaches: Evidently shows precision 0
        warnings.filterwarnings("ignore", message="Precision is ill-defined")
        yield
