"""Everything a training needs to go on exactly where it was, and how it becomes a checkpoint.

Belongs here: packing and unpacking module, optimizer, schedule, progress; whether a checkpoint is
of this training. Does not belong here: files (``checkpoint``), training (``loop``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from models.core.trainer.checkpoint import Checkpoint
from models.core.trainer.config import TrainerConfig
from models.core.trainer.schedules import Schedule

Json = dict[str, Any]


@dataclass
class Progress:
    """How far a training is; all numbers, so that it is JSON.

    Attributes:
        epoch: Whole epochs done.
        step: Optimizer steps done in the present epoch.
        loss_sum: Over the batches of the present epoch.
        best_epoch: Counted from 1; 0 before the first validation.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_epoch: int = 0
    best_value: float = -float("inf")
    train_loss: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def stalled(self) -> int:
        """Epochs since the best one."""
        return self.epoch - self.best_epoch


def identity(config: TrainerConfig, module: nn.Module, batches: int, processes: int) -> Json:
    """What must be equal for a checkpoint to go on in this training."""
    shapes = {
        name: [str(tensor.dtype), *tensor.shape] for name, tensor in module.state_dict().items()
    }
    settings = config.model_dump(exclude={"checkpoint_steps"})
    return {
        "config": settings, "shapes": shapes, "batches": batches, "processes": processes,
    }  # fmt: skip


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Words for what differs between two identities, or None."""
    for part, value in wanted.items():
        other = found.get(part)
        if other == value:
            continue
        if isinstance(value, dict) and isinstance(other, dict):
            names = sorted({*value, *other})
            name = next(n for n in names if value.get(n) != other.get(n))
            return f"{part}: {name} was {other.get(name)}, is {value.get(name)}"
        return f"{part}: was {other}, is {value}"
    return None


def pack(module: nn.Module, adam: Optimizer, schedule: Schedule, progress: Progress) -> Checkpoint:
    """The tensors and numbers of a training, without its random numbers."""
    held = adam.state_dict()
    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    for number, slots in held["state"].items():
        tensors |= {f"optimizer.{number}.{slot}": tensor for slot, tensor in slots.items()}
    scalars = {
        "progress": asdict(progress),
        "rates": [group["lr"] for group in held["param_groups"]],
        "schedule": {k: v for k, v in schedule.state_dict().items() if k != "lr_lambdas"},
    }
    return Checkpoint(tensors, scalars)


def unpack(saved: Checkpoint, module: nn.Module, adam: Optimizer, schedule: Schedule) -> Progress:
    """Put a training where it was when ``pack`` was called."""
    module.load_state_dict(under(saved.tensors, "module."))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in under(saved.tensors, "optimizer.").items():
        number, slot = name.split(".")
        slots.setdefault(int(number), {})[slot] = tensor
    groups = adam.state_dict()["param_groups"]
    for group, rate in zip(groups, saved.scalars["rates"], strict=True):
        group["lr"] = rate
    adam.load_state_dict({"state": slots, "param_groups": groups})
    schedule.load_state_dict({"lr_lambdas": [None] * len(groups), **saved.scalars["schedule"]})
    return Progress(**saved.scalars["progress"])


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
