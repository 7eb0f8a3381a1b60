"""Sealed artifacts: a folder with a model, its manifest and a signature. Nothing else is loaded.

Belongs here: sealing a folder, verifying it, loading what was verified.
Does not belong here: how a model is saved (a learner), what a file may contain (``contents``),
keys (``signing``), where artifacts lie (``stores``).
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from models.contracts.learner import Learner
from models.contracts.results import Candidate
from models.core import contents, signing

MANIFEST = "manifest.json"
#: What decides the identity of a candidate; times and scores do not.
_IDENTITY = (
    "files", "product", "trial", "snapshot_id", "params", "columns", "seed", "learner",
    "code_version",
)  # fmt: skip

Fitted = TypeVar("Fitted")


class ArtifactError(Exception):
    """An artifact that must not be used; the message says why and what to do."""


def seal(folder: Path, *, private_key: Path, **fields: Any) -> Candidate:
    """Turn a folder that a predictor was saved into, into a signed artifact.

    Sealing the same files and fields again gives the same candidate id.

    Args:
        folder: Holds the saved model and nothing else.
        private_key: PEM file to sign with.
        **fields: The fields of ``Candidate`` but ``candidate_id`` and ``files``.

    Returns:
        The candidate, whose manifest and signature now lie in the folder.

    Raises:
        ArtifactError: A file of a kind that may not be in an artifact.
        pydantic.ValidationError: A field is missing, unknown or of the wrong type.
    """
    for name in (MANIFEST, signing.SIGNATURE):
        (folder / name).unlink(missing_ok=True)
    files = _digests(folder)
    if not files:
        raise ArtifactError(f"{folder} is empty; save the predictor into it before sealing")
    candidate = Candidate(candidate_id="", files=files, **fields)
    candidate = candidate.model_copy(update={"candidate_id": identity(candidate)})
    _write(folder / MANIFEST, candidate.model_dump_json(indent=1))
    signing.sign(folder, private_key)
    return candidate


def verify(folder: Path, public_key: Path) -> Candidate:
    """Prove that a folder is what was sealed, without loading anything from it.

    Args:
        folder: A sealed artifact.
        public_key: PEM file of the key it must be signed with.

    Returns:
        The candidate.

    Raises:
        ArtifactError: No such folder, a missing or foreign signature, a changed, added or missing
            file, a file of a forbidden kind (a pickle under any name, a link).
    """
    advice = "do not load it: fit the candidate again, or restore the folder from a backup"
    for name in (MANIFEST, signing.SIGNATURE):
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder} has no {name}, it was never sealed; {advice}")
    found = _digests(folder)  # first: a forbidden file is named as such, not as a mismatch
    try:
        signing.check_signature(folder, public_key)
        candidate = Candidate.model_validate_json((folder / MANIFEST).read_bytes())
    except signing.SignatureError as error:
        raise ArtifactError(f"{folder}: signature refused: {error}; {advice}") from error
    except ValidationError as error:
        raise ArtifactError(f"{folder / MANIFEST} is no manifest: {error}; {advice}") from error
    if found != candidate.files:
        wrong = sorted({name for name, _ in found.items() ^ candidate.files.items()})
        raise ArtifactError(f"{folder}: {wrong} differ from the manifest; {advice}")
    if candidate.candidate_id != identity(candidate):
        raise ArtifactError(f"{folder}: the candidate id is not that of its content; {advice}")
    return candidate


def load(folder: Path, public_key: Path, learner: Learner[Any, Fitted]) -> tuple[Candidate, Fitted]:
    """Verify a folder, then load it. The only way a model is loaded.

    Args:
        folder: A sealed artifact.
        public_key: PEM file of the key it must be signed with.
        learner: Learner of the candidate's product.

    Returns:
        The candidate and its predictor.

    Raises:
        ArtifactError: As ``verify``; or the learner refuses the files.
    """
    candidate = verify(folder, public_key)
    return candidate, learner.load(folder)


def identity(candidate: Candidate) -> str:
    """First 16 hex digits of the digest over what decides a candidate's identity."""
    content = candidate.model_dump(mode="json", include=set(_IDENTITY))
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _digests(folder: Path) -> dict[str, str]:
    """Digest of every file but manifest and signature, after a look into each."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ArtifactError(f"{path} is no plain file; an artifact holds only plain files")
        if path.is_dir():
            continue
        data = path.read_bytes()
        if reason := contents.refusal(path.name, data):
            raise ArtifactError(
                f"{path} {reason}; an artifact holds only {', '.join(sorted(contents.KINDS))}: "
                "save the model in one of these formats, and never load this file"
            )
        name = path.relative_to(folder).as_posix()
        if name not in (MANIFEST, signing.SIGNATURE):
            digests[name] = hashlib.sha256(data).hexdigest()
    return digests


def _write(path: Path, content: str) -> None:
    """Under a temporary name, then renamed: half a manifest never has the manifest's name."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(path)
