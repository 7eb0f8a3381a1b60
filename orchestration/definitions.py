"""The one code location: every source, the dbt project, every product. Nothing else."""

from __future__ import annotations

import dagster as dg

from assets.chain import build_product
from assets.dbt import build_dbt_assets
from assets.dbt_manifest import load_manifest
from assets.raw import SOURCES, build_raw
from models.registry import products
from orchestration.automation import build_automation
from orchestration.resources import build_resources
from orchestration.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """Everything the UI, the daemon and the command line see."""
    assets = dg.Definitions(
        assets=[*(build_raw(source) for source in SOURCES), build_dbt_assets(load_manifest())]
    )
    return dg.Definitions.merge(
        assets,
        *(build_product(product) for product in products()),
        build_automation(SOURCES, products()),
        build_resources(Settings()),
    )
