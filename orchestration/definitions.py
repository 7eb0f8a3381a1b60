"""The one code location: every source, the dbt project, every product. Nothing else."""

from __future__ import annotations

import dagster as dg

from assets.chain import build_product, build_way_back
from assets.dbt import build_dbt_assets
from assets.dbt_manifest import load_manifest
from assets.raw import SOURCES, build_raw
from models.registry import products
from orchestration.automation import build_automation
from orchestration.resources import build_resources
from orchestration.rollout_automation import build_rollouts
from orchestration.settings import Settings
from orchestration.watch import build_watchdog


@dg.definitions
def defs() -> dg.Definitions:
    """Everything the UI, the daemon and the command line see."""
    manifest = load_manifest()
    assets = dg.Definitions(
        assets=[*(build_raw(source) for source in SOURCES), build_dbt_assets(manifest)]
    )
    return dg.Definitions.merge(
        assets,
        *(build_product(product) for product in products()),
        build_way_back(products(), manifest),
        build_automation(SOURCES, products()),
        build_rollouts(products()),
        dg.Definitions(sensors=[build_watchdog()]),
        build_resources(Settings()),
    )
