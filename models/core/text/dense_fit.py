"""Fitting a small network on embeddings: one head of an ensemble.

Belongs here: its task for the trainer. Does not belong here: the embeddings, what the head is
(``heads``), the loop (``models.core.trainer``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from models.contracts.learner import FitContext, Matrix
from models.core.text.encoding import Floats
from models.core.text.heads import Dense
from models.core.trainer import losses
from models.core.trainer.config import TrainerConfig
from models.core.trainer.loop import train

#: Of the hidden layer, while fitting.
DROPOUT = 0.2

Rows = tuple[Tensor, Tensor]


class DenseTask:
    """A `models.core.trainer.loop.Task` over embeddings.

    Args:
        module: Embeddings (b, d) to log-odds (b, t).
        part: Embeddings (n, d) and labels (n, t) to fit on.
        held: The same of the texts that stop it.
        batch_size: Rows of a batch.
    """

    def __init__(self, module: nn.Module, part: Rows, held: Rows, batch_size: int) -> None:
        self.module, self._part, self._held, self._size = module, part, held, batch_size

    def batch_count(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self._part[0]) / self._size)

    def batches(self, generator: torch.Generator) -> Iterator[Rows]:
        """One epoch in random order."""
        order = torch.randperm(len(self._part[0]), generator=generator)
        for start in range(0, len(order), self._size):
            rows = order[start : start + self._size]
            yield self._part[0][rows], self._part[1][rows]

    def loss(self, batch: Rows) -> Tensor:
        """Mean cross-entropy of the known labels."""
        return losses.masked_bce(self.module(batch[0]), batch[1])

    def validate(self) -> float:
        """Minus the cross-entropy of the held-out texts."""
        device = next(self.module.parameters()).device
        inputs, labels = (tensor.to(device) for tensor in self._held)
        return -float(losses.masked_bce(self.module(inputs), labels))


def fit_dense(
    part: tuple[Floats, Matrix],
    held: tuple[Floats, Matrix],
    hidden: int,
    config: TrainerConfig,
    context: FitContext,
) -> Dense:
    """Fit a small network on embeddings.

    Args:
        part: Embeddings (n, d) and labels (n, t) to fit on, NaN where nobody said.
        held: The same of the texts that stop it.
        hidden: Width of its hidden layer.
        config: The trainer's.
        context: As the trainer takes it.
    """
    width, outputs = part[0].shape[1], part[1].shape[1]
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        module = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(hidden, outputs)
        )
    train(DenseTask(module, _tensors(part), _tensors(held), config.batch_size), config, context)
    weights = [value.detach().cpu().numpy() for value in module.parameters()]
    return Dense(weights[0].T.copy(), weights[1], weights[2].T.copy(), weights[3])


def _tensors(rows: tuple[Floats, Matrix]) -> Rows:
    return torch.from_numpy(rows[0]), torch.from_numpy(rows[1].astype(np.float32))
