"""Feature tables of any product, drawn from its spec. Knows no product by name, asserts nothing.

Belongs here: seeded tables as dbt would deliver them, and trials at a lower price. What only one
contract's tables hold is in ``worlds``. The labels' law is made up, so a figure measured on these
rows says that the code works, never how good a product is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.contracts.learner import Matrix, Vector
from models.contracts.product import SLICE_PREFIX, Column, ModelProduct, Trial
from tests.contract.worlds import WORLDS

if TYPE_CHECKING:
    import pandas as pd

    from models.kinds import Tables

TENANTS = ("acme", "globex", "initech")
#: Parameters that say how large a model is, whatever the model, and what is enough here.
SIZES = {
    "rounds": 25, "trees": 25, "epochs": 2, "max_epochs": 1, "folds": 3, "factors": 8, "width": 8,
    "layers": 1, "negatives": 4, "longest": 8, "max_length": 32, "max_rows": 200,
}  # fmt: skip
#: Slices made of others by the evaluation: prefix to what it is put in front of.
DERIVED = {"bpsn_": SLICE_PREFIX, "bnsp_": SLICE_PREFIX}
_NULLS, _UNJUDGED, _FOLDS = 0.1, 0.15, 2


def cheap(trial: Trial) -> Trial:
    """The trial with its size parameters lowered; everything else as declared."""
    smaller = {
        name: min(value, SIZES[name]) if name in SIZES and isinstance(value, int) else value
        for name, value in trial.params.items()
    }
    return trial.model_copy(update={"params": smaller})


def cheaper(product: ModelProduct) -> ModelProduct:
    """The product with cheap trials, and two folds where each is a fit."""
    folds = product.data.folds
    if folds.kind != "newest":
        folds = folds.model_copy(update={"k": _FOLDS})
    data = product.data.model_copy(update={"folds": folds})
    trials = tuple(cheap(trial) for trial in product.trials)
    return product.model_copy(update={"data": data, "trials": trials})


def feature_tables(product: ModelProduct, count: int, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Every table the product reads, by its key: types as declared, ``count`` rows of features."""
    import pandas as pd

    rng = np.random.default_rng(seed + 10_000)
    inputs = draw(product.data.columns, count, seed)
    event = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(count) * 3, unit="h")
    frame = pd.DataFrame(
        {
            "event_id": [f"event-{seed}-{number:06d}" for number in range(count)],
            "tenant": [TENANTS[number % len(TENANTS)] for number in range(count)],
            "event_time": event.astype("datetime64[us]"),
            "known_time": (event + pd.Timedelta(hours=1)).astype("datetime64[us]"),
            "judged": rng.random(count) > _UNJUDGED,
        }
    )
    for name in slices_of(product):
        frame[name] = rng.random(count) < 0.5
    for column, values in zip(product.data.columns, inputs.T, strict=True):
        frame[column.name] = values
    world = WORLDS[product.contract](product, frame, rng)
    whole = [c.name for c in product.data.columns if c.kind == "int" and not c.nullable]
    return {product.data.features: world.features.astype(dict.fromkeys(whole, "int64")),
            **dict(zip(product.data.tables, world.more, strict=True))}  # fmt: skip


def snapshot(product: ModelProduct, count: int, seed: int = 0) -> Tables:
    """The tables divided as the product says, as a frozen snapshot is read."""
    from models.core.splits import split
    from models.kinds import Tables

    drawn = feature_tables(product, count, seed)
    frame = drawn.pop(product.data.features)
    parts = split(frame, product.data.split)
    train, holdout = (frame.iloc[p].reset_index(drop=True) for p in (parts.train, parts.holdout))
    return Tables(train, holdout, drawn)


def slices_of(product: ModelProduct) -> list[str]:
    """Boolean columns that the product's guardrails need in the feature table."""
    found = set()
    for name in {guardrail.slice for guardrail in product.gate.guardrails}:
        for prefix, instead in DERIVED.items():
            if name.startswith(prefix):
                found.add(instead + name.removeprefix(prefix))
        if name.startswith(SLICE_PREFIX):
            found.add(name)
    return sorted(found)


def draw(columns: tuple[Column, ...], count: int, seed: int) -> Matrix:
    """Inputs within their bounds, shape (count, d); nullable columns have some NaN."""
    rng = np.random.default_rng(seed)
    return np.column_stack([_values(column, count, rng) for column in columns])


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
