"""Fits every trial of the product on the training rows, seals the artifacts, records the runs.

How to fit is the learner's affair, how to validate ``models.core.training``'s, what a sealed
artifact is ``models.core.artifact``'s. The holdout is not read here.
"""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.code_version import code_version
from assets.stages.common import learner_module, stage_asset, stage_key, table
from models.contracts.product import ModelProduct, Trial
from models.contracts.results import Candidate, CandidateSet, Snapshot
from models.core.signing import ensure_keypair
from models.registry import load_learner
from stores.files import settle, unnamed_folder, write_atomic
from stores.home import Home
from stores.tracking import Tracking

if TYPE_CHECKING:
    from models.contracts.learner import TrainingRows

#: Metrics followed per fold, for every contract that scores rows.
CV_METRICS = ("roc_auc", "average_precision", "brier", "log_loss", "f1")


def fit_all(
    product: ModelProduct, home: Home, tracking: Tracking, say: Callable[[str], object]
) -> CandidateSet:
    """Fit, validate, seal and record every trial of the newest snapshot.

    Deterministic: the same snapshot, code and trials give the same candidate ids, so a rerun after
    a crash finds what was already sealed.
    """
    folder = home.dataset(product, home.require_latest(product, "dataset"))
    snapshot = Snapshot.model_validate_json((folder / "manifest.json").read_text())
    rows = training_rows(product, folder)
    runs = {}
    for number, trial in enumerate(product.trials, 1):
        begun = time.perf_counter()
        candidate = fit_one(product, home, snapshot, trial, rows)
        path = home.candidate(product, candidate.candidate_id)
        runs[candidate.candidate_id] = tracking.candidate_run(product, snapshot, candidate, path)
        score = _mean(candidate.cv[product.gate.metric])
        say(f"{number}/{len(product.trials)} {trial.name}: cross-validated {product.gate.metric} "
            f"{score:.4f}, {time.perf_counter() - begun:.1f} s")  # fmt: skip
    identity = hashlib.sha256("".join(runs).encode()).hexdigest()[:16]
    found = CandidateSet(
        product=product.key,
        set_id=identity,
        snapshot_id=snapshot.snapshot_id,
        candidates=tuple(runs),
        runs=runs,
    )
    write_atomic(home.candidate_set(product, identity), found.model_dump_json(indent=1))
    home.set_latest(product, "candidates", identity)
    return found


def training_rows(product: ModelProduct, folder: Path) -> "TrainingRows":
    """The snapshot's training rows as the learner wants them, in time order."""
    import pandas as pd

    from models.core import frames

    return frames.training_rows(pd.read_parquet(folder / "train.parquet"), product.data.names)


def fit_one(
    product: ModelProduct, home: Home, snapshot: Snapshot, trial: Trial, rows: "TrainingRows"
) -> Candidate:
    """Cross-validate and fit one trial, and seal the artifact under its own id."""
    from models.core.artifact import seal
    from models.core.metrics import compute
    from models.core.splits import folds
    from models.core.training import cross_validate

    learner = load_learner(product)
    parts = folds(rows.labels, product.data.folds, trial.seed)
    validation = cross_validate(learner, trial, rows, parts, CV_METRICS, compute)
    begun = time.perf_counter()
    predictor = learner.fit(trial, rows)
    seconds = time.perf_counter() - begun
    private_key, _ = ensure_keypair(home.keys)
    with unnamed_folder(home.candidate(product, "-").parent) as aside:
        predictor.save(aside)
        candidate = seal(
            aside,
            private_key=private_key,
            product=product.key,
            trial=trial.name,
            snapshot_id=snapshot.snapshot_id,
            learner=product.learner,
            code_version=code_version(learner_module(product)),
            params=trial.params,
            columns=product.data.names,
            tenants=snapshot.tenants,
            seed=trial.seed,
            cv=validation.per_fold,
            threshold=validation.threshold,
            fit_seconds=seconds,
        )
        settle(aside, home.candidate(product, candidate.candidate_id))
    return candidate


def load_candidate(product: ModelProduct, home: Home, candidate_id: str) -> Candidate:
    """A sealed candidate's manifest, by id."""
    manifest = home.candidate(product, candidate_id) / "manifest.json"
    return Candidate.model_validate_json(manifest.read_text())


def build(product: ModelProduct) -> dg.AssetsDefinition:
    """The candidates asset."""

    @stage_asset(
        product,
        "candidates",
        after=stage_key(product, "dataset"),
        modules=(__name__, learner_module(product)),
        salt=f"{[t.model_dump_json() for t in product.trials]}{product.data.folds}",
        kinds={"mlflow", "python"},
        pool="training",
    )
    def candidates(
        context: dg.AssetExecutionContext,
        home: dg.ResourceParam[Home],
        tracking: dg.ResourceParam[Tracking],
    ) -> dg.MaterializeResult[None]:
        """Every trial, fitted with fixed seeds, cross-validated, sealed and signed."""
        found = fit_all(product, home, tracking, context.log.info)
        manifests = [load_candidate(product, home, c) for c in found.candidates]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(found.set_id),
            metadata={
                "candidates": table([_row(c) for c in manifests]),
                "snapshot": found.snapshot_id,
                "mlflow": tracking.uri,
                "path": dg.MetadataValue.path(str(home.candidate(product, "x").parent)),
            },
        )

    return candidates


def _row(candidate: Candidate) -> dict[str, Any]:
    means = {f"cv {name}": round(_mean(folds), 4) for name, folds in candidate.cv.items()}
    size = {"trial": candidate.trial, "candidate": candidate.candidate_id}
    return {**size, **means, "fit seconds": round(candidate.fit_seconds, 2)}


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
