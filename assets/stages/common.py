"""What every stage asset shares: its key, group, owner, tags, code version and code links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from assets.code_version import code_version
from models.contracts.product import ModelProduct
from models.contracts.results import CheckResult

ROOT = Path(__file__).parents[2]


def stage_key(product: ModelProduct, stage: str) -> dg.AssetKey:
    """``[domain, product, stage]``."""
    return dg.AssetKey([product.domain, product.name, stage])


def stage_options(
    product: ModelProduct, stage: str, *, modules: tuple[str, ...], salt: str, kinds: set[str]
) -> dict[str, Any]:
    """Keyword arguments of ``dg.asset`` for one stage of one product.

    Args:
        product: The product.
        stage: Name of the stage.
        modules: Where the stage's code starts: the code version follows their imports.
        salt: The part of the product's spec that this stage depends on, as JSON.
        kinds: Badges in the lineage graph.

    Returns:
        Keyword arguments; the docstring of the decorated function is the description.
    """
    folder = ROOT / "models" / product.domain / product.name
    links = [
        dg.LocalFileCodeReference(file_path=str(folder / name), line_number=1, label=name)
        for name in ("product.py", "learner.py")
    ]
    return {
        "key": stage_key(product, stage),
        "group_name": product.slug,
        "owners": [product.owner],
        "tags": {"cadence": product.cadence, "contract": product.contract, "stage": stage},
        "kinds": kinds,
        "code_version": code_version(*modules, salt=salt),
        "metadata": {
            "dagster/code_references": dg.CodeReferencesMetadataValue(code_references=links)
        },
    }


def learner_module(product: ModelProduct) -> str:
    """Module of the product's learner, for the code version of what fits or loads it."""
    return product.learner.partition(":")[0]


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
