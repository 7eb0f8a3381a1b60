"""Every product's folder and spec: complete, and true of the dbt project and the metrics."""

from __future__ import annotations

import ast
from pathlib import Path

from assets.dbt_manifest import Node
from models.contracts.api import row_model
from models.contracts.product import FRAME_COLUMNS, SLICE_PREFIX, TENANT, ModelProduct
from models.core.metrics import METRICS
from models.registry import ROOT, load_learner

#: dbt's types that arrive as the kind a column declares.
KINDS = {
    "int": {"bigint", "integer", "smallint"},
    "float": {"double", "float", "decimal"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("models.")}


def test_the_folder_is_complete(product: ModelProduct):
    folder = ROOT / product.key
    for name in ("__init__.py", "product.py", "learner.py", "CARD.md"):
        assert (folder / name).is_file(), f"{product.key} has no {name}; see docs/add-a-model.md"
    assert (folder.parent / "__init__.py").is_file()


def test_the_learner_lies_in_the_folder_and_can_be_made(product: ModelProduct):
    module = f"models.{product.key.replace('/', '.')}."
    assert product.learner.startswith(module), "keep a product's learner in its own folder"
    learner = load_learner(product)
    assert callable(learner.fit)
    assert callable(learner.load)


def test_domains_do_not_import_each_other(product: ModelProduct):
    allowed = ("models.contracts", "models.core", f"models.{product.domain}")
    for path in (ROOT / product.key).rglob("*.py"):
        foreign = {name for name in imports(path) if not name.startswith(allowed)}
        assert not foreign, f"{path.name} imports {foreign}; move what is shared to models/core"


def test_columns_are_unique_described_and_bounded_in_order(product: ModelProduct):
    names = product.data.names
    assert len(set(names)) == len(names)
    for column in product.data.columns:
        assert column.name.isidentifier()
        assert len(column.description) > 10, f"describe {column.name}: the API shows it"
        if column.minimum is not None and column.maximum is not None:
            assert column.minimum < column.maximum
    assert not set(names) & set(FRAME_COLUMNS), "a label or a time is no input"
    assert not [name for name in names if name.startswith(SLICE_PREFIX)]
    row_model(product)  # no column is called like something the API reserves


def test_gate_and_guardrails_name_metrics_there_are(product: ModelProduct):
    gate = product.gate
    named = {gate.metric, *(guardrail.metric for guardrail in gate.guardrails)}
    assert named <= set(METRICS), f"there are {sorted(METRICS)}"
    pairs = [(guardrail.metric, guardrail.slice) for guardrail in gate.guardrails]
    assert len(set(pairs)) == len(pairs), "one guardrail per metric and slice"
    assert 0 < gate.floor < 1


def test_slices_of_the_guardrails_are_in_the_table(product: ModelProduct, tables: dict[str, Node]):
    columns = set(tables[product.data.features].columns)
    for guardrail in product.gate.guardrails:
        if guardrail.slice not in ("overall", TENANT):
            assert guardrail.slice.startswith(SLICE_PREFIX)
            assert guardrail.slice in columns, f"no boolean {guardrail.slice} in the feature table"


def test_the_feature_table_is_a_dbt_model(product: ModelProduct, tables: dict[str, Node]):
    assert product.data.features in tables, f"no dbt model has this asset key: {sorted(tables)}"
    assert tables[product.data.features].description


def test_the_feature_table_has_every_column_described_and_of_its_kind(
    product: ModelProduct, tables: dict[str, Node]
):
    columns = tables[product.data.features].columns
    missing = {*FRAME_COLUMNS, *product.data.names} - set(columns)
    assert not missing, f"add {sorted(missing)} to {product.data.features} and its YAML"
    for name, column in columns.items():
        assert column["description"].strip(), f"describe {name} in the YAML of the table"
    for column in product.data.columns:
        given = columns[column.name]["data_type"]
        assert given in KINDS[column.kind], f"{column.name} is {given}, declared {column.kind}"
