"""Every product's folder and spec: complete, and true of the dbt project and the metrics."""

from __future__ import annotations

import ast
from pathlib import Path

from assets.dbt_manifest import Node
from models.contracts.api import row_model
from models.contracts.product import (
    FRAME_COLUMNS,
    ITEM,
    LABEL_PREFIX,
    SLICE_PREFIX,
    STRENGTH,
    TENANT,
    TEXT,
    USER,
    Contract,
    ModelProduct,
)
from models.core.metrics import BINARY
from models.kinds import kind_of
from models.registry import ROOT, load_learner
from tests.contract.conftest import Bench
from tests.contract.rows import DERIVED, slices_of

#: dbt's types that arrive as the kind a column declares.
KINDS = {
    "int": {"bigint", "integer", "smallint"},
    "float": {"double", "float", "decimal"},
}
WORD = {"varchar"}
#: dbt's types of the columns that every feature table has.
ANY = {*KINDS["int"], *WORD, "timestamp", "boolean"}
#: Further columns by contract.
OF_CONTRACT: dict[Contract, dict[str, set[str]]] = {
    "row_scores": {},
    "text_labels": {TEXT: WORD},
    "ranked_items": {USER: WORD, ITEM: WORD, STRENGTH: KINDS["float"]},
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


def test_gate_and_guardrails_name_metrics_of_the_kind(product: ModelProduct):
    gate, kind = product.gate, kind_of(product.contract)
    assert gate.metric in kind.metrics, f"there are {sorted(kind.metrics)}"
    assert kind.watched_metric(product) in BINARY, "traffic has one score and one label"
    for guardrail in gate.guardrails:
        if guardrail.on_measure:
            assert guardrail.slice == "overall", "a measure knows no slices"
        else:
            assert guardrail.metric in kind.metrics, f"there are {sorted(kind.metrics)}"
    pairs = [(guardrail.metric, guardrail.slice) for guardrail in gate.guardrails]
    assert len(set(pairs)) == len(pairs), "one guardrail per metric and slice"
    assert 0 < gate.floor < 1


def test_measures_of_the_guardrails_are_measured(bench: Bench):
    """Of what serves them all: a measure nobody takes would refuse every model."""
    product = bench.product
    named = {g.metric for g in product.gate.guardrails if g.on_measure}
    if named:
        model = bench.sealed(product.trials[0].name).served
        found = kind_of(product.contract).examine(product, model, bench.units(), bench.tables)
        assert named <= set(found), f"there are {sorted(found)}"


def test_slices_of_the_guardrails_are_in_the_table(
    product: ModelProduct, nodes_by_key: dict[str, Node]
):
    columns = nodes_by_key[product.data.features].columns
    for name in slices_of(product):
        assert name in columns, f"no boolean {name} in the feature table"
        assert columns[name]["data_type"] == "boolean"
    for guardrail in product.gate.guardrails:
        assert guardrail.slice.startswith(("overall", TENANT, SLICE_PREFIX, *DERIVED))


def test_every_table_is_a_dbt_model(product: ModelProduct, nodes_by_key: dict[str, Node]):
    for key in (product.data.features, *product.data.tables):
        assert key in nodes_by_key, f"no dbt model has this asset key: {sorted(nodes_by_key)}"
        assert nodes_by_key[key].description
        for name, column in nodes_by_key[key].columns.items():
            assert column["description"].strip(), f"describe {name} in the YAML of {key}"


def test_the_feature_table_has_every_column_of_its_kind(
    product: ModelProduct, nodes_by_key: dict[str, Node]
):
    columns = nodes_by_key[product.data.features].columns
    needed = {**dict.fromkeys(FRAME_COLUMNS, ANY), **OF_CONTRACT[product.contract]}
    needed |= {f"{LABEL_PREFIX}{name}": KINDS["int"] for name in product.data.labels}
    needed |= {column.name: KINDS[column.kind] for column in product.data.columns}
    missing = set(needed) - set(columns)
    assert not missing, f"add {sorted(missing)} to {product.data.features} and its YAML"
    for name, kinds in needed.items():
        given = columns[name]["data_type"]
        assert given in kinds, f"{name} is {given}, should be one of {sorted(kinds)}"


def test_labels_are_of_texts_and_a_catalogue_is_of_items(product: ModelProduct):
    assert bool(product.data.labels) == (product.contract == "text_labels")
    assert len(set(product.data.labels)) == len(product.data.labels)
    if product.contract == "ranked_items":
        assert product.data.tables, "name the catalogue's table in Data.tables"
