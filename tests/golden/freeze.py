"""Freezes small artifacts that later code must still load and score the same.

    python -m tests.golden.freeze NAME

makes ``tests/golden/NAME/``: the public key, and per kind of model a sealed artifact and the scores
it gave. What was frozen earlier stays and is tested for as long as its models may still serve.

When: a new kind of model (add it to ``KINDS``), a new product, or a format that changed on purpose,
so that new artifacts look different. Why not otherwise: when a frozen artifact no longer loads or
scores as recorded, the code broke, and so would every released model; mend the code. Only when a
change must leave old artifacts behind (say so in CHANGELOG.md, and that every product has to be
fitted and released again), remove the old folder.

The private key is thrown away: nobody can sign another file for a frozen folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from models.contracts.learner import ALONE, Matrix
from models.contracts.product import Trial
from models.core import artifact, frames, signing
from models.registry import get, load_learner
from tests.contract.rows import TENANTS, draw, feature_tables

FOLDER = Path(__file__).parent
PUBLIC_KEY, CASES, MODEL = "public.pem", "cases.json", "model"
PRODUCT = "risk/sync_conflict"
ROWS, ASKED, SEED = 300, 24, 20_261_121

_TREES = {"model": "xgboost", "depth": 3, "rate": 0.3, "rows": 0.8, "columns": 0.5}
_WEIGHT = {"unjudged_weight": 0.2}
#: One trial per kind of model that may be released; few rounds, because git keeps them for ever.
KINDS = (
    Trial(name="logistic", params={"model": "logistic", **_WEIGHT}),
    Trial(name="xgboost", params={**_TREES, **_WEIGHT, "rounds": 8}),
    Trial(name="xgboost_calibrated", params={**_TREES, **_WEIGHT, "rounds": 4, "folds": 3}),
)


def freeze(name: str) -> Path:
    """Fit, seal and record every kind.

    Args:
        name: New folder below ``tests/golden``.

    Returns:
        The folder.

    Raises:
        FileExistsError: A frozen folder is never overwritten; choose another name.
    """
    target = FOLDER / name
    if target.exists():
        raise FileExistsError(f"{target} is frozen; choose another name, and keep it")
    with (
        tempfile.TemporaryDirectory(prefix="keys-") as keys,  # never inside the checkout
        tempfile.TemporaryDirectory(dir=FOLDER, prefix=".freezing-") as aside,
    ):
        made = Path(aside) / "made"
        private, public = signing.ensure_keypair(Path(keys))
        for trial in KINDS:
            _freeze_one(made / trial.name, trial, private)
        shutil.copyfile(public, made / PUBLIC_KEY)
        made.rename(target)
    return target


def _freeze_one(folder: Path, trial: Trial, private: Path) -> None:
    product = get(PRODUCT)
    learner = load_learner(product)
    frame = feature_tables(product, ROWS, SEED)[product.data.features]
    predictor = learner.fit(trial, frames.training_rows(frame, product.data.names), ALONE)
    (folder / MODEL).mkdir(parents=True)
    predictor.save(folder / MODEL)
    artifact.seal(
        folder / MODEL, private_key=private, product=product.key, trial=trial.name,
        snapshot_id="0" * 16, learner=product.learner, code_version="0" * 16, params=trial.params,
        columns=product.data.names, tenants=TENANTS, seed=trial.seed, cv={}, threshold=0.5,
        fit_seconds=0.0,
    )  # fmt: skip
    inputs = draw(product.data.columns, ASKED, SEED + 1)
    cases = {
        "inputs": _plain(inputs),
        "derived": _plain(derived(predictor, inputs)),
        "expected": predictor.predict(inputs).tolist(),
    }
    (folder / CASES).write_text(json.dumps(cases, allow_nan=False) + "\n", encoding="utf-8")


def derived(predictor: Any, inputs: Matrix) -> Matrix:
    """The columns a model computes from its inputs, shape (n, derived columns)."""
    seen: Matrix = predictor.inputs.select(inputs)
    return seen[:, len(predictor.inputs.used) :]


def _plain(values: Matrix) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in values.tolist()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.golden.freeze")
    parser.add_argument("name", help="name of the new folder, e.g. the version it is made with")
    sys.stdout.write(f"{freeze(parser.parse_args().name)}\n")
