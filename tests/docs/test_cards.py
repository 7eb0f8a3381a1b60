"""Every product has a model card that says what a reader must know, and says it of this product.

Sections after Mitchell et al. 2019, Model Cards for Model Reporting, plus how to go back.
"""

from __future__ import annotations

import pytest

from models.contracts.product import ModelProduct
from models.registry import ROOT, products
from tests.docs.files import sections, text

SECTIONS = (
    "Model details",
    "Intended use",
    "Not intended",
    "Factors",
    "Metrics",
    "Training and evaluation data",
    "Quantitative results",
    "Ethical considerations",
    "Caveats and recommendations",
    "Rolling back",
)
#: Stands in a page for a figure that is still to be measured.
PLACEHOLDER = "FILL" + "_"


@pytest.fixture(params=products(), ids=lambda product: product.key)
def product(request: pytest.FixtureRequest) -> ModelProduct:
    found: ModelProduct = request.param
    return found


def card(product: ModelProduct) -> str:
    return text(ROOT / product.key / "CARD.md")


def test_every_section_is_there_in_order_and_says_something(product: ModelProduct):
    found = sections(card(product))
    assert tuple(found) == SECTIONS
    empty = [title for title, body in found.items() if len(body) < 20]
    assert not empty, f"{product.key}: say something in {empty}"


def test_the_card_is_of_this_product_as_it_is_now(product: ModelProduct):
    page, found = card(product), sections(card(product))
    assert page.startswith(f"# Model card: {product.key}\n")
    assert product.owner in found["Model details"]
    missing = [trial.name for trial in product.trials if f"`{trial.name}`" not in page]
    assert not missing, f"{product.key}: the card does not mention the trials {missing}"
    assert product.data.features in found["Training and evaluation data"]
    assert f"assay rollback {product.key}" in found["Rolling back"]
    named = {g.slice for g in product.gate.guardrails} - {"overall", "tenant"}
    assert all(f"`{name}`" in found["Factors"] for name in named), "name the slices of the gate"


def test_the_results_are_measured_and_can_be_reproduced(product: ModelProduct):
    results = sections(card(product))["Quantitative results"]
    assert PLACEHOLDER not in results, "put the measured figures in, with the command beside them"
    assert "assay " in results, "say which command gives the figures"
