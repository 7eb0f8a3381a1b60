"""What every service does with its model: verify, load, bound its threads, say it is ready.

Knows no HTTP and no BentoML (``serving`` adds those) and no contract: what is asked and answered is
in the ``answers`` module of each. Nothing here is specific to one product.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gateway.errors import StartError
from models import registry
from models.contracts.product import ModelProduct
from models.contracts.results import Candidate

PUBLIC_KEY = "ASSAY_PUBLIC_KEY"
READY = "ASSAY_READY"
THREADS = "ASSAY_THREADS"

#: Subfolder of a stored model that holds the sealed artifact, apart from BentoML's own files.
ARTIFACT = "artifact"
#: Beside it the simpler model that answers when that one cannot; see ``gateway.ports.BASELINE``.
SPARE = "baseline"


@dataclass(frozen=True)
class Runtime:
    """A verified model, ready to answer."""

    product: ModelProduct
    candidate: Candidate
    predictor: Any
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
    """Verify an artifact and load it.

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


def bound_threads() -> None:
    """Let every call of a model compute on one thread.

    To be called before the model's libraries are imported: torch, tokenizers and ONNX sessions read
    the variables, what is loaded already is told. A service asks its model from several threads
    (see ``ASSAY_THREADS``): each of them on several more would take the processor from each other.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # else all lanes wait for one thread of rayon
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else waiting threads take whole cores
    threadpool_limits(1)


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


def workers(gpus: int) -> int:
    """Processes of a service: one for each GPU it gets, one without."""
    return resources(gpus).get("gpu", 1)


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


def announce_ready(index: int = 0, of: int = 1) -> None:
    """Tell whoever started this service, if it asked to be told, by making the file it named.

    Args:
        index: Of this worker, from 0.
        of: Workers; the last one that is ready tells.
    """
    if name := os.environ.get(READY):
        Path(f"{name}.{index}").touch()
        if all(Path(f"{name}.{other}").exists() for other in range(of)):
            Path(name).touch()
