"""Several processes, one training: started by ``torchrun``, found by its environment variables.

    torchrun --nproc-per-node 4 your_training.py

Every process makes the same batches and takes its turn of them: one step averages the gradients of
``accumulate * processes`` batches, which is what one process does with ``accumulate`` times that.
All processes see the same folder; the first one writes.

Belongs here: the group of processes. Does not belong here: the training itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

#: The first process validates while the others wait.
_LONGEST_WAIT = timedelta(hours=2)


class _Losing(Protocol):
    @property
    def module(self) -> nn.Module: ...

    def loss(self, batch: Any) -> Tensor: ...


class World(NamedTuple):
    """This process among the others."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def total(self, *values: float) -> list[float]:
        """Sums over all processes."""
        if self.size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=_device(self))
        distributed.all_reduce(summed)
        return summed.tolist()

    def gather(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every process's tensors as ``<rank>.<name>``; names and shapes are the same in all."""
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            every = [tensor]
            if self.size > 1:
                own = tensor.to(_device(self))
                every = [torch.empty_like(own) for _ in range(self.size)]
                distributed.all_gather(every, own)
            found |= {f"{rank}.{name}": one.cpu() for rank, one in enumerate(every)}
        return found

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            distributed.barrier()


class LossModule(nn.Module):
    """The loss of a task as a module, so that data parallelism sees any forward a task makes."""

    def __init__(self, task: _Losing) -> None:
        super().__init__()
        self.module = task.module
        self._loss = task.loss

    def forward(self, batch: Any) -> Tensor:
        """Mean loss of the batch."""
        return self._loss(batch)


@contextmanager
def joined() -> Iterator[World]:
    """This process's world; joins and leaves the group of processes when ``torchrun`` made one."""
    rank, size, local = (int(os.environ.get(name, default)) for name, default in _NAMES)
    if size == 1:
        yield World()
        return
    world = World(rank, size, local)
    mine = not distributed.is_initialized()
    if mine:
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=_LONGEST_WAIT)
    try:
        yield world
    finally:
        if mine:
            distributed.destroy_process_group()


_NAMES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


def parallel(loss: LossModule, world: World) -> nn.Module:
    """The loss with gradients averaged over all processes."""
    if world.size == 1:
        return loss
    return DistributedDataParallel(loss, find_unused_parameters=True)


def quiet(loss: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Exchange gradients only in the last batch of a step."""
    if last or not isinstance(loss, DistributedDataParallel):
        return nullcontext()
    return loss.no_sync()


def _device(world: World) -> torch.device:
    nccl = distributed.get_backend() == "nccl"
    return torch.device("cuda", world.local_rank) if nccl else torch.device("cpu")
