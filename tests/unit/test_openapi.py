"""The document of the front door: valid, whole, and what is really answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import aliases, versions
from gateway.openapi import document
from gateway.own import API_VERSION
from models.registry import products
from tests.unit.front_door import AT, Scripted, World, figures, routes


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return document(products(), API_VERSION)


def test_it_is_valid(told: dict[str, Any]):
    OpenAPIV31SpecValidator(told).validate()
    names = [one["operationId"] for path in told["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))


def test_every_route_of_every_product_is_in_it(told: dict[str, Any]):
    for product in products():
        at = f"/v1/{product.key}"
        assert {f"{at}/{name}" for name in ("predict", "outcome", "health", "models")} <= set(
            told["paths"]
        )
    assert {alias.path for alias in aliases.ALIASES} <= set(told["paths"])
    assert {*versions.READ, *versions.WRITE} <= set(told["paths"])
    assert {"/health", "/v1/products", "/livez", "/readyz", "/metrics"} <= set(told["paths"])


def test_outcomes_are_202_and_refusals_are_told(told: dict[str, Any]):
    responses = told["paths"][f"{AT}/outcome"]["post"]["responses"]
    assert {"202", "400", "401", "403", "413", "429", "503"} <= set(responses)
    assert "200" not in responses
    alias = told["paths"]["/recommend"]["post"]["responses"]
    assert "422" in alias
    assert "400" not in alias


def test_products_keep_their_types_apart(told: dict[str, Any]):
    def answer(key: str) -> str:
        of = told["paths"][f"/v1/{key}/predict"]["post"]["responses"]["200"]["content"]
        found: str = of["application/json"]["schema"]["$ref"]
        return found

    answers = {answer(product.key) for product in products()}
    assert len(answers) == len(products())
    body = told["paths"]["/api/v2/predict/conflict/"]["post"]["requestBody"]["content"]
    fields = body["application/json"]["schema"]["properties"]
    assert set(fields) == {"domain", "user_id", "entity_type", "entity_id", "signals"}


def test_the_gateway_hands_it_out(
    told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    figures(monkeypatch)
    (got,) = World(tmp_path, Scripted(), routes("v1")).asks(("GET", "/docs.json"))
    assert (got.status, got.json == told) == (200, True)
