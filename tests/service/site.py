"""A home with keys, a really fitted and sealed model, its bento and what it says offline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.contracts.api import GoldenSet, to_rows
from models.contracts.learner import FitContext, Matrix, Saved, TrainingRows
from models.contracts.product import ModelProduct, Trial
from models.core import artifact, signing
from models.registry import load_learner
from stores.bento_store import BentoRef, build
from stores.deployer import Deployer
from stores.service_process import marked, stop

TENANTS = ("acme", "globex")
SMALL = Trial(name="small", params={"model": "xgboost", "rounds": 30, "depth": 3})


@dataclass(frozen=True)
class Built:
    """A model from fit to bento, with what it says offline."""

    predictor: Any
    folder: Path
    ref: BentoRef
    golden: GoldenSet


@dataclass(frozen=True)
class Site:
    """A home of one product, as an installation has it."""

    root: Path
    product: ModelProduct

    @property
    def keys(self) -> tuple[Path, Path]:
        """Private and public key."""
        return signing.ensure_keypair(self.root / "keys")

    @property
    def bentos(self) -> Path:
        """BentoML's home."""
        return self.root / "bentos"

    @property
    def services(self) -> Path:
        """Run folders of the product's services."""
        return self.root / "services" / self.product.slug

    def deployer(self) -> Deployer:
        """A deployer of its own, as every command makes one."""
        return Deployer(self.root, self.bentos, self.keys[1])

    def end(self) -> int:
        """Kill every process of a service of this home; how many there were."""
        return sum(stop(Path(folder), 0.0) for folder in marked(self.services))

    def make(self, version: str, trial: Trial = SMALL, seed: int = 1) -> Built:
        """Fit on rows, seal, build, and ask the loaded artifact what it says offline."""
        learner = load_learner(self.product)
        fitted = learner.fit(trial, training_rows(self.product, seed), FitContext())
        folder, predictor = self.seal(version, fitted, trial, seed)
        asked = draw(self.product, 40, seed + 100)
        tenants = [TENANTS[number % 2] for number in range(len(asked))]
        golden = GoldenSet(
            rows=to_rows(self.product, asked, tenants), expected=tuple(predictor.predict(asked))
        )
        return self.pack(version, folder, predictor, golden)

    def seal(
        self, version: str, fitted: Saved, trial: Trial = SMALL, seed: int = 1, **more: Any
    ) -> tuple[Path, Any]:
        """Save and seal what was fitted; its folder and the model as loaded from there."""
        private, public = self.keys
        folder = self.root / f"artifact-{self.product.slug}-{version}"
        folder.mkdir(parents=True)
        fitted.save(folder)
        artifact.seal(
            folder, private_key=private, product=self.product.key, trial=trial.name,
            snapshot_id="s" * 16, learner=self.product.learner, code_version="1",
            params=trial.params, columns=self.product.data.names, tenants=TENANTS, seed=seed,
            cv={}, threshold=0.5, fit_seconds=0.1, **more,
        )  # fmt: skip
        _, predictor = artifact.load(folder, public, load_learner(self.product))
        return folder, predictor

    def pack(self, version: str, folder: Path, predictor: Any, golden: GoldenSet) -> Built:
        """The bento of a sealed artifact."""
        ref = build(self.product, folder, version, self.bentos, self.keys[1])
        return Built(predictor, folder, ref, golden)


def training_rows(product: ModelProduct, seed: int, count: int = 800) -> TrainingRows:
    """Rows with a law a small model can learn: the first two columns decide, with noise."""
    inputs = draw(product, count, seed)
    spread = np.nanstd(inputs[:, :2], axis=0)
    noise = np.random.default_rng(seed).normal(size=count)
    law = np.nan_to_num(inputs[:, 0] / spread[0] - inputs[:, 1] / spread[1]) + noise
    return TrainingRows(inputs, (law > np.median(law)).astype(float), product.data.names)


def draw(product: ModelProduct, count: int, seed: int) -> Matrix:
    """Inputs within the bounds of the columns, with nulls where they may be."""
    rng = np.random.default_rng(seed)
    drawn = []
    for column in product.data.columns:
        high = 40.0 if column.maximum is None else column.maximum
        values = rng.uniform(column.minimum or 0.0, high, count)
        values = np.floor(values) if column.kind == "int" else values
        missing = rng.random(count) < (0.1 if column.nullable else 0.0)
        drawn.append(np.where(missing, np.nan, values))
    return np.column_stack(drawn)
