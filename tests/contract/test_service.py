"""Every product through its contract's service, in process: it answers what the model says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models.contracts.api import to_rows
from models.contracts.product import ModelProduct
from tests.contract.conftest import Keys, Sealed, fit, seal
from tests.contract.rows import TENANTS, cheap, draw

ROOT = Path(__file__).parents[2]
COUNT = 25


class Asked(NamedTuple):
    """What was sealed and what the service said of three requests."""

    sealed: Sealed
    health: dict[str, str]
    answers: list[dict[str, Any]]


@pytest.fixture(scope="module")
def asked(product: ModelProduct, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """The last trial in the service: a batch, a stranger's row, a row without its first column."""
    sealed = seal(fit(product, cheap(product.trials[-1])), tmp_path_factory.mktemp("served"), keys)
    tenants = [TENANTS[number % len(TENANTS)] for number in range(COUNT)]
    rows = to_rows(product, draw(product, COUNT, seed=9), tenants)
    short = {name: value for name, value in rows[0].items() if name != "tenant"}
    request = {
        "product": product.key, "slug": product.slug, "contract": product.contract,
        "artifact": str(sealed.folder),
        "bodies": [{"rows": rows}, {"rows": [{**rows[0], "tenant": "stranger"}]},
                   {"rows": [short]}],
    }  # fmt: skip
    home = {"BENTOML_HOME": str(tmp_path_factory.mktemp("bentoml"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.answer"], input=json.dumps(request), cwd=ROOT,
        env={**os.environ, **home, "ASSAY_PUBLIC_KEY": str(keys[1]), "BENTOML_DO_NOT_TRACK": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    return Asked(sealed, told["health"], told["answers"])


def test_it_answers_as_the_model_does_offline(product: ModelProduct, asked: Asked):
    batch = asked.answers[0]
    assert batch["status"] == 200, batch
    got = [one["probability"] for one in batch["json"]["predictions"]]
    expected = asked.sealed.loaded.predict(draw(product, COUNT, seed=9))
    assert got == pytest.approx(expected.tolist(), abs=1e-9)


def test_it_says_which_model_answers(product: ModelProduct, asked: Asked):
    assert asked.health["product"] == product.key
    assert asked.health["candidate_id"] == asked.sealed.candidate.candidate_id
    versions = {one["model_version"] for one in asked.answers[0]["json"]["predictions"]}
    assert versions == {asked.health["model_version"]}


def test_a_stranger_and_an_unfinished_row_are_refused(asked: Asked):
    assert [answer["status"] for answer in asked.answers[1:]] == [400, 400]
    assert "unknown tenant" in asked.answers[1]["json"]["error"]
