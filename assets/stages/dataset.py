"""Freezes the features into a snapshot that can be named, compared and judged on.

Every check is pure (``models.core.checks``). When one fails nothing is written and nothing is
yielded: a bad snapshot never becomes somebody's latest.
"""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from assets.dbt import passed
from assets.stages.common import report_check, slice_columns, stage_asset, stage_key, table
from models.contracts.product import (
    EVENT_TIME,
    JUDGED,
    KNOWN_TIME,
    LABEL,
    TENANT,
    ModelProduct,
)
from models.contracts.results import CheckResult, Snapshot
from models.core.checks import CHECKS
from stores.files import settle, sha256, unnamed_folder, write_atomic
from stores.home import Home, MissingError
from stores.origin import Origin

if TYPE_CHECKING:
    import pandas as pd

    from models.core.splits import Split


#: Checked here because it needs the product's folds.
FOLDS = {"fold_balance": "Has every fold its share of positives?"}


class Taken(NamedTuple):
    """What the checks found, and the snapshot when all passed."""

    checks: tuple[CheckResult, ...]
    snapshot: Snapshot | None


def take_snapshot(product: ModelProduct, home: Home, source: str) -> Taken:
    """Check the feature table, divide it by time and freeze it under its content's name.

    Raises:
        MissingError: The table on disk is not the one whose dbt tests passed.
    """
    from models.core.checks import check_dataset
    from models.core.splits import fold_balance, folds, split

    frame, definition = _read_features(product, home)
    before, rows_before = _previous(product, home)
    parts = split(frame, product.data.split)
    checks = check_dataset(
        product.data,
        frame,
        parts,
        rows_before,
        same_definition=before is None or before.definition == definition,
    )
    if len(checks) == len(CHECKS):
        labels = frame[LABEL].to_numpy(float)[parts.train]
        spec = product.data.folds
        checks = (*checks, fold_balance(labels, folds(labels, spec), spec))
    if not all(check.passed for check in checks):
        return Taken(checks, None)
    snapshot = _freeze(product, home, frame, parts, {"source": source, "definition": definition})
    home.set_latest(product, "dataset", snapshot.snapshot_id)
    return Taken(checks, snapshot)


def _read_features(product: ModelProduct, home: Home) -> "tuple[pd.DataFrame, str]":
    """The feature table and the digest of what defines it."""
    import pandas as pd

    path = home.table(product.data.features)
    record = passed(home, product.data.features)
    if record is None or not path.exists() or sha256(path) != record.sha256:
        raise MissingError(
            f"{product.data.features}: the table on disk is not the one its dbt tests passed; "
            f"materialise {product.data.features} again"
        )
    text = record.definition + product.data.model_dump_json()
    return pd.read_parquet(path), hashlib.sha256(text.encode()).hexdigest()[:16]


def _previous(product: ModelProduct, home: Home) -> "tuple[Snapshot | None, pd.DataFrame | None]":
    """The newest snapshot with every row of it, for comparison."""
    import pandas as pd

    identity = home.latest(product, "dataset")
    if identity is None:
        return None, None
    folder = home.dataset(product, identity)
    snapshot = Snapshot.model_validate_json((folder / "manifest.json").read_text())
    return snapshot, pd.concat([pd.read_parquet(folder / name) for name in snapshot.files])


def _freeze(
    product: ModelProduct,
    home: Home,
    frame: "pd.DataFrame",
    parts: "Split",
    origin: dict[str, str],
) -> Snapshot:
    groups = {"train": parts.train, "gap": parts.gap, "holdout": parts.holdout}
    digest = hashlib.sha256(sha256(home.table(product.data.features)).encode())
    digest.update(product.data.model_dump_json().encode())
    judged = frame.iloc[parts.holdout][JUDGED]
    with unnamed_folder(home.dataset(product, "-").parent) as aside:
        for name, chosen in groups.items():
            frame.iloc[chosen].reset_index(drop=True).to_parquet(aside / f"{name}.parquet")
        snapshot = Snapshot(
            product=product.key,
            snapshot_id=digest.hexdigest()[:16],
            content_hash=digest.hexdigest(),
            as_of=frame[KNOWN_TIME].max().to_pydatetime(),
            split_at=parts.split_at,
            gap_hours=product.data.split.gap_hours,
            rows=len(frame),
            train_rows=len(parts.train),
            gap_rows=len(parts.gap),
            holdout_rows=len(parts.holdout),
            judged_rows=int(judged.sum()),
            positives=int(frame[LABEL].sum()),
            tenants=tuple(sorted(frame[TENANT].unique())),
            columns=product.data.names,
            **origin,
            files={f"{name}.parquet": sha256(aside / f"{name}.parquet") for name in groups},
        )
        (aside / "manifest.json").write_text(snapshot.model_dump_json(indent=1))
        settle(aside, home.dataset(product, snapshot.snapshot_id))
    # Other SQL may give the same rows: the next snapshot is compared with what makes them now.
    manifest = home.dataset(product, snapshot.snapshot_id) / "manifest.json"
    write_atomic(manifest, snapshot.model_dump_json(indent=1))
    return snapshot


def build(product: ModelProduct) -> dg.AssetsDefinition:
    """The dataset asset with its blocking checks."""
    key = stage_key(product, "dataset")

    @stage_asset(
        product,
        "dataset",
        after=dg.AssetKey(product.data.features.split("/")),
        modules=(__name__,),
        salt=product.data.model_dump_json(),
        kinds={"parquet"},
        checks={**CHECKS, **FOLDS},
    )
    def dataset(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        origin: dg.ResourceParam[Origin],
    ) -> Iterator[Any]:
        """A frozen snapshot of the features, divided by time, that passed every check."""
        taken = take_snapshot(product, home, origin.chosen())
        for check in taken.checks:
            if not check.passed:
                context.log.error(f"{check.name}: {check.message}")
            yield report_check(key, check, blocks=True)
        if taken.snapshot:
            yield _materialization(product, home, key, taken.snapshot)

    return dataset


def _materialization(
    product: ModelProduct, home: Home, key: dg.AssetKey, snapshot: Snapshot
) -> dg.MaterializeResult[None]:
    import pandas as pd

    folder = home.dataset(product, snapshot.snapshot_id)
    holdout = pd.read_parquet(folder / "holdout.parquet")
    slices = [TENANT, *slice_columns(holdout)]
    counts: list[dict[str, Any]] = [
        {"slice": str(value) if column == TENANT else f"{column} = {value}", "rows": len(rows),
         "judged": int(rows[JUDGED].sum()), "positive share": round(float(rows[LABEL].mean()), 4)}
        for column in slices
        for value, rows in holdout.groupby(column)
    ]  # fmt: skip
    return dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(snapshot.snapshot_id),
        metadata={
            "dagster/row_count": snapshot.rows,
            "as of": str(snapshot.as_of),
            "holdout from": str(snapshot.split_at),
            "training rows": snapshot.train_rows,
            "gap rows": snapshot.gap_rows,
            "holdout rows": snapshot.holdout_rows,
            "judged rows": snapshot.judged_rows,
            "holdout": table(counts),
            "newest event": str(holdout[EVENT_TIME].max()),
            "content hash": snapshot.content_hash,
            "path": dg.MetadataValue.path(str(folder)),
        },
    )
