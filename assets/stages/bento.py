"""Packs the released candidate into a bento: exact artifact, contract service, arguments.

Reads the release ledger, never "the latest candidate". Building itself is ``stores.bento_store``.
"""

from typing import TYPE_CHECKING

import dagster as dg

from assets.stages.common import stage_asset, stage_key
from models.contracts.product import ModelProduct
from models.contracts.results import Release
from models.core.signing import ensure_keypair
from stores.home import Home, MissingError
from stores.ledger import Ledger

if TYPE_CHECKING:
    from stores.bento_store import BentoRef


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
        product, home.root / release.artifact, release.version, home.bentos, public_key
    )


def build(product: ModelProduct) -> dg.AssetsDefinition:
    """The bento asset."""

    @stage_asset(
        product,
        "bento",
        after=stage_key(product, "promotion"),
        modules=(__name__, f"bentos.{product.contract}.service"),
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
