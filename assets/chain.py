"""The chain of one product, from its features to its service, and the way back. Read this first.

    features -> dataset -> candidates -> evaluation -> promotion -> bento -> service, batch
    raw/{predictions, outcomes, refusals} -> traffic/* -> monitoring -> status

``promotion`` is the gate: when it says no it yields no output, and nothing after it runs. What a
stage does is in ``assets/stages/<stage>.py``; what a product is, in ``models/<domain>/<product>``.
The circle closes through the log, the ledger and a sensor, never through a dependency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets import batch
from assets.dbt import build_traffic_assets
from assets.stages import bento, candidates, dataset, evaluation, monitoring, promotion, service
from assets.status import build_status
from assets.traffic import build_spool
from models.contracts.product import ModelProduct

STAGES = (dataset, candidates, evaluation, promotion, bento, service, batch)


def build_product(product: ModelProduct) -> dg.Definitions:
    """Every asset and check of one product, up to its service, and its files of rows."""
    return dg.Definitions(assets=[stage.build(product) for stage in STAGES])


def build_way_back(products: Sequence[ModelProduct], manifest: Mapping[str, Any]) -> dg.Definitions:
    """What the services answered, joined with what came true, judged, shown on one page."""
    return dg.Definitions(
        assets=[
            build_spool(products),
            build_traffic_assets(manifest),
            *(monitoring.build(product) for product in products),
            build_status(products),
        ]
    )
