"""Semantic versions: what breaks a caller, what answers differently, what is only newer."""

from __future__ import annotations

from typing import Any

import pytest

from models.contracts.product import Column, Trial
from models.core.semver import Spec, bump

AGE = Column(name="age", description="years", minimum=0, maximum=120)
SIZE = Column(name="size", kind="int", description="bytes", nullable=True)
SPEC = Spec(
    contract="text_labels", columns=(AGE, SIZE), labels=("toxicity", "hate"), max_rows=100,
    trial=Trial(name="minilm"), learner="m:L@1", features="f1",
)  # fmt: skip


def columns(*changed: Any) -> dict[str, Any]:
    return {"columns": changed}


def of(column: Column, **changed: Any) -> Column:
    return column.model_copy(update=changed)


@pytest.mark.parametrize(
    ("change", "version", "reason"),
    [
        ({"contract": "row_scores"}, "3.0.0", "contract"),
        ({"labels": ("hate", "toxicity")}, "3.0.0", "deciding label"),
        ({"labels": ("toxicity",)}, "3.0.0", "labels ['hate'] are gone"),
        ({"max_rows": 99}, "3.0.0", "99 rows"),
        (columns(AGE), "3.0.0", "columns ['size'] are gone"),
        (columns(AGE, SIZE, of(SIZE, name="new", nullable=False)), "3.0.0", "required"),
        (columns(AGE, of(SIZE, nullable=False)), "3.0.0", "became required"),
        (columns(of(AGE, kind="int"), SIZE), "3.0.0", "whole numbers"),
        (columns(of(AGE, minimum=1), SIZE), "3.0.0", "starts at 1"),
        (columns(AGE, of(SIZE, maximum=9)), "3.0.0", "ends at 9"),
        (columns(AGE, SIZE, of(SIZE, name="new")), "2.4.0", "columns ['new'] are new"),
        (columns(of(AGE, maximum=None), SIZE), "2.4.0", "refused before"),
        ({"labels": ("toxicity", "hate", "threat")}, "2.4.0", "labels ['threat'] are new"),
        ({"max_rows": 101}, "2.4.0", "refused before"),
        ({"trial": Trial(name="linear")}, "2.4.0", "trial 'minilm' became 'linear'"),
        ({"trial": Trial(name="minilm", params={"rate": 1})}, "2.4.0", "set differently"),
        ({"learner": "m:L@2"}, "2.4.0", "learner"),
        ({"features": "f2"}, "2.4.0", "features"),
        ({}, "2.3.10", "newer data"),
        (columns(of(AGE, description="in years"), SIZE), "2.3.10", "newer data"),
    ],
)
def test_what_changed(change: dict[str, Any], version: str, reason: str) -> None:
    found = bump(("2.3.9", SPEC), SPEC.model_copy(update=change))
    assert found[0] == version
    assert reason in found[1]


def test_the_first_and_every_reason() -> None:
    assert bump(None, SPEC) == ("1.0.0", "the first release")
    changed = SPEC.model_copy(update={"max_rows": 1, "labels": ("toxicity",)})
    assert bump(("1.0.0", SPEC), changed)[1].count(";") == 1


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.x", ""])
def test_a_version_that_is_none(version: str) -> None:
    with pytest.raises(ValueError, match="no semantic version"):
        bump((version, SPEC), SPEC)
