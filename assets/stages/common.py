"""What every stage asset shares: key, group, owner, tags, code version, links to its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.code_version import code_version
from models.contracts.product import SLICE_PREFIX, Cadence, ModelProduct
from models.contracts.results import CheckResult

if TYPE_CHECKING:
    import pandas as pd


#: A product that was not judged for this long is first a warning, then a failure in the UI: one
#: missed turn of its cadence, then two.
JUDGED: dict[Cadence, tuple[timedelta, timedelta]] = {
    "daily": (timedelta(hours=36), timedelta(hours=60)),
    "weekly": (timedelta(days=9), timedelta(days=16)),
    "monthly": (timedelta(days=35), timedelta(days=66)),
}
#: Monitoring runs every six hours: one missed turn warns, three fail.
MONITORED = (timedelta(hours=12), timedelta(hours=24))


def stage_key(product: ModelProduct, stage: str) -> dg.AssetKey:
    """``[domain, product, stage]``."""
    return dg.AssetKey([product.domain, product.name, stage])


def stage_asset(
    product: ModelProduct,
    stage: str,
    *,
    after: dg.AssetKey | Sequence[dg.AssetKey],
    modules: tuple[str, ...],
    salt: str,
    kinds: set[str],
    checks: Mapping[str, str] | None = None,
    blocking: bool = True,
    pool: str | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """``dg.asset`` with everything a stage of a product has in common.

    Args:
        product: The product.
        stage: Name of the stage.
        after: The asset it reads; monitoring reads several.
        modules: Where the stage's code starts: the code version follows their imports.
        salt: The part of the product's spec that this stage depends on, as JSON.
        kinds: Badges in the lineage graph.
        checks: Checks the stage itself reports, with their questions. A stage that has some may
            yield no output, and then nothing after it runs.
        blocking: Whether a failed check fails the run.
        pool: Limits how many steps of this pool run at a time.

    Returns:
        A decorator; the function's docstring is the description.
    """
    key = stage_key(product, stage)
    return dg.asset(
        key=key,
        deps=[after] if isinstance(after, dg.AssetKey) else list(after),
        group_name=product.slug,
        owners=[product.owner],
        tags={"cadence": product.cadence, "contract": product.contract, "stage": stage},
        kinds=kinds,
        code_version=code_version(*modules, salt=salt),
        metadata={
            "spec": f"models/{product.key}/product.py",
            "learner": f"models/{product.key}/learner.py",
        },
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=question, blocking=blocking)
            for name, question in (checks or {}).items()
        ],
        output_required=not checks,
        pool=pool,
        freshness_policy=_freshness(product, stage),
    )


def _freshness(product: ModelProduct, stage: str) -> dg.FreshnessPolicy | None:
    """How old a stage's newest output may be; None where the stages before it answer for it."""
    limits = {"evaluation": JUDGED[product.cadence], "monitoring": MONITORED}
    if stage not in limits:
        return None
    warn, fail = limits[stage]
    return dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn)


def learner_module(product: ModelProduct) -> str:
    """Module of the product's learner, for the code version of what fits or loads it."""
    return product.learner.partition(":")[0]


def kind_module(product: ModelProduct) -> str:
    """Module of the product's kind (it is imported by name, which no code version can follow)."""
    return f"models.kinds.{product.contract}"


def slice_columns(frame: pd.DataFrame) -> list[str]:
    """Columns that mark a slice of the evaluation."""
    return [str(column) for column in frame if str(column).startswith(SLICE_PREFIX)]


def report_check(key: dg.AssetKey, result: CheckResult, *, blocks: bool) -> dg.AssetCheckResult:
    """A pure check's result as a Dagster check result."""
    severity = dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=result.name,
        passed=result.passed,
        severity=severity,
        description=result.message,
        metadata={
            name: dg.JsonMetadataValue(value) if isinstance(value, dict | list) else value
            for name, value in result.numbers.items()
        },
    )


def table(rows: list[dict[str, Any]]) -> dg.TableMetadataValue:
    """Rows as a table in the UI; missing values are shown as a dash."""
    records = [dg.TableRecord({k: "-" if v is None else v for k, v in row.items()}) for row in rows]
    if not records:
        return dg.MetadataValue.table(records, dg.TableSchema(columns=[]))
    return dg.MetadataValue.table(records)


def picture(png: bytes, alt: str) -> dg.MarkdownMetadataValue:
    """A small PNG inside the metadata (the event log keeps it: at most some 40 kB)."""
    import base64

    return dg.MetadataValue.md(f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})")
