"""What every service does with its model: verify, load, warm up, answer.

Knows no HTTP and no BentoML; a service module adds those. Nothing here is specific to one product.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from models import registry
from models.contracts.api import Prediction, PredictResponse, RiskLevel
from models.contracts.learner import Matrix, Predictor
from models.contracts.product import ModelProduct
from models.contracts.results import Candidate

PUBLIC_KEY = "ASSAY_PUBLIC_KEY"
READY = "ASSAY_READY"

#: Subfolder of a stored model that holds the sealed artifact, apart from BentoML's own files.
ARTIFACT = "artifact"


class StartError(Exception):
    """The service must not start; the message says why and what to do."""


@dataclass(frozen=True)
class Runtime:
    """A verified model, ready to answer."""

    product: ModelProduct
    candidate: Candidate
    predictor: Predictor
    version: str

    def health(self) -> dict[str, str]:
        """Which model is loaded, for people and for the roll-out."""
        return {
            "status": "ok",
            "product": self.product.key,
            "model_version": self.version,
            "candidate_id": self.candidate.candidate_id,
            "trial": self.candidate.trial,
        }

    @cached_property
    def tenants(self) -> frozenset[str]:
        """Tenants the model was trained for."""
        return frozenset(self.candidate.tenants)

    def unknown_tenants(self, rows: Sequence[Any]) -> list[int]:
        """Positions of the rows whose tenant the model was not trained for."""
        return [position for position, row in enumerate(rows) if row.tenant not in self.tenants]

    def answer(self, inputs: Matrix) -> PredictResponse:
        """Predict rows of known tenants.

        Args:
            inputs: Shape (n, d) in the product's column order; NaN for null.

        Returns:
            One prediction per row, in order.

        Raises:
            ArithmeticError: The model gave something else than probabilities: a fault of ours,
                which must not look like one of the request.
        """
        scores = self.predictor.predict(inputs).tolist()
        if not all(0.0 <= score <= 1.0 for score in scores):
            raise ArithmeticError(f"{self.version} gave {scores}, not probabilities")
        return PredictResponse(predictions=[self._prediction(score) for score in scores])

    def _prediction(self, probability: float) -> Prediction:
        return Prediction(
            prediction_id=str(uuid.uuid4()),
            probability=probability,
            risk_level=risk_level(probability, self.candidate.threshold),
            confidence=max(probability, 1.0 - probability),
            model_version=self.version,
        )


def risk_level(probability: float, threshold: float) -> RiskLevel:
    """``high`` where the model decides "yes", ``medium`` from half of that on, else ``low``."""
    if probability >= threshold:
        return "high"
    return "medium" if probability >= threshold / 2 else "low"


def verify(product: ModelProduct, folder: Path) -> Candidate:
    """Prove that an artifact may be served, without loading it.

    Args:
        product: The product it must belong to.
        folder: Artifact folder, as sealed by ``models.core.artifact``.

    Raises:
        StartError: No public key, an artifact that does not verify, or one of another product or
            other columns.
    """
    from models.core import artifact

    try:
        return _fitting(product, artifact.verify(folder, public_key()))
    except artifact.ArtifactError as error:
        raise StartError(str(error)) from error


def load(product: ModelProduct, folder: Path, version: str) -> Runtime:
    """Verify an artifact, load it and predict once so that the first request is not slow.

    Args:
        product: See `verify`.
        folder: See `verify`.
        version: Release version to answer with.

    Raises:
        StartError: See `verify`; or the learner refuses the files.
    """
    from models.core import artifact

    try:
        candidate, predictor = artifact.load(folder, public_key(), registry.load_learner(product))
    except artifact.ArtifactError as error:
        raise StartError(str(error)) from error
    predictor.predict(np.zeros((1, len(product.data.columns))))
    return Runtime(product, _fitting(product, candidate), predictor, version)


def _fitting(product: ModelProduct, candidate: Candidate) -> Candidate:
    if candidate.product != product.key:
        raise StartError(f"this is a model of {candidate.product}, not of {product.key}")
    if candidate.columns != product.data.names:
        raise StartError(
            f"the model was fitted on other columns than {product.key} has in this code; "
            "fit and release it again"
        )
    return candidate


def public_key() -> Path:
    """Where the key that artifacts must verify against lies.

    Raises:
        StartError: The variable is not set or names no file.
    """
    name = os.environ.get(PUBLIC_KEY, "")
    if not name or not Path(name).is_file():
        raise StartError(
            f"{PUBLIC_KEY} is {name!r}, no file; set it to the public key the models are signed"
            " with: an unverified model is never served"
        )
    return Path(name)


def resources(gpus: int) -> dict[str, int]:
    """BentoML's resources for a service that would like GPUs and can do without.

    BentoML itself does not refuse a GPU that is not there: it would hide the CPU path behind a
    CUDA device that does not exist.

    Args:
        gpus: Wanted number.

    Returns:
        ``{"gpu": n}`` with no more than the machine has, or nothing for the CPU.
    """
    usable = min(gpus, gpu_count()) if gpus else 0
    return {"gpu": usable} if usable else {}


def gpu_count() -> int:
    """NVIDIA GPUs of this machine; 0 without a driver."""
    import pynvml  # type: ignore[import-untyped]  # comes with BentoML, without types

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()


def announce_ready() -> None:
    """Tell whoever started this service, if it asked to be told, by making the file it named."""
    if name := os.environ.get(READY):
        Path(name).touch()
