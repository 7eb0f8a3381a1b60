"""Where and how precisely to compute.

Belongs here: choosing the device and the precision, moving a batch. Does not belong here: training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.core.trainer.config import TrainerConfig


def device_of(config: TrainerConfig, local_rank: int = 0) -> torch.device:
    """The device to compute on.

    Raises:
        ValueError: A GPU is asked for and none is there.
    """
    cuda = torch.cuda.is_available()
    if config.device.startswith("cuda") and not cuda:
        raise ValueError("device='cuda' and no GPU is visible; use device='auto' or 'cpu'")
    if config.device == "cpu" or not cuda:
        return torch.device("cpu")
    return torch.device(config.device if ":" in config.device else f"cuda:{local_rank}")


def half(config: TrainerConfig, device: torch.device) -> bool:
    """Whether matrix products are computed in bf16 (weights and their updates stay fp32)."""
    if config.precision != "auto":
        return config.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities()  # without these instructions bf16 is slower than fp32
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def moved(batch: Any, device: torch.device) -> Any:
    """A batch (tensors in tuples, lists, mappings, named tuples) on the device."""
    match batch:
        case Tensor():
            return batch.to(device, non_blocking=True)
        case dict():
            return {name: moved(value, device) for name, value in batch.items()}
        case tuple() if hasattr(batch, "_fields"):
            return type(batch)(*(moved(value, device) for value in batch))
        case tuple() | list():
            return type(batch)(moved(value, device) for value in batch)
        case _:
            return batch
