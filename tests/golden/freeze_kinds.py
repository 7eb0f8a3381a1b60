"""Freezes one small artifact per kind of model of products whose rows are not rows of numbers.

    python -m tests.golden.freeze_kinds NAME [--new]

makes ``tests/golden/NAME/<product>-<trial>/``: as ``freeze`` does, with golden requests instead of
a matrix. The networks are of random weights and a few kilobytes. When and when not: see ``freeze``.
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

from models.contracts.api import GoldenSet, rankings
from models.contracts.product import TEXT, ModelProduct, Trial
from models.core import signing
from models.core.artifact import MANIFEST
from models.kinds import kind_of
from models.registry import products
from tests.contract import conftest
from tests.contract.conftest import Bench
from tests.contract.rows import cheaper
from tests.golden.freeze import FOLDER, MODEL, PUBLIC_KEY
from tests.unit import tiny_checkpoint

GOLDEN = "golden.json"
ASKED = 12
#: Rows of the tables, so that no artifact is larger than ``test_golden.MAX_BYTES``.
ROWS = {"text_labels": 200, "ranked_items": 640}
Kind = tuple[object, object]
_NETWORK = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1}


def frozen_products() -> list[ModelProduct]:
    """Products of the contracts that ``freeze`` does not know."""
    return [product for product in products() if product.contract in ROWS]


def freeze(name: str, *, new: bool = False) -> Path:
    """Fit, seal and record one trial per kind of every such product.

    Args:
        name: Of the folder.
        new: Leave out what a folder holds already.

    Raises:
        FileExistsError: A frozen folder is never overwritten; choose another name.
    """
    target, held = FOLDER / name, kept() if new else frozenset()
    if target.exists():
        raise FileExistsError(f"{target} is frozen; choose another name, and keep it")
    conftest.ROWS.update(ROWS)
    tiny_checkpoint.SMALL.update(_NETWORK)
    with (
        tempfile.TemporaryDirectory(prefix="keys-") as keys,  # never inside the checkout
        tempfile.TemporaryDirectory(dir=FOLDER, prefix=".freezing-") as aside,
        tempfile.TemporaryDirectory(prefix="bench-") as bench,
    ):
        made, pair = Path(aside) / "made", signing.ensure_keypair(Path(keys))
        for product in frozen_products():
            one = cheaper(product)
            _freeze_all(Bench(one, Path(bench) / one.slug, pair, Path(bench) / "net"), made, held)
        shutil.copyfile(pair[1], made / PUBLIC_KEY)
        made.rename(target)
    return target


def kept() -> frozenset[tuple[str, Kind]]:
    """Products with the kinds of theirs that are frozen."""
    found = (json.loads(path.read_text()) for path in FOLDER.glob(f"*/*/{MODEL}/{MANIFEST}"))
    return frozenset(
        (one["product"], kind(Trial(name=one["trial"], params=one["params"]))) for one in found
    )


def kind(trial: Trial) -> Kind:
    """What makes two artifacts of different kinds."""
    return trial.params.get("model"), trial.params.get("precision")


def answers(product: ModelProduct, predictor: Any, golden: GoldenSet) -> list[dict[str, Any]]:
    """What a model says of golden requests, as its service would."""
    if product.contract == "text_labels":
        scores = predictor.predict([str(row[TEXT]) for row in golden.rows]).tolist()
        none = [[None if np.isnan(value) else value for value in line] for line in scores]
        return [{"labels": dict(zip(predictor.labels, line, strict=True))} for line in none]
    row = rankings.row_model(product)
    ranked = predictor.recommend([rankings.to_query(row(**one)) for one in golden.rows])
    return [
        {"items": [{"item": i, "score": s} for i, s in zip(one.items, one.scores, strict=True)]}
        for one in ranked
    ]


def _freeze_all(bench: Bench, made: Path, held: frozenset[tuple[str, Kind]]) -> None:
    first = {kind(trial): trial for trial in reversed(bench.product.trials)}
    for one, trial in first.items():
        if (bench.product.key, one) in held:
            continue
        sealed = bench.sealed(trial.name)
        folder = made / f"{bench.product.slug}-{trial.name}"
        shutil.copytree(sealed.folder, folder / MODEL)
        asked = kind_of(bench.product.contract).golden
        golden = asked(bench.product, sealed.served, bench.units(), ASKED)
        (folder / GOLDEN).write_text(golden.model_dump_json() + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.golden.freeze_kinds")
    parser.add_argument("name", help="name of the new folder, e.g. the version it is made with")
    parser.add_argument("--new", action="store_true", help="only kinds that are not frozen yet")
    options = parser.parse_args()
    sys.stdout.write(f"{freeze(options.name, new=options.new)}\n")
