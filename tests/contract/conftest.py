"""Every product, and every trial of it, fitted through its kind on a few generated rows.

`pytest tests/contract -k <product>` runs one product: its key is part of every test's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from assets.dbt_manifest import Node, load_manifest, nodes
from models.contracts.learner import FitContext
from models.contracts.product import ModelProduct, Trial
from models.contracts.results import Candidate
from models.core import artifact, signing
from models.kinds import Fit, Model, Tables, kind_of
from models.registry import load_learner, products
from tests.contract.rows import TENANTS, cheaper, snapshot

Keys = tuple[Path, Path]
#: Rows of the generated tables: enough for every label and person to be in every part.
ROWS = {"row_scores": 450, "text_labels": 400, "ranked_items": 2_400}


class Sealed(NamedTuple):
    """A fitted trial as a signed artifact, loaded again."""

    fit: Fit
    folder: Path
    candidate: Candidate
    loaded: Any

    @property
    def model(self) -> Model:
        """As it was fitted."""
        return Model(self.candidate, self.fit.predictor)

    @property
    def served(self) -> Model:
        """As it was loaded."""
        return Model(self.candidate, self.loaded)


@dataclass
class Bench:
    """One product at a lower price: its snapshot, and each trial once fitted and sealed."""

    product: ModelProduct
    root: Path
    keys: Keys
    #: A few kilobytes of random weights that stand in for every pretrained network.
    checkpoint: Path
    made: dict[str, Sealed] = field(default_factory=dict)

    @cached_property
    def tables(self) -> Tables:
        """The frozen snapshot."""
        return snapshot(self.product, ROWS[self.product.contract])

    def sealed(self, name: str) -> Sealed:
        """A trial, after those it is made from; fitted when first asked for."""
        if name not in self.made:
            trial = self.trial(name)
            self.made[name] = self.seal(trial, self.fit(trial), self.root / name)
        return self.made[name]

    def trial(self, name: str) -> Trial:
        """One of the product's trials."""
        (found,) = (trial for trial in self.product.trials if trial.name == name)
        return found

    def fit(self, trial: Trial) -> Fit:
        """Through the kind, as the stages do; with the first fit of what it is made from."""
        bases = {name: self.sealed(name).fit.predictor for name in trial.after}
        kind, learner = kind_of(self.product.contract), load_learner(self.product)
        with _in_place_of_pretrained(self.product, self.checkpoint):
            return kind.fit(self.product, learner, trial, self.tables, FitContext(bases=bases))

    def seal(self, trial: Trial, fit: Fit, folder: Path) -> Sealed:
        """Save into a new folder, seal, and load what lies there."""
        private, public = self.keys
        folder.mkdir(parents=True)
        fit.predictor.save(folder)
        artifact.seal(
            folder, private_key=private, product=self.product.key, trial=trial.name,
            snapshot_id="0" * 16, learner=self.product.learner, code_version="0" * 16,
            params=trial.params, columns=self.product.data.names, tenants=TENANTS,
            seed=trial.seed, cv=dict(fit.cv), threshold=fit.threshold,
            thresholds=dict(fit.thresholds), fit_seconds=0.0, form=trial.form,
            after={name: self.made[name].candidate.candidate_id for name in trial.after},
        )  # fmt: skip
        return Sealed(fit, folder, *artifact.load(folder, public, load_learner(self.product)))

    def units(self) -> pd.DataFrame:
        """The judged units of the holdout: no fit has seen them."""
        return kind_of(self.product.contract).units(self.product, self.tables)

    def answers(self, model: Model, units: pd.DataFrame) -> dict[str, Any]:
        """What a model says of units, as the evaluation asks it."""
        return kind_of(self.product.contract).answer(self.product, model, units, self.tables)


CASES = [(product.key, trial.name) for product in products() for trial in product.trials]


@pytest.fixture(scope="session", params=products(), ids=lambda product: product.key)
def product(request: pytest.FixtureRequest) -> ModelProduct:
    """One product after the other, as it is declared."""
    found: ModelProduct = request.param
    return found


@pytest.fixture(scope="session")
def manifest() -> Mapping[str, Any]:
    """dbt's manifest, parsed anew only when a file of the dbt project is younger."""
    return load_manifest()


@pytest.fixture(scope="session")
def nodes_by_key(manifest: Mapping[str, Any]) -> dict[str, Node]:
    """dbt models by asset key."""
    return {node.key.to_user_string(): node for node in nodes(manifest)}


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Private and public key."""
    return signing.ensure_keypair(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def benches(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Bench]:
    """A bench per product."""
    root = tmp_path_factory.mktemp("benches")
    found = (cheaper(product) for product in products())
    return {one.key: Bench(one, root / one.slug, keys, root / "checkpoint") for one in found}


@pytest.fixture(scope="session")
def bench(product: ModelProduct, benches: Mapping[str, Bench]) -> Bench:
    """The bench of one product after the other."""
    return benches[product.key]


class Case(NamedTuple):
    """One trial of one product, fitted, sealed and loaded."""

    bench: Bench
    sealed: Sealed
    units: pd.DataFrame

    @property
    def trial(self) -> Trial:
        """With its cheap parameters."""
        return self.bench.trial(self.sealed.candidate.trial)


@pytest.fixture(scope="session", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest, benches: Mapping[str, Bench]) -> Case:
    """One trial after the other."""
    key, name = request.param
    bench = benches[key]
    return Case(bench, bench.sealed(name), bench.units().head(60))


@pytest.fixture(scope="session")
def again(case: Case) -> Sealed:
    """The same trial, fitted and sealed a second time."""
    folder = case.bench.root / f"{case.trial.name}-again"
    return case.bench.seal(case.trial, case.bench.fit(case.trial), folder)


@contextmanager
def _in_place_of_pretrained(product: ModelProduct, folder: Path) -> Iterator[None]:
    """Every packaged network is the tiny one: the real ones take minutes."""
    if product.contract != "text_labels":
        yield
        return
    import torch

    from models.core.text import backbone
    from tests.unit import tiny_checkpoint

    if not folder.exists():
        tiny_checkpoint.save(folder)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        # an absolute folder stands for itself, whatever package it is said to be in
        patch.setattr(backbone, "PACKAGED", dict.fromkeys(backbone.PACKAGED, ("tests", folder)))
        torch.set_num_threads(1)  # two threads of a tiny product only wait for each other
        try:
            yield
        finally:
            torch.set_num_threads(threads)
