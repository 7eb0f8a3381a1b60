"""Rolls the released bento out on this machine and proves that it answers as it did offline.

How a service is started, compared and switched is ``stores.deployer``'s affair.
"""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg

from assets.stages.bento import current_release, pack
from assets.stages.common import stage_asset, stage_key
from assets.stages.kept import find_candidate_file
from models.contracts.api import GoldenSet
from models.contracts.product import ModelProduct
from models.contracts.results import Release
from stores.deployer import Deployer, Rollout, RolloutError
from stores.home import Home
from stores.ledger import Ledger


def roll_out(
    product: ModelProduct, home: Home, deployer: Deployer, say: Callable[[str], object]
) -> Rollout:
    """Serve what the ledger says, after its golden requests gave the offline answers.

    Raises:
        RolloutError: It did not start or answered otherwise; what served before still serves.
    """
    release = current_release(product, home)
    ref = pack(product, release, home)
    golden = golden_of(product, home, release)
    say(f"rolling out {ref.tag}, {len(golden.rows)} golden requests")
    rollout = deployer.roll_out(product, ref.tag, golden)
    ledger = Ledger(home.ledger(product))
    ledger.append("rollout", {"version": release.version, **rollout.model_dump(mode="json")})
    return rollout


def golden_of(product: ModelProduct, home: Home, release: Release) -> GoldenSet:
    """The requests whose answers a service of this release must give."""
    folder = home.evaluation(product, release.evaluation_id)
    requests = find_candidate_file(folder, "golden", release.candidate_id)
    return GoldenSet.model_validate_json(requests.read_text())


def build(product: ModelProduct) -> dg.AssetsDefinition:
    """The service asset with its ``golden`` check."""
    key = stage_key(product, "service")

    @stage_asset(
        product,
        "service",
        after=stage_key(product, "bento"),
        modules=(__name__,),
        salt=product.serving.model_dump_json(),
        kinds={"bentoml"},
        checks={"golden": "Does the service answer as the model did offline?"},
    )
    def service(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        deployer: dg.ResourceParam[Deployer],
    ) -> Iterator[Any]:
        """The HTTP service of the released model, rolled out on this machine."""
        try:
            rollout = roll_out(product, home, deployer, context.log.info)
        except RolloutError as error:
            yield _golden(key, False, str(error))
            return
        yield _golden(key, True, f"{rollout.golden_rows} golden requests answered as offline")
        yield dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(rollout.bento),
            metadata={
                "url": dg.MetadataValue.url(rollout.url),
                "openapi": dg.MetadataValue.url(f"{rollout.url}/docs.json"),
                "bento": rollout.bento,
            },
        )

    return service


def _golden(key: dg.AssetKey, passed: bool, message: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key, check_name="golden", passed=passed, description=message
    )
