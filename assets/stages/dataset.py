"""Freezes the features into a snapshot that can be named, compared and judged on.

Every check is pure; which there are, the product's kind says (``models.kinds``). When one fails
nothing is written and nothing is yielded: a bad snapshot never becomes somebody's latest.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from assets.dbt_passed import Passed, passed
from assets.stages.common import (
    kind_module,
    report_check,
    slice_columns,
    stage_asset,
    stage_key,
    table,
)
from assets.stages.snapshots import GAP, HOLDOUT, TRAIN, table_file
from models.contracts.product import (
    EVENT_TIME,
    JUDGED,
    KNOWN_TIME,
    LABEL,
    TENANT,
    ModelProduct,
)
from models.contracts.results import CheckResult, Snapshot
from models.kinds import Draft, kind_of
from stores import online_store
from stores.files import settle, sha256, unnamed_folder, write_atomic
from stores.home import Home, MissingError
from stores.origin import Origin

if TYPE_CHECKING:
    import pandas as pd

    from models.core.splits import Split


class Taken(NamedTuple):
    """What the checks found, and the snapshot when all passed."""

    checks: tuple[CheckResult, ...]
    snapshot: Snapshot | None


def take_snapshot(product: ModelProduct, home: Home, source: str) -> Taken:
    """Check the feature table, divide it by time and freeze it under its content's name.

    Raises:
        MissingError: The table on disk is not the one whose dbt tests passed.
    """
    from models.core.splits import split

    frame, definition = _read_features(product, home)
    more = _read_more(product, home)
    before, rows_before = _previous(product, home)
    parts = split(frame, product.data.split)
    same = before is None or before.definition == definition
    draft = Draft(frame, parts, rows_before, more, same_definition=same)
    checks = kind_of(product.contract).check(product.data, draft)
    if not all(check.passed for check in checks):
        return Taken(checks, None)
    origin = {"source": source, "definition": definition}
    snapshot = _freeze(product, home, frame, parts, more=more, origin=origin)
    home.set_latest(product, "dataset", snapshot.snapshot_id)
    online_store.build(home, product)
    return Taken(checks, snapshot)


def _read_features(product: ModelProduct, home: Home) -> "tuple[pd.DataFrame, str]":
    """The feature table and the digest of what defines it and the tables beside it."""
    keys = (product.data.features, *product.data.tables)
    text = "".join(_passed(home, key).definition for key in keys) + product.data.model_dump_json()
    definition = hashlib.sha256(text.encode()).hexdigest()[:16]
    return _read(home, product.data.features), definition


def _read_more(product: ModelProduct, home: Home) -> "dict[str, pd.DataFrame]":
    return {key: _read(home, key) for key in product.data.tables}


def _read(home: Home, key: str) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_parquet(home.table(key))


def _passed(home: Home, key: str) -> Passed:
    path, record = home.table(key), passed(home, key)
    if record is None or not path.exists() or sha256(path) != record.sha256:
        raise MissingError(
            f"{key}: the table on disk is not the one its dbt tests passed; materialise {key} again"
        )
    return record


def _previous(product: ModelProduct, home: Home) -> "tuple[Snapshot | None, pd.DataFrame | None]":
    """The newest snapshot with every row of it, for comparison."""
    import pandas as pd

    identity = home.latest(product, "dataset")
    if identity is None:
        return None, None
    folder = home.dataset(product, identity)
    snapshot = Snapshot.model_validate_json((folder / "manifest.json").read_text())
    rows = [pd.read_parquet(folder / f"{name}.parquet") for name in (TRAIN, GAP, HOLDOUT)]
    return snapshot, pd.concat(rows)


def _freeze(
    product: ModelProduct,
    home: Home,
    frame: "pd.DataFrame",
    parts: "Split",
    *,
    more: "Mapping[str, pd.DataFrame]",
    origin: dict[str, str],
) -> Snapshot:
    groups = {TRAIN: parts.train, GAP: parts.gap, HOLDOUT: parts.holdout}
    digest = hashlib.sha256()
    for key in (product.data.features, *product.data.tables):
        digest.update(sha256(home.table(key)).encode())
    digest.update(product.data.model_dump_json().encode())
    judged = frame.iloc[parts.holdout][JUDGED]
    with unnamed_folder(home.dataset(product, "-").parent) as aside:
        for name, chosen in groups.items():
            frame.iloc[chosen].reset_index(drop=True).to_parquet(aside / f"{name}.parquet")
        for key, rows in more.items():
            rows.to_parquet(aside / table_file(key))
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
            files={file.name: sha256(file) for file in sorted(aside.glob("*.parquet"))},
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
        after=[
            dg.AssetKey(key.split("/")) for key in (product.data.features, *product.data.tables)
        ],
        modules=(__name__, kind_module(product)),
        salt=product.data.model_dump_json(),
        kinds={"parquet"},
        checks=kind_of(product.contract).checks,
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
