"""A small task for the trainer's tests; it draws from every generator there is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.core.trainer.randomness import seeded

ROWS, WIDTH = 40, 6


class Killed(BaseException):
    """Stands for a kill."""


class Regression:
    """A noisy line learned by a small network; the loss call ``kill_at`` is not survived."""

    def __init__(self, batch: int = 4, kill_at: int | None = None, dropout: float = 0.3) -> None:
        with seeded(1):
            self.module: nn.Module = nn.Sequential(
                nn.Linear(WIDTH, 8),
                nn.LayerNorm(8),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(8, 1),
            )
            self.inputs = torch.randn(ROWS, WIDTH)
            self.targets = self.inputs @ torch.arange(1.0, WIDTH + 1) / 3 + torch.randn(ROWS) / 9
        self.batch, self.kill_at, self.dropout = batch, kill_at, dropout
        self.calls = 0

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(ROWS, generator=generator)
        for rows in order.split(self.batch):
            inputs = self.inputs[rows]
            if self.dropout:
                inputs = inputs + torch.randn(inputs.shape, generator=generator) / 100
            yield inputs, self.targets[rows]

    def batch_count(self) -> int:
        return -(-ROWS // self.batch)

    def loss(self, batch: Any) -> Tensor:
        if self.calls == self.kill_at:
            raise Killed
        self.calls += 1
        inputs, targets = batch
        shake = 0.0
        if self.dropout:  # the global generators of all three libraries
            shake = random.random() / 100 + float(np.random.normal()) / 100
        return ((self.module(inputs)[:, 0] - targets + shake) ** 2).mean()

    def validate(self) -> float:
        return -float(((self.module(self.inputs)[:, 0] - self.targets) ** 2).mean())

    def weights(self) -> dict[str, Tensor]:
        return dict(self.module.state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@contextmanager
def one_thread() -> Iterator[None]:
    """Products this small take a hundred times as long on threads that others use, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
