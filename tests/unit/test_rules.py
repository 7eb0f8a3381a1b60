"""What is answered without a model: base rates and popular items, within what a row allows."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gateway.asked import Asked
from gateway.openapi_routes import request_type
from gateway.ports import Answered
from gateway.rules import Rules, popular
from models import registry
from models.contracts.routing import Rule
from models.kinds import kind_of

TEXTS, FILMS = "moderation/text_toxicity", "recommendation/films"
ITEMS = ("f1", "f2", "f3", "f4")


def say(rule: Rule, **body: Any) -> Answered:
    request = request_type(rule.product).model_validate(body)
    rules = Rules({rule.product: rule}.get, lambda *_: pytest.fail("nothing is logged here"))
    return asyncio.run(rules.answer(rule.product, "rule", request, Asked("r", 0, "traffic")))


def test_a_text_gets_the_base_rates_and_a_person():
    rule = Rule(product=TEXTS, probability=0.1, threshold=0.4, labels={"toxicity": 0.1})
    done = say(rule, rows=[{"tenant": "a", "text": "You are KIND"}] * 2)
    one, _ = done.predictions
    assert one.probability == 0.1
    assert one.labels["toxicity"] == 0.1  # type: ignore[attr-defined]
    assert one.labels["hate"] is None  # type: ignore[attr-defined]
    assert (one.flagged, one.review, one.risk_level) == ([], True, "low")  # type: ignore[attr-defined]
    assert done.inputs.shape == (2, len(registry.get(TEXTS).data.columns))
    assert len(done.digests or ()) == 2


def test_a_user_gets_what_is_popular_and_the_log_what_is_known():
    rule = Rule(product=FILMS, probability=0.3, threshold=0.0, items=ITEMS)
    row = {"tenant": "a", "user": "u", "k": 2, "history": ["f1", "f1", "x"]}
    done = say(rule, rows=[row])
    (one,) = done.predictions
    assert [item.item for item in one.items] == ["f2", "f3"]  # type: ignore[attr-defined]
    assert one.items[0].score > one.items[1].score  # type: ignore[attr-defined]
    assert done.inputs.tolist()[0][0] == 2.0
    assert math.isnan(done.inputs[0, 1])


@pytest.mark.parametrize(
    ("changed", "items"),
    [
        ({}, ["f1", "f2", "f3"]),
        ({"history": ["f2"]}, ["f1", "f3", "f4"]),
        ({"history": ["f2"], "seen": True}, ["f1", "f2", "f3"]),
        ({"exclude": ["f1"], "seen": True}, ["f2", "f3", "f4"]),
        ({"only": ["f4", "f9"]}, ["f4"]),
        ({"categories": ["drama"]}, []),
        ({"k": 9}, list(ITEMS)),
    ],
)
def test_what_a_row_rules_out_is_not_recommended(changed: dict[str, Any], items: list[str]):
    row = {"k": 3, "history": [], "exclude": [], "only": None, "seen": False, "categories": None}
    assert popular(ITEMS, SimpleNamespace(**(row | changed))) == items


def candidate(**fields: Any) -> Any:
    return SimpleNamespace(threshold=0.4, thresholds={}, **fields)


def test_rules_come_from_the_training_rows():
    rows = pd.DataFrame({"label": [1, 0, 0, 0, 1], "judged": [True, True, False, True, True]})
    made = kind_of("row_scores").rule(registry.get("risk/sync_conflict"), candidate(), rows)
    assert (made.probability, made.threshold) == (0.5, 0.4)
    made = kind_of("row_scores").rule(
        registry.get("risk/sync_conflict"), candidate(), rows.assign(judged=False)
    )
    assert made.probability == 0.4

    product = registry.get(TEXTS)
    known = {f"label_{name}": [1.0, 0.0, np.nan, 0.0] for name in product.data.labels}
    known[f"label_{product.data.labels[1]}"] = [np.nan] * 4
    made = kind_of("text_labels").rule(product, candidate(), pd.DataFrame(known))
    assert made.probability == pytest.approx(1 / 3)
    assert made.labels[product.data.labels[1]] is None

    films = pd.DataFrame({"item": ["b", "a", "a", "c", "b", "d"]})
    curve = SimpleNamespace(threshold=0.0, thresholds={"hit_intercept": 0.0, "hit_slope": 2.0})
    made = kind_of("ranked_items").rule(registry.get(FILMS), curve, films)  # type: ignore[arg-type]
    assert (made.items, made.probability) == (("a", "b", "c", "d"), 0.5)
