"""The document of every product is OpenAPI 3.1 and names what guard and lane answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.openapi_routes import paths, schemas, service
from models import registry
from models.contracts.product import ModelProduct

EVERY = pytest.mark.parametrize("product", registry.products(), ids=lambda product: product.key)


def references(part: Any) -> set[str]:
    """Names of all schemas that a part of a document refers to."""
    if isinstance(part, list):
        return set().union(*map(references, part))
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"].rpartition("/")[2]} if isinstance(part.get("$ref"), str) else set()
    return own.union(*map(references, part.values()))


@EVERY
def test_the_document_of_a_service_is_valid_and_whole(product: ModelProduct):
    document = json.loads(json.dumps(service(product, "v1")))
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert references(document) <= set(document["components"]["schemas"])
    assert document["info"]["version"] == "v1"


@EVERY
def test_every_status_that_is_given_is_there(product: ModelProduct):
    told = service(product, "v1")["paths"]
    assert set(told) == {"/predict", "/outcome", "/health", "/livez", "/readyz", "/metrics"}
    both = {"401", "403", "429", "431", "500", "503", "504"}
    assert set(told["/health"]["get"]["responses"]) == {"200"} | both
    for path, good in (("/predict", "200"), ("/outcome", "202")):
        answers = told[path]["post"]["responses"]
        assert set(answers) == {good, "400", "408", "413", "415"} | both
        assert "retry-after" in answers["503"]["headers"]


def test_products_share_a_document_under_names_of_their_own():
    first, second = registry.products()[:2]
    found = [paths(one, f"/v1/{one.key}", f"{one.slug}.") for one in (first, second)]
    named = [schemas(one, f"{one.slug}.") for one in (first, second)]
    assert not set(found[0]) & set(found[1])
    assert set(named[0]) & set(named[1]) == {
        "OutcomeReport", "OutcomeRequest", "OutcomeResponse", "Error", "Health",
    }  # fmt: skip
    assert references(found[0]) | references(named[0]) <= set(named[0])
    whole = {"openapi": "3.1.0", "info": {"title": "both", "version": "1"},
             "paths": found[0] | found[1],
             "components": {"schemas": named[0] | named[1]}}  # fmt: skip
    assert list(OpenAPIV31SpecValidator(whole).iter_errors()) == []
