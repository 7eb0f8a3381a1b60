"""An installation of the first product with models whose truth is known, for rollout benchmarks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from assets.stages.snapshots import TRAIN
from models.contracts.api import GoldenSet, to_rows
from models.contracts.learner import FitContext, Matrix, TrainingRows, Vector
from models.contracts.product import JUDGED, LABEL, Trial
from models.contracts.results import Release
from models.registry import load_learner
from models.risk.sync_conflict.product import PRODUCT
from orchestration.resources import build_deployer
from orchestration.settings import Settings
from stores import gateway_store
from stores.deployer import ServiceRecord
from stores.files import write_atomic
from stores.ledger import Ledger
from stores.router_process import RouterProcess
from stores.service_slot import CHALLENGER
from tests.service.site import TENANTS, Site, training_rows

Model = str
KINDS: tuple[Model, ...] = ("champion", "equal", "loss", "slow")
ROWS, CASES = 20_000, 20_000
SNAPSHOT = "s" * 16
GOOD: dict[str, Any] = {"model": "xgboost", "rounds": 60, "depth": 3, "rate": 0.1}
#: The same learner with less and less to go by; one of them loses 2 points.
LADDER = tuple({**GOOD, "depth": 2, "rounds": rounds} for rounds in range(4, 13))
LOSS, EQUAL = (0.017, 0.023), 0.002
SLOW: dict[str, Any] = {"model": "xgboost", "rounds": 3_000, "depth": 6, "rate": 0.002}


class Made(NamedTuple):
    """A fitted model.

    Attributes:
        accuracy: On the cases.
        says: Its probability of each case.
        parts: Trial, and the model as fitted.
    """

    name: Model
    accuracy: float
    says: Vector
    parts: tuple[Trial, Any]

    def __str__(self) -> str:
        return f"{self.name}: accuracy {self.accuracy:.4f} on {len(self.says):,} drawn rows"


class Cases(NamedTuple):
    """What clients ask, and what is true of it."""

    rows: tuple[dict[str, Any], ...]
    inputs: Matrix
    labels: Vector


class Installation:
    """A home with releases; `running` serves the champion behind a router.

    Args:
        root: Of the home, which ``ASSAY_HOME`` names, too.
        kinds: Models that are needed; fitting the slow one takes half a minute.
    """

    def __init__(self, root: Path, kinds: Collection[Model] = KINDS) -> None:
        self.product, self.settings = PRODUCT, Settings()
        self.home = self.settings.home_paths()
        self.path = f"/v1/{PRODUCT.key}"
        self._site = Site(root, PRODUCT)
        self._learner = load_learner(PRODUCT)
        drawn = training_rows(PRODUCT, 999, CASES)
        tenants = [TENANTS[number % 2] for number in range(CASES)]
        self.cases = Cases(to_rows(PRODUCT, drawn.inputs, tenants), drawn.inputs, drawn.labels)
        self.models = self._fitted(kinds)
        self.offline: dict[str, Vector] = {}
        self._versions: dict[Model, str] = {}
        self.url = ""
        self._client().create_registered_model(PRODUCT.slug)
        self._keep_rows()

    @property
    def ledger(self) -> Ledger:
        """Of the product."""
        return Ledger(self.home.ledger(self.product))

    def release(self, kind: Model) -> str:
        """The version of a model: sealed and in the ledger, the champion at once."""
        if kind in self._versions:
            return self._versions[kind]
        made = self.models[kind]
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=len(self._versions))
        version = f"v{at:%Y%m%d_%H%M%S}"
        trial, fitted = made.parts
        folder, predictor = self._site.seal(version, fitted, trial)
        asked = self.cases.inputs[:40]
        golden = GoldenSet(rows=self.cases.rows[:40], expected=tuple(predictor.predict(asked)))
        self._keep(version, kind, folder, golden)
        self.offline[version], self._versions[kind] = made.says, version
        return version

    def beside(self) -> ServiceRecord | None:
        """The challenger's service."""
        return build_deployer(self.settings).slot(CHALLENGER).current(self.product)

    def serve(self) -> None:
        """Start what the ledger says, as `assay serve` does."""
        from assets.stages.service import roll_out

        roll_out(self.product, self.home, build_deployer(self.settings), lambda _: None)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The champion behind a router, until the end of the block."""
        deployer, router = build_deployer(self.settings), RouterProcess(self.home)
        try:
            self.release("champion")
            self.serve()
            self.url = router.start().url
            gateway_store.follow_services(self.home, self.product)
            yield
        finally:
            router.stop()
            deployer.stop(self.product)
            deployer.slot(CHALLENGER).stop(self.product)

    def _keep_rows(self) -> None:
        """The snapshot of the releases, from whose labels a bento gets its rule."""
        folder = self.home.dataset(PRODUCT, SNAPSHOT)
        folder.mkdir(parents=True)
        rows = pd.DataFrame(self.cases.inputs, columns=list(PRODUCT.data.names))
        rows.assign(**{LABEL: self.cases.labels, JUDGED: True}).to_parquet(
            folder / f"{TRAIN}.parquet"
        )

    def _keep(self, version: str, kind: Model, folder: Path, golden: GoldenSet) -> None:
        """What a chain leaves of a release: golden requests, a registered model, the entry."""
        write_atomic(
            self.home.evaluation(self.product, version) / "golden.json", golden.model_dump_json()
        )
        made = self._client().create_model_version(PRODUCT.slug, folder.as_uri())
        release = Release(
            product=PRODUCT.key, version=version, candidate_id=kind, snapshot_id=SNAPSHOT,
            evaluation_id=version, trial=kind, mlflow_version=str(made.version),
            artifact=str(folder.relative_to(self.home.root)), semver="1.0.0",
            staged=kind != "champion",
        )  # fmt: skip
        self.ledger.append("release", release)

    def _client(self) -> Any:
        return self.settings.tracking().client

    def _fitted(self, kinds: Collection[Model]) -> dict[Model, Made]:
        rows = training_rows(PRODUCT, 1, ROWS)
        champion = self._fit("champion", GOOD, rows)
        found = {"champion": champion}
        for seed in range(20):
            again = np.random.default_rng(seed).integers(0, ROWS, ROWS)
            drawn = TrainingRows(rows.inputs[again], rows.labels[again], PRODUCT.data.names)
            found["equal"] = self._fit("equal", GOOD, drawn)
            if abs(champion.accuracy - found["equal"].accuracy) <= EQUAL:
                break
        else:
            raise SystemExit("no bootstrap is as good as the champion")
        if "loss" in kinds:
            ladder = (self._fit("loss", params, rows) for params in LADDER)
            near = (m for m in ladder if LOSS[0] <= champion.accuracy - m.accuracy <= LOSS[1])
            if (weaker := next(near, None)) is None:
                raise SystemExit("no model of the ladder loses 2 points; add a step")
            found["loss"] = weaker
        if "slow" in kinds:
            few = TrainingRows(rows.inputs[:4_000], rows.labels[:4_000], PRODUCT.data.names)
            found["slow"] = self._fit("slow", SLOW, few)
        return found

    def _fit(self, name: Model, params: dict[str, Any], rows: TrainingRows) -> Made:
        trial = Trial(name=name, params=params)
        fitted = self._learner.fit(trial, rows, FitContext())
        says = fitted.predict(self.cases.inputs)
        right = (says >= 0.5) == (self.cases.labels > 0.5)
        return Made(name, float(right.mean()), says, (trial, fitted))
