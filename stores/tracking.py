"""MLflow: a run per trial, nested under its snapshot, and a registered version per release.

Only the client API is used: nothing global, so two products can be tracked side by side. MLflow
shows; the ledger decides (``stores.ledger``). A fit under way is shown by TensorBoard, where asked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from models.contracts.product import ModelProduct
from models.contracts.results import Candidate, Release, Scorecard, Snapshot
from stores.tensorboard import TensorBoardCurves

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, PREVIOUS = "champion", "previous"
_SERVER_SECONDS = 10.0


class TrackingError(Exception):
    """The tracking server does not answer; the message says what to do."""


class Tracking:
    """One MLflow store, given by its URI (``sqlite:///...`` or ``http://...``).

    Attributes:
        tensorboard: Folder of TensorBoard's files; None writes none.
    """

    def __init__(self, uri: str, artifacts: Path, tensorboard: Path | None = None) -> None:
        self.uri = uri
        self.artifacts = artifacts
        self.tensorboard = tensorboard

    @cached_property
    def client(self) -> MlflowClient:
        """The client; importing MLflow costs seconds, so it happens at first use.

        Raises:
            TrackingError: A server that does not answer: MLflow itself would try for minutes.
        """
        if self.uri.startswith("http"):
            _ask_server(self.uri)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def experiment(self, product: ModelProduct) -> str:
        """Experiment id of the product, made on first use."""
        found = self.client.get_experiment_by_name(product.key)
        if found:
            return str(found.experiment_id)
        folder = self.artifacts / product.slug
        folder.mkdir(parents=True, exist_ok=True)
        return str(self.client.create_experiment(product.key, folder.as_uri()))

    def snapshot_run(self, product: ModelProduct, snapshot: Snapshot) -> str:
        """The parent run of everything fitted on one snapshot."""
        experiment = self.experiment(product)
        found = self._find(
            experiment,
            f"tags.`assay.snapshot` = '{snapshot.snapshot_id}' AND tags.`assay.kind` = 'snapshot'",
        )
        if found:
            return found
        tags = {"assay.kind": "snapshot", "assay.snapshot": snapshot.snapshot_id}
        run = self.client.create_run(experiment, tags=tags, run_name=snapshot.snapshot_id)
        for name, value in snapshot.model_dump(mode="json", exclude={"columns", "files"}).items():
            self.client.log_param(run.info.run_id, name, str(value)[:500])
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def candidate_run(
        self, product: ModelProduct, snapshot: Snapshot, candidate: Candidate, folder: Path
    ) -> str:
        """Record a fitted trial: parameters, each fold's metrics, the sealed artifact.

        The same candidate is recorded once; a run cut short by a crash is recorded anew.
        """
        experiment = self.experiment(product)
        found = self._find(
            experiment,
            f"tags.`assay.candidate` = '{candidate.candidate_id}'"
            " AND attributes.status = 'FINISHED'",
        )
        if found:
            return found
        tags = {
            "assay.kind": "candidate",
            "assay.candidate": candidate.candidate_id,
            "assay.snapshot": snapshot.snapshot_id,
            "mlflow.parentRunId": self.snapshot_run(product, snapshot),
        }
        run_id = self.client.create_run(experiment, tags=tags, run_name=candidate.trial).info.run_id
        params = {"seed": candidate.seed, "columns": len(candidate.columns), **candidate.params}
        for name, value in params.items():
            self.client.log_param(run_id, name, value)
        for metric, folds in candidate.cv.items():
            for step, value in enumerate(folds):
                self.client.log_metric(run_id, f"cv_{metric}", value, step=step)
            self.client.log_metric(run_id, f"cv_{metric}_mean", sum(folds) / len(folds))
        for metric, curve in candidate.curves.items():
            for step, value in enumerate(curve):
                self.client.log_metric(run_id, metric, value, step=step)
        self.client.log_metric(run_id, "fit_seconds", candidate.fit_seconds)
        self.client.log_artifacts(run_id, str(folder), "model")
        self.client.set_terminated(run_id)
        return str(run_id)

    def live(
        self, product: ModelProduct, fit: str
    ) -> AbstractContextManager[Callable[[str, int, float], object]]:
        """A ``FitContext.curve`` that shows a fit while it lasts, below ``<tensorboard>/<slug>``.

        Raises:
            TensorBoardError: A folder is set and the package tensorboard is not installed.
        """
        if self.tensorboard is None:
            return nullcontext(lambda name, step, value: None)  # noqa: ARG005  tells nobody
        return TensorBoardCurves(self.tensorboard / product.slug / fit)

    def log_evaluation(
        self, run_id: str, scorecard: Scorecard, files: Sequence[Path], step: int
    ) -> None:
        """Put holdout metrics (with bounds) and the report's files beside the candidate's run."""
        for name, estimate in scorecard.metrics["overall"].items():
            for suffix, value in (
                ("", estimate.value),
                ("_low", estimate.low),
                ("_high", estimate.high),
            ):
                self.client.log_metric(run_id, f"holdout_{name}{suffix}", value, step=step)
        self.client.log_metric(run_id, "latency_p95_ms", scorecard.latency_p95_ms, step=step)
        self.client.log_metric(run_id, "size_bytes", scorecard.size_bytes, step=step)
        for file in files:
            self.client.log_artifact(run_id, str(file), "evaluation")

    def register(self, product: ModelProduct, run_id: str, tags: Mapping[str, str]) -> str:
        """Registered model version for a release; the same ``tags['version']`` only once."""
        from mlflow.exceptions import MlflowException

        name = product.slug
        try:
            self.client.create_registered_model(name, description=product.title)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        for version in self.client.search_model_versions(f"name = '{name}'"):
            if version.tags.get("version") == tags["version"]:
                return str(version.version)
        source = f"{self.client.get_run(run_id).info.artifact_uri}/model"
        made = self.client.create_model_version(name, source, run_id, tags=dict(tags))
        return str(made.version)

    def point_aliases(
        self, product: ModelProduct, current: Release | None, previous: Release | None
    ) -> None:
        """Make the aliases say what the ledger says; repeating it changes nothing."""
        for alias, release in ((CHAMPION, current), (PREVIOUS, previous)):
            if release is None:
                self.client.delete_registered_model_alias(product.slug, alias)
            else:
                self.client.set_registered_model_alias(product.slug, alias, release.mlflow_version)

    def log_performance(
        self, product: ModelProduct, mlflow_version: str, metrics: Mapping[str, float]
    ) -> None:
        """Realised metrics of a released version, as time-stamped metrics of its run."""
        version = self.client.get_model_version(product.slug, mlflow_version)
        for name, value in metrics.items():
            self.client.log_metric(version.run_id, f"realised_{name}", value, step=int(time.time()))

    def _find(self, experiment: str, filter_string: str) -> str | None:
        runs = self.client.search_runs([experiment], filter_string, max_results=1)
        return str(runs[0].info.run_id) if runs else None


def _ask_server(uri: str) -> None:
    import httpx

    try:
        httpx.get(f"{uri.rstrip('/')}/health", timeout=_SERVER_SECONDS).raise_for_status()
    except httpx.HTTPError as error:
        raise TrackingError(
            f"the tracking server {uri} does not answer ({error!r}); start it, or point "
            "ASSAY_MLFLOW_URI elsewhere, then run again: what is finished is not repeated"
        ) from error
