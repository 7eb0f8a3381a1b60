"""Every product of the registry through the front door: its route, its alias, its documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import aliases
from gateway.openapi_routes import request_type
from models.contracts.product import ModelProduct
from models.contracts.routing import Rule
from models.registry import products
from tests.unit.front_door import Scripted, World, figures, routes

ACME = (b"x-assay-tenant", b"acme")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A gateway of one product whose releases are all gone: its rule answers."""
    figures(monkeypatch)
    monkeypatch.setenv("ASSAY_SPOOL", str(tmp_path / "spool"))

    def make(product: ModelProduct) -> World:
        rule = Rule(product=product.key, probability=0.2, threshold=0.5, items=("a", "b"))
        return World(tmp_path, Scripted(), routes("v1", product=product.key, rule=rule))

    return make


def example(schema: dict[str, Any]) -> Any:
    """The example that a type gives of itself."""
    return schema["example"]


@pytest.mark.parametrize("product", products(), ids=lambda one: one.key)
def test_its_documented_example_is_answered(world: Any, product: ModelProduct, tmp_path: Path):
    types = request_type(product.key).model_json_schema()["$defs"]
    row = next(example(one) for one in types.values() if "example" in one)
    at = f"/v1/{product.key}"
    predicted, reported, health, models = world(product).asks(
        ("POST", f"{at}/predict", {"rows": [row]}),
        ("POST", f"{at}/outcome", {"outcomes": [{"event_id": "e", "label": 1}]}),
        ("GET", f"{at}/health"),
        ("GET", f"{at}/models"),
    )
    assert [got.status for got in (predicted, reported, health, models)] == [200, 202, 200, 200]
    assert predicted.json["fallback"] == "rule"
    (one,) = predicted.json["predictions"]
    assert 0 <= one["probability"] <= 1
    (file,) = (tmp_path / "spool" / product.slug).glob("*.log")
    kinds = [line.split(b" ")[2] for line in file.read_bytes().splitlines()]
    assert kinds == [b"prediction", b"outcome"]


@pytest.mark.parametrize("alias", aliases.ALIASES, ids=lambda one: one.path)
def test_its_alias_answers_as_documented(world: Any, alias: aliases.Alias):
    (product,) = (one for one in products() if one.key == alias.product)
    body = example(aliases.request_type(alias.path).model_json_schema())
    if alias.known:
        types = request_type(product.key).model_json_schema()["$defs"]
        row = next(example(one) for one in types.values() if "example" in one)
        body = body | {"signals": {name: row[name] for name in product.data.names}}
    (got,) = world(product).asks(("POST", alias.path, body, ACME))
    assert got.status == 200, got.body
    answer = alias.answer.model_validate_json(got.body)
    assert (answer.model_version, answer.fallback) == ("rule", "rule")  # type: ignore[attr-defined]
