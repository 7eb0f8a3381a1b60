"""What the trainer may be told.

Belongs here: the settings and how they are read out of a trial. Does not belong here: torch, what a
product's own model needs to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import Field, JsonValue

from models.contracts.base import Frozen
from models.contracts.product import Trial

Params = TypeVar("Params", bound=Frozen)


class TrainerConfig(Frozen):
    """How to train. The defaults are those of fine-tuning a small transformer.

    Attributes:
        max_epochs: Passes over the training rows, if early stopping does not end them.
        batch_size: Rows of one batch; the task makes the batches, the trainer counts rows by it.
        learning_rate: Of AdamW, at its highest.
        weight_decay: Of AdamW, decoupled; biases and norms are left out.
        schedule: ``plateau`` lowers the rate when validation stops improving, ``cosine`` lowers it
            to zero over all epochs, ``constant`` does not.
        warmup: Share of all steps in which the cosine rises from zero first.
        plateau_factor: What a plateau multiplies the rate by.
        plateau_patience: Epochs without improvement before it does.
        patience: Epochs without improvement before training stops.
        clip_norm: Largest norm of the gradient, over all weights; None clips nothing.
        accumulate: Batches whose gradients are averaged into one step.
        precision: ``auto`` is bf16 where the device computes in it, else fp32.
        checkpoint_steps: Also write a checkpoint every so many steps; None: after each epoch only.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    max_epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    plateau_patience: int = Field(default=3, ge=0)
    patience: int = Field(default=10, ge=1)
    clip_norm: float | None = Field(default=1.0, gt=0)
    accumulate: int = Field(default=1, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = Field(default=0, ge=0)
    checkpoint_steps: int | None = Field(default=None, ge=1)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")


def config_from(params: Mapping[str, JsonValue], **defaults: Any) -> TrainerConfig:
    """The trainer's settings among the parameters of a trial.

    Args:
        params: ``Trial.params``; names that are not the trainer's are left to the learner.
        defaults: What holds where the trial says nothing.

    Raises:
        pydantic.ValidationError: A setting has a value that is not allowed; it names both.
    """
    told = {name: value for name, value in params.items() if name in TrainerConfig.model_fields}
    return TrainerConfig(**{**defaults, **told})


def settings(kind: type[Params], trial: Trial, **defaults: Any) -> tuple[Params, TrainerConfig]:
    """A trial's params, divided into a model's own and the trainer's.

    Args:
        kind: Type of the model's own.
        trial: The trial; its seed is the trainer's.
        **defaults: Trainer settings that hold where the trial says nothing.

    Raises:
        pydantic.ValidationError: A name that neither has, or a value that is not allowed.
    """
    own = {n: v for n, v in trial.params.items() if n not in TrainerConfig.model_fields}
    config = config_from(trial.params, **{"seed": trial.seed, **defaults})
    return kind.model_validate(own), config
