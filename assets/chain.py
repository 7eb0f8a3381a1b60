"""The chain of one product, from its features to its service. Read this first.

    features -> dataset -> candidates -> evaluation -> promotion -> bento -> service

``promotion`` is the gate: when it says no it yields no output, and nothing after it runs. What a
stage does is in ``assets/stages/<stage>.py``; what a product is, in ``models/<domain>/<product>``.
The way back (predictions, monitoring) closes through raw data and a sensor, never through a dep.
"""

from __future__ import annotations

import dagster as dg

from assets.stages import bento, candidates, dataset, evaluation, promotion, service
from models.contracts.product import ModelProduct

STAGES = (dataset, candidates, evaluation, promotion, bento, service)


def build_product(product: ModelProduct) -> dg.Definitions:
    """Every asset and check of one product."""
    return dg.Definitions(assets=[stage.build(product) for stage in STAGES])
