"""Artifacts frozen by an earlier version verify, load with today's code and score as recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.contracts.api import GoldenSet
from models.core import artifact
from models.core.artifact import ArtifactError
from models.registry import get, load_learner, products
from stores.golden import compare
from tests.golden import freeze_kinds
from tests.golden.freeze import CASES, FOLDER, KINDS, MODEL, PUBLIC_KEY, derived, freeze
from tests.processor import overflows

TOLERANCE = 1e-6
MAX_BYTES = 60_000

FROZEN = sorted(path.parent for path in FOLDER.glob(f"*/*/{CASES}"))
OF_KINDS = sorted(path.parent for path in FOLDER.glob(f"*/*/{freeze_kinds.GOLDEN}"))


#: Frozen with INT8 weights of eight bits, which some processors cannot add up.
EIGHT_BITS = ("v0.2.0", "v0.3.0")


def kind(params: dict[str, Any]) -> tuple[object, bool]:
    return params.get("model"), params.get("folds", 1) > 1


@pytest.fixture(params=FROZEN, ids=lambda path: f"{path.parent.name}-{path.name}")
def frozen(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_it_scores_as_recorded(frozen: Path):
    manifest = json.loads((frozen / MODEL / artifact.MANIFEST).read_text())
    learner = load_learner(get(manifest["product"]))
    candidate, predictor = artifact.load(frozen / MODEL, frozen.parent / PUBLIC_KEY, learner)
    assert candidate.trial == frozen.name
    cases = json.loads((frozen / CASES).read_text())
    inputs = np.array(cases["inputs"], dtype=np.float64)  # null becomes NaN
    assert np.isnan(inputs).any()
    np.testing.assert_allclose(predictor.predict(inputs), cases["expected"], rtol=0, atol=TOLERANCE)
    # trees are blind to small changes of an input, so what they are given is compared as well
    recorded = np.array(cases["derived"], dtype=np.float64)
    np.testing.assert_allclose(derived(predictor, inputs), recorded, rtol=1e-12)
    assert np.ptp(cases["expected"]) > 0.1, "constant scores would prove nothing"


def test_its_columns_are_those_of_the_product(frozen: Path):
    """Otherwise the service would refuse every release made before the change."""
    manifest = json.loads((frozen / MODEL / artifact.MANIFEST).read_text())
    assert tuple(manifest["columns"]) == get(manifest["product"]).data.names


def test_it_is_small(frozen: Path):
    assert sum(path.stat().st_size for path in frozen.rglob("*") if path.is_file()) < MAX_BYTES


def test_a_changed_byte_is_refused(frozen: Path, tmp_path: Path):
    copied = tmp_path / MODEL
    copied.mkdir()
    for path in (frozen / MODEL).iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    changed = (copied / "model.json").read_text().replace('"probe"', '"prove"', 1)
    (copied / "model.json").write_text(changed)
    with pytest.raises(ArtifactError, match="signature refused"):
        artifact.verify(copied, frozen.parent / PUBLIC_KEY)


def test_every_kind_that_may_be_released_is_frozen():
    names = {path.name for path in FROZEN}
    assert names >= {trial.name for trial in KINDS}
    covered = {kind(trial.params) for trial in KINDS}
    rows = [product for product in products() if product.contract == "row_scores"]
    tried = {kind(trial.params) for product in rows for trial in product.trials}
    assert tried <= covered, "add the new kind to KINDS and freeze it"
    kept = freeze_kinds.kept()
    for product in freeze_kinds.frozen_products():
        tried_here = {(product.key, freeze_kinds.kind(trial)) for trial in product.trials}
        assert tried_here <= kept, (
            "freeze the new kind: python -m tests.golden.freeze_kinds NAME --new"
        )


@pytest.mark.parametrize("frozen", OF_KINDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_texts_and_rankings_are_answered_as_recorded(frozen: Path):
    manifest = json.loads((frozen / MODEL / artifact.MANIFEST).read_text())
    product = get(manifest["product"])
    eight_bits = frozen.parent.name in EIGHT_BITS and frozen.name.endswith("int8")
    if eight_bits and overflows():
        with pytest.raises(ArtifactError, match="this processor no VNNI"):
            artifact.load(frozen / MODEL, frozen.parent / PUBLIC_KEY, load_learner(product))
        return
    _, predictor = artifact.load(frozen / MODEL, frozen.parent / PUBLIC_KEY, load_learner(product))
    golden = GoldenSet.model_validate_json((frozen / freeze_kinds.GOLDEN).read_text())
    given = freeze_kinds.answers(product, predictor, golden)
    assert len(given) == freeze_kinds.ASKED
    for served, offline in zip(given, golden.expected, strict=True):
        told, apart, usual = compare(served, offline)
        assert apart <= (golden.tolerance or usual), (told, offline)
    assert len({json.dumps(one) for one in golden.expected}) > 1, "a constant would prove nothing"
    assert sum(path.stat().st_size for path in frozen.rglob("*") if path.is_file()) < 150_000


def test_no_private_key_is_kept():
    for path in FOLDER.rglob("*"):
        assert not path.is_file() or b"PRIVATE" + b" KEY" not in path.read_bytes(), path


def test_what_is_frozen_is_never_overwritten():
    with pytest.raises(FileExistsError, match="choose another name"):
        freeze(FROZEN[0].parent.name)
