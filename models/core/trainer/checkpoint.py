"""Files of a training run that can go on after a kill at any moment.

``state.safetensors`` holds everything but the best weights; its numbers are JSON in the header of
the same file, so that one rename replaces both. ``best-<epoch>.safetensors`` is written before the
state that names it and removed after a state that names another: whatever moment a kill hits, the
state on disk is whole and so is the file it names.

Belongs here: writing, reading and tidying these files. Does not belong here: what is in them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

STATE = "state.safetensors"
REFUSED = "refused.safetensors"
_PART = ".part"
_SCALARS = "scalars"


class CheckpointError(Exception):
    """A checkpoint cannot be read; the message says what to do."""


class Checkpoint(NamedTuple):
    """Tensors by name, and everything that is not a tensor as JSON."""

    tensors: dict[str, Tensor]
    scalars: dict[str, Any]


def best_name(epoch: int) -> str:
    """File of the best weights, found in epoch ``epoch``."""
    return f"best-{epoch}.safetensors"


def write(path: Path, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    """Write aside, make it durable, then rename: the old file is there until the new one is whole.

    Tensors are copied to the CPU one by one; tied weights are written twice.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + _PART)
    own = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    save_file(own, part, metadata={_SCALARS: json.dumps(scalars)})
    _durable(part)
    os.replace(part, path)  # noqa: PTH105 - the tests kill here
    _durable(path.parent)


def read(path: Path) -> Checkpoint:
    """What ``write`` wrote.

    Raises:
        CheckpointError: The file is missing, torn or not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Checkpoint(tensors, json.loads((file.metadata() or {})[_SCALARS]))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} is not a whole checkpoint ({error}); delete {path.parent} to start over"
        ) from error


def set_aside(folder: Path) -> None:
    """Keep a state that does not fit under another name, where nothing resumes from it."""
    os.replace(folder / STATE, folder / REFUSED)  # noqa: PTH105


def tidy(folder: Path, keep: str | None) -> None:
    """Remove best weights that no state names any more, and what a kill left half written."""
    for path in [*folder.glob("best-*.safetensors"), *folder.glob(f"*{_PART}")]:
        if path.name != keep:
            path.unlink(missing_ok=True)


def _durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
