"""Every product through its contract's service, in process: it answers what the model says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models.contracts.api import GoldenSet
from models.contracts.product import ModelProduct
from models.kinds import kind_of
from stores.golden import compare
from tests.contract.conftest import Bench, Keys, Sealed

ROOT = Path(__file__).parents[2]
COUNT = 25


class Asked(NamedTuple):
    """What was sealed, what it says offline, and what the service said of three requests."""

    sealed: Sealed
    golden: GoldenSet
    health: dict[str, str]
    answers: list[dict[str, Any]]


@pytest.fixture(scope="module")
def asked(bench: Bench, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """The last trial in the service: a batch, a stranger's row, a row with an unknown field."""
    product = bench.product
    sealed = bench.sealed(product.trials[-1].name)
    golden = kind_of(product.contract).golden(product, sealed.model, bench.units(), COUNT)
    row = golden.rows[0]
    request = {
        "product": product.key, "slug": product.slug, "contract": product.contract,
        "artifact": str(sealed.folder),
        "bodies": [{"rows": golden.rows}, {"rows": [{**row, "tenant": "stranger"}]},
                   {"rows": [{**row, "label": 1}]}],
    }  # fmt: skip
    home = {"BENTOML_HOME": str(tmp_path_factory.mktemp("bentoml"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.answer"], input=json.dumps(request), cwd=ROOT,
        env={**os.environ, **home, "ASSAY_PUBLIC_KEY": str(keys[1]), "BENTOML_DO_NOT_TRACK": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    return Asked(sealed, golden, told["health"], told["answers"])


def test_it_answers_as_the_model_does_offline(asked: Asked):
    batch = asked.answers[0]
    assert batch["status"] == 200, batch
    predictions = batch["json"]["predictions"]
    assert len(predictions) == len(asked.golden.expected) == COUNT
    for served, offline in zip(predictions, asked.golden.expected, strict=True):
        told, apart, tolerance = compare(served, offline)
        assert apart <= tolerance, (told, offline)
        assert 0 <= served["probability"] <= 1


def test_it_says_which_model_answers(product: ModelProduct, asked: Asked):
    assert asked.health["product"] == product.key
    assert asked.health["candidate_id"] == asked.sealed.candidate.candidate_id
    versions = {one["model_version"] for one in asked.answers[0]["json"]["predictions"]}
    assert versions == {asked.health["model_version"]}


def test_a_stranger_and_a_row_that_is_none_are_refused(asked: Asked):
    assert [answer["status"] for answer in asked.answers[1:]] == [400, 400]
    assert "unknown tenant" in asked.answers[1]["json"]["error"]
