"""Every product, and every trial of it, fitted once on a few generated rows.

`pytest tests/contract -k <product>` runs one product: its key is part of every test's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assets.dbt_manifest import Node, load_manifest, nodes
from models.contracts.learner import Learner, Predictor, TrainingRows
from models.contracts.product import ModelProduct, Trial
from models.contracts.results import Candidate
from models.core import artifact, signing
from models.registry import load_learner, products
from tests.contract.rows import TENANTS, cheap, training_rows

Keys = tuple[Path, Path]


class Fitted(NamedTuple):
    """One trial of one product, at a lower price."""

    product: ModelProduct
    trial: Trial
    learner: Learner
    rows: TrainingRows
    predictor: Predictor


class Sealed(NamedTuple):
    """A fitted trial as a signed artifact, loaded again."""

    fitted: Fitted
    folder: Path
    candidate: Candidate
    loaded: Predictor


CASES = [(product, trial) for product in products() for trial in product.trials]


@pytest.fixture(scope="session", params=products(), ids=lambda product: product.key)
def product(request: pytest.FixtureRequest) -> ModelProduct:
    """One product after the other."""
    found: ModelProduct = request.param
    return found


@pytest.fixture(scope="session")
def manifest() -> Mapping[str, Any]:
    """dbt's manifest, parsed anew only when a file of the dbt project is younger."""
    return load_manifest()


@pytest.fixture(scope="session")
def tables(manifest: Mapping[str, Any]) -> dict[str, Node]:
    """dbt models by asset key."""
    return {node.key.to_user_string(): node for node in nodes(manifest)}


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Private and public key."""
    return signing.ensure_keypair(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session", params=CASES, ids=lambda case: f"{case[0].key}-{case[1].name}")
def fitted(request: pytest.FixtureRequest) -> Fitted:
    """One trial after the other."""
    chosen, trial = request.param
    return fit(chosen, cheap(trial))


@pytest.fixture(scope="session")
def sealed(fitted: Fitted, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """Saved, sealed, verified and loaded, as between `candidates` and `service`."""
    return seal(fitted, tmp_path_factory.mktemp("artifact"), keys)


def fit(product: ModelProduct, trial: Trial) -> Fitted:
    """Fit a trial on generated rows."""
    learner, rows = load_learner(product), training_rows(product)
    return Fitted(product, trial, learner, rows, learner.fit(trial, rows))


def seal(fitted: Fitted, folder: Path, keys: Keys) -> Sealed:
    """Save into an empty folder, seal, and load what lies there."""
    private, public = keys
    fitted.predictor.save(folder)
    artifact.seal(
        folder, private_key=private, product=fitted.product.key, trial=fitted.trial.name,
        snapshot_id="0" * 16, learner=fitted.product.learner, code_version="0" * 16,
        params=fitted.trial.params, columns=fitted.product.data.names, tenants=TENANTS,
        seed=fitted.trial.seed, cv={}, threshold=0.5, fit_seconds=0.0,
    )  # fmt: skip
    candidate, loaded = artifact.load(folder, public, fitted.learner)
    return Sealed(fitted, folder, candidate, loaded)
