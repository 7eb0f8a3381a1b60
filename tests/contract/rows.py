"""Rows of any product, drawn from its column specs. Knows no product by name, asserts nothing.

Belongs here: seeded inputs within every column's bounds, labels that depend on them, the same rows
as a feature table, and trials at a lower price. The labels' law is made up, so a figure measured on
these rows says that the code works, never how good a product is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from models.contracts.learner import Matrix, TrainingRows, Vector
from models.contracts.product import SLICE_PREFIX, Column, ModelProduct, Trial

if TYPE_CHECKING:
    import pandas as pd

TENANTS = ("acme", "globex", "initech")
#: Parameters that say how large a model is, whatever the model, and what is enough here.
SIZES = {"rounds": 25, "trees": 25, "epochs": 2, "folds": 3}
_NULLS, _UNJUDGED, _POSITIVE = 0.1, 0.15, 0.35
_LAW_COLUMNS, _NOISE = 3, 0.35


def cheap(trial: Trial) -> Trial:
    """The trial with its size parameters lowered; everything else as declared."""
    smaller = {
        name: min(value, SIZES[name]) if name in SIZES and isinstance(value, int) else value
        for name, value in trial.params.items()
    }
    return trial.model_copy(update={"params": smaller})


def draw(product: ModelProduct, count: int, seed: int) -> Matrix:
    """Inputs within their bounds, shape (count, d); nullable columns have some NaN."""
    rng = np.random.default_rng(seed)
    return np.column_stack([_values(column, count, rng) for column in product.data.columns])


def training_rows(product: ModelProduct, count: int = 400, seed: int = 0) -> TrainingRows:
    """Rows whose label depends, with noise, on columns that every trial reads."""
    inputs = draw(product, count, seed)
    rng = np.random.default_rng(seed + 10_000)
    return TrainingRows(
        inputs, _labels(product, inputs, rng), product.data.names, rng.random(count) > _UNJUDGED
    )


def feature_frame(product: ModelProduct, count: int, seed: int = 0) -> pd.DataFrame:
    """The same rows as dbt would deliver them: every frame column, types as declared."""
    import pandas as pd

    rows = training_rows(product, count, seed)
    event = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(count) * 3, unit="h")
    frame = pd.DataFrame(
        {
            "event_id": [f"event-{seed}-{number:06d}" for number in range(count)],
            "tenant": [TENANTS[number % len(TENANTS)] for number in range(count)],
            "event_time": event.astype("datetime64[us]"),
            "known_time": (event + pd.Timedelta(hours=1)).astype("datetime64[us]"),
            "label": rows.labels.astype(np.int32),
            "judged": rows.judged,
        }
    )
    for name in _slices(product):
        frame[name] = np.random.default_rng(seed).random(count) < 0.5
    for column, values in zip(product.data.columns, rows.inputs.T, strict=True):
        whole = column.kind == "int" and not column.nullable
        frame[column.name] = values.astype(np.int64) if whole else values
    return frame


def _values(column: Column, count: int, rng: np.random.Generator) -> Vector:
    """Skewed where only a lower bound is known, as counts and durations are."""
    low, high = column.minimum, column.maximum
    if low is not None and high is not None:
        values = rng.uniform(low, high, count)
    elif low is not None:
        values = low + rng.gamma(1.0, 8.0, count)
    elif high is not None:
        values = high - rng.gamma(1.0, 8.0, count)
    else:
        values = rng.normal(0.0, 20.0, count)
    values = np.floor(values) if column.kind == "int" else values
    missing = rng.random(count) < (_NULLS if column.nullable else 0.0)
    return np.where(missing, np.nan, values)


def _labels(product: ModelProduct, inputs: Matrix, rng: np.random.Generator) -> Vector:
    names = product.data.names
    read = [n for n in names if all(n in (t.columns or names) for t in product.trials)]
    # trials without a common column share no law: then only those that read the first ones learn it
    chosen = [names.index(name) for name in (read or names)[:_LAW_COLUMNS]]
    ranks = [rankdata(np.nan_to_num(inputs[:, c], nan=0.0)) / len(inputs) for c in chosen]
    law = np.mean(ranks, axis=0) + _NOISE * rng.normal(size=len(inputs)) / np.sqrt(12 * len(ranks))
    labels: Vector = (law > np.quantile(law, 1 - _POSITIVE)).astype(np.float64)
    return labels


def _slices(product: ModelProduct) -> list[str]:
    named = {guardrail.slice for guardrail in product.gate.guardrails}
    return sorted(name for name in named if name.startswith(SLICE_PREFIX))
