"""Snapshots and loaded models as the stages after the dataset read them. Writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.contracts.product import ModelProduct
from models.contracts.results import Snapshot
from models.core.signing import ensure_keypair
from stores.home import Home

if TYPE_CHECKING:
    from models.kinds import Model, Tables

TRAIN, GAP, HOLDOUT = "train", "gap", "holdout"


def table_file(key: str) -> str:
    """Name of a further table's file in a snapshot, e.g. ``features-films_items.parquet``."""
    return f"{key.replace('/', '-')}.parquet"


def read_snapshot(product: ModelProduct, home: Home, snapshot_id: str) -> Snapshot:
    """A snapshot's manifest."""
    manifest = home.dataset(product, snapshot_id) / "manifest.json"
    return Snapshot.model_validate_json(manifest.read_text(encoding="utf-8"))


def read_tables(product: ModelProduct, home: Home, snapshot_id: str) -> Tables:
    """A snapshot's rows and further tables."""
    import pandas as pd

    from models.kinds import Tables

    folder = home.dataset(product, snapshot_id)
    return Tables(
        train=pd.read_parquet(folder / f"{TRAIN}.parquet"),
        holdout=pd.read_parquet(folder / f"{HOLDOUT}.parquet"),
        more={key: pd.read_parquet(folder / table_file(key)) for key in product.data.tables},
    )


def load_model(product: ModelProduct, home: Home, candidate_id: str) -> Model:
    """A verified candidate, loaded.

    Raises:
        ArtifactError: It is not what was sealed.
    """
    from models.core.artifact import load
    from models.kinds import Model
    from models.registry import load_learner

    _, public_key = ensure_keypair(home.keys)
    return Model(*load(home.candidate(product, candidate_id), public_key, load_learner(product)))
