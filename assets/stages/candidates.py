"""Fits every trial of the product on the training rows, seals the artifacts, records the runs.

How to fit is the learner's affair, how to validate its kind's (``models.kinds``), what a sealed
artifact is ``models.core.artifact``'s. The holdout is not read here.
"""

import hashlib
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from assets.code_version import code_version
from assets.stages.common import (
    kind_module,
    learner_module,
    picture,
    stage_asset,
    stage_key,
    table,
)
from assets.stages.snapshots import load_model, read_snapshot, read_tables
from models.contracts.learner import FitContext
from models.contracts.product import ModelProduct, Trial
from models.contracts.results import Candidate, CandidateSet, Snapshot
from models.core.signing import ensure_keypair
from models.kinds import kind_of
from models.registry import load_learner
from stores.files import settle, unnamed_folder, write_atomic
from stores.home import Home
from stores.tracking import Tracking

if TYPE_CHECKING:
    from models.kinds import Fit, Tables

Say = Callable[[str], object]


class _Place(NamedTuple):
    """What all trials of one run share."""

    product: ModelProduct
    home: Home
    snapshot: Snapshot
    tables: "Tables"
    tracking: Tracking
    say: Say


class _Made(NamedTuple):
    """A sealed trial and its loaded model."""

    candidate: Candidate
    predictor: Any


def fit_all(product: ModelProduct, home: Home, tracking: Tracking, say: Say) -> CandidateSet:
    """Fit, validate, seal and record every trial of the newest snapshot.

    Deterministic: the same snapshot, code and trials give the same candidate ids. A rerun after a
    crash finds what was already sealed, and a long fit goes on from its last checkpoint.
    """
    snapshot_id = home.require_latest(product, "dataset")
    snapshot = read_snapshot(product, home, snapshot_id)
    place = _Place(product, home, snapshot, read_tables(product, home, snapshot_id), tracking, say)
    made: dict[str, _Made] = {}
    runs = {}
    for number, trial in enumerate(product.trials, 1):
        begun = time.perf_counter()
        made[trial.name] = one = _make(place, trial, made)
        candidate = one.candidate
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
    shutil.rmtree(home.checkpoints(product), ignore_errors=True)
    return found


def _make(place: _Place, trial: Trial, made: dict[str, _Made]) -> _Made:
    """The trial's candidate: found when it was sealed before, else fitted and sealed."""
    from models.core.artifact import ArtifactError

    after = {name: made[name].candidate.candidate_id for name in trial.after}
    expected = _expected(place, trial, after)
    for sealed in _sealed(place):
        if all(getattr(sealed, name) == value for name, value in expected.items()):
            try:
                found = load_model(place.product, place.home, sealed.candidate_id)
            except ArtifactError as error:
                place.say(f"{trial.name}: fitted anew, what was sealed is not usable: {error}")
                break
            place.say(f"{trial.name}: sealed before as {sealed.candidate_id}")
            return _Made(sealed, found.predictor)
    return _fit(place, trial, expected, {name: made[name].predictor for name in trial.after})


def _expected(place: _Place, trial: Trial, after: dict[str, str]) -> dict[str, Any]:
    """What a candidate of this trial says of itself, before it is fitted."""
    product = place.product
    return {
        "product": product.key,
        "trial": trial.name,
        "snapshot_id": place.snapshot.snapshot_id,
        "learner": product.learner,
        "code_version": code_version(learner_module(product), kind_module(product)),
        "params": trial.params,
        "columns": product.data.names,
        "seed": trial.seed,
        "after": after,
        "form": trial.form,
    }


def _sealed(place: _Place) -> list[Candidate]:
    """Manifests of every candidate that was ever sealed here."""
    folder = place.home.candidate(place.product, "-").parent
    manifests = sorted(folder.glob("*/manifest.json")) if folder.is_dir() else []
    return [Candidate.model_validate_json(path.read_bytes()) for path in manifests]


def _fit(place: _Place, trial: Trial, expected: dict[str, Any], bases: dict[str, Any]) -> _Made:
    from models.core.artifact import seal

    learner, kind = load_learner(place.product), kind_of(place.product.contract)
    curves: dict[str, list[float]] = defaultdict(list)
    folder = _checkpoints(place, trial, expected)
    with place.tracking.live(place.product, folder.name) as shown:

        def curve(name: str, step: int, value: float) -> None:
            curves[name].append(float(value))
            shown(name, step, value)

        context = FitContext(
            bases=bases,
            folder=folder,
            say=lambda text: place.say(f"{trial.name}: {text}"),
            curve=curve,
        )
        found = kind.fit(place.product, learner, trial, place.tables, context)
    private_key, _ = ensure_keypair(place.home.keys)
    with unnamed_folder(place.home.candidate(place.product, "-").parent) as aside:
        found.predictor.save(aside)
        candidate = seal(
            aside,
            private_key=private_key,
            tenants=place.snapshot.tenants,
            curves={name: tuple(values) for name, values in curves.items()},
            **expected,
            **_validated(found),
        )
        settle(aside, place.home.candidate(place.product, candidate.candidate_id))
    return _Made(candidate, found.predictor)


def _validated(found: "Fit") -> dict[str, Any]:
    """What validation said, as fields of a candidate."""
    return {
        "cv": dict(found.cv),
        "threshold": found.threshold,
        "thresholds": dict(found.thresholds),
        "fit_seconds": found.seconds,
    }


def _checkpoints(place: _Place, trial: Trial, expected: dict[str, Any]) -> Path:
    """A folder of this very fit: another snapshot or other code never resumes from it."""
    digest = hashlib.sha256(repr(sorted(expected.items())).encode()).hexdigest()[:16]
    folder = place.home.checkpoints(place.product) / f"{trial.name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
        modules=(__name__, learner_module(product), kind_module(product)),
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
            metadata=_metadata(product, home, found.snapshot_id, manifests),
        )

    return candidates


def _metadata(
    product: ModelProduct, home: Home, snapshot_id: str, manifests: list[Candidate]
) -> dict[str, Any]:
    from stores.reports import training_plot

    metadata: dict[str, Any] = {
        "candidates": table([_row(one) for one in manifests]),
        "snapshot": snapshot_id,
        "path": dg.MetadataValue.path(str(home.candidate(product, "-").parent)),
    }
    if curves := training_plot.of_candidates(manifests):
        metadata["training"] = picture(training_plot.training(curves, dpi=60), "training curves")
    return metadata


def _row(candidate: Candidate) -> dict[str, Any]:
    means = {f"cv {name}": round(_mean(folds), 4) for name, folds in candidate.cv.items()}
    made = ", ".join(candidate.after) or "the rows"
    return {
        "trial": candidate.trial,
        "candidate": candidate.candidate_id,
        "made from": f"{made}, in another form" if candidate.form else made,
        **means,
        "fit seconds": round(candidate.fit_seconds, 2),
    }


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
