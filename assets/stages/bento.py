"""Packs the released candidate into a bento: exact artifact, contract service, arguments.

Reads the release ledger, never "the latest candidate". Building itself is ``stores.bento_store``.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets.stages.common import kind_module, stage_asset, stage_key
from assets.stages.snapshots import TRAIN
from models.contracts.product import ModelProduct
from models.contracts.results import Candidate, Release
from models.core.signing import ensure_keypair
from models.kinds import kind_of
from stores.home import Home, MissingError
from stores.ledger import Ledger

if TYPE_CHECKING:
    from stores.bento_store import BentoRef, Spares


def current_release(product: ModelProduct, home: Home) -> Release:
    """What the ledger says should serve.

    Raises:
        MissingError: The gate has not let anything through yet.
    """
    release = Ledger(home.ledger(product)).current()
    if release is None:
        raise MissingError(
            f"{product.key}: no release yet; the gate has let nothing through. "
            f"`assay explain {product.key}` says why"
        )
    return release


def pack(product: ModelProduct, release: Release, home: Home) -> "BentoRef":
    """The bento of a release; built once, found again afterwards."""
    from stores.bento_store import build as build_bento

    _, public_key = ensure_keypair(home.keys)
    return build_bento(
        product, home.root / release.artifact, release.version, home.bentos, public_key,
        spares=lambda: spares(product, release, home),
    )  # fmt: skip


def spares(product: ModelProduct, release: Release, home: Home) -> "Spares":
    """What answers when the released model cannot: the product's first trial, and a rule.

    Both are of the release's own snapshot. Without its rows there is no rule, and a release of the
    first trial has no simpler one.
    """
    import pandas as pd

    from stores.bento_store import Spares

    artifact = home.root / release.artifact
    candidate = Candidate.model_validate_json((artifact / "manifest.json").read_bytes())
    rows = home.dataset(product, release.snapshot_id) / f"{TRAIN}.parquet"
    rule = None
    if rows.is_file():
        rule = kind_of(product.contract).rule(product, candidate, pd.read_parquet(rows))
    found = _first_trial(product, candidate, artifact.parent)
    return Spares(found if found != artifact else None, rule)


def _first_trial(product: ModelProduct, like: Candidate, folder: Path) -> Path | None:
    """The candidate of the first trial on the same snapshot, of the same code if there are two."""
    found = []
    for manifest in folder.glob("*/manifest.json"):
        one = Candidate.model_validate_json(manifest.read_bytes())
        if (one.trial, one.snapshot_id) == (product.trials[0].name, like.snapshot_id):
            found.append((one.code_version == like.code_version, manifest.parent.name))
    return folder / max(found)[1] if found else None


def build(product: ModelProduct) -> dg.AssetsDefinition:
    """The bento asset."""

    @stage_asset(
        product,
        "bento",
        after=stage_key(product, "promotion"),
        modules=(__name__, kind_module(product), f"bentos.{product.contract}.service"),
        salt=product.serving.model_dump_json(),
        kinds={"bentoml"},
    )
    def bento(
        context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]
    ) -> dg.MaterializeResult[None]:
        """A BentoML bento with the exact released model inside; built when the champion changed."""
        release = current_release(product, home)
        ref = pack(product, release, home)
        context.log.info(f"built {ref.tag}")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(ref.tag),
            metadata={
                "tag": ref.tag,
                "model": ref.model_tag,
                "release": release.version,
                "path": dg.MetadataValue.path(str(ref.path)),
            },
        )

    return bento
