"""The optimizer and how its learning rate moves.

Belongs here: parameter groups, warm-up, cosine, plateau. Does not belong here: when they step.
"""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from models.core.trainer.config import TrainerConfig

Schedule = LambdaLR | ReduceLROnPlateau


def optimizer(module: nn.Module, config: TrainerConfig) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019); vectors (biases, norms) do not decay."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    if not weights:
        raise ValueError("the module has no trainable weight; set requires_grad on some")
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    # fused: one pass over each table instead of several, most of an epoch of a factor model
    return AdamW([g for g in groups if g["params"]], lr=config.learning_rate, fused=True)


def schedule(adam: AdamW, config: TrainerConfig, steps: int) -> Schedule:
    """The schedule of the config over ``steps`` optimizer steps in all.

    A plateau is told the validation value after an epoch, the others step after each step.
    """
    if config.schedule == "plateau":
        return ReduceLROnPlateau(
            adam, mode="max", factor=config.plateau_factor, patience=config.plateau_patience,
            threshold=0.0, threshold_mode="abs",
        )  # fmt: skip
    if config.schedule == "constant":
        return LambdaLR(adam, lambda _: 1.0)
    warm = round(config.warmup * steps)
    return LambdaLR(adam, lambda step: cosine(step, steps, warm))


def cosine(step: int, steps: int, warm: int) -> float:
    """Share of the highest rate used by step ``step`` (from 0).

    It rises linearly over ``warm`` steps (the first is not zero, it would be wasted), then falls as
    half a cosine to 0 at ``steps`` (SGDR without restarts, Loshchilov & Hutter 2017).
    """
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))
