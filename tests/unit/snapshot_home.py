"""A home that holds one small snapshot, written as the dataset stage writes it. Asserts nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from models.contracts.product import JUDGED, LABEL, TENANT, Folds, ModelProduct, Trial
from models.contracts.results import Snapshot
from models.registry import get
from stores.home import Home
from tests.unit.sample_frames import DATA, sample

SNAPSHOT = "5" * 16
_NOTHING = Trial(name="noise_alone", params={"model": "logistic"}, columns=("noise",))
#: A product of a few columns: everything, all but the two that say most, and nothing.
ROWS = get("risk/sync_conflict").model_copy(
    update={
        "data": DATA.model_copy(update={"folds": Folds(kind="stratified", k=2)}),
        "trials": (
            Trial(name="all", params={"model": "logistic"}),
            Trial(name="few", params={"model": "logistic"}, columns=("hours", "noise", "lines")),
            _NOTHING,
        ),
    }
)


def write(home: Home, product: ModelProduct = ROWS, frame: pd.DataFrame | None = None) -> Home:
    """Freeze a table: the first three quarters are training rows."""
    frame = sample(400) if frame is None else frame
    cut = len(frame) * 3 // 4
    parts = {"train": frame.iloc[:cut], "gap": frame.iloc[:0], "holdout": frame.iloc[cut:]}
    folder = home.dataset(product, SNAPSHOT)
    folder.mkdir(parents=True)
    for name, rows in parts.items():
        rows.reset_index(drop=True).to_parquet(folder / f"{name}.parquet")
    manifest = Snapshot(
        product=product.key,
        snapshot_id=SNAPSHOT,
        content_hash=SNAPSHOT * 4,
        definition="d",
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        split_at=datetime(2026, 1, 1, tzinfo=UTC),
        gap_hours=0,
        rows=len(frame),
        train_rows=cut,
        gap_rows=0,
        holdout_rows=len(frame) - cut,
        judged_rows=int(parts["holdout"][JUDGED].sum()),
        positives=int(frame[LABEL].sum()),
        tenants=tuple(sorted(frame[TENANT].unique())),
        columns=product.data.names,
        source="test",
        files={},
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    home.set_latest(product, "dataset", SNAPSHOT)
    return home
