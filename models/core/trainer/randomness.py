"""Every generator of random numbers that training draws from, as tensors.

Belongs here: seeding, packing and restoring them. Does not belong here: files.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw everything inside from ``seed``, and leave the outside as it was.

    A learner also makes its module inside, so that the first weights are the same in every run.
    """
    before = packed()
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        restore(before)


def packed() -> dict[str, Tensor]:
    """The states of torch (with the current GPU), numpy and Python; the shapes never change."""
    state: Any = np.random.get_state(legacy=True)
    _, keys, position, has_gauss, gauss = state
    version, words, pending = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.append(keys.astype(np.int64), [position, has_gauss])),
        "python": torch.tensor([version, *words, pending is not None], dtype=torch.int64),
        "gauss": torch.tensor([gauss, pending or 0.0], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore(states: Mapping[str, Tensor]) -> None:
    """Go on drawing where ``packed`` was called."""
    torch.set_rng_state(states["torch"].cpu())
    gauss = states["gauss"].tolist()
    *keys, position, has_gauss = states["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, gauss[0]))
    version, *words, pending = states["python"].tolist()
    random.setstate((version, tuple(words), gauss[1] if pending else None))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())
