"""What the rankers that torch trains have in common: their parameters and their files.

Belongs here: dividing a trial's parameters, weights as arrays. Does not belong here: any model,
drawing samples (``sampling``), training (``models.core.trainer``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import nn

from models.contracts.learner import FitContext
from models.contracts.product import Trial
from models.core.trainer import config as trainer
from models.core.trainer.config import Params, TrainerConfig

Module = TypeVar("Module", bound=nn.Module)


def settings(model: type[Params], trial: Trial, **defaults: Any) -> tuple[Params, TrainerConfig]:
    """The model's own parameters and the trainer's, out of one trial.

    The precision is fp32 unless the trial says otherwise: little of these networks is a product of
    dense matrices, and sparse ones have none in bf16.

    Args:
        model: Parameters of the algorithm.
        trial: Its seed is the trainer's.
        defaults: Of the trainer, where the trial says nothing.

    Raises:
        pydantic.ValidationError: A name is neither's, or a value is not allowed.
    """
    return trainer.settings(model, trial, **{"precision": "fp32", **defaults})


def within(context: FitContext, part: str) -> FitContext:
    """The context of one of several trainings of a fit."""
    return context._replace(
        folder=context.folder / part if context.folder else None,
        say=lambda line: context.say(f"{part}: {line}"),
        curve=lambda name, step, value: context.curve(f"{part}/{name}", step, value),
    )


def arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Weights by name."""
    return {name: tensor.cpu().numpy() for name, tensor in module.state_dict().items()}


def restored(module: Module, saved: Mapping[str, NDArray[Any]]) -> Module:
    """The module with saved weights, ready to answer."""
    module.load_state_dict({name: torch.from_numpy(array) for name, array in saved.items()})
    return module.eval()
