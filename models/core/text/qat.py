"""Training that feels INT8: every product is computed with the errors the served form will make.

Belongs here: what ONNX Runtime's dynamic quantisation does to numbers, in torch, with gradients.
Does not belong here: the quantiser itself (``onnx_export``), training (``transformer``).

Rounding has no useful gradient; it is taken for the identity (straight-through estimator, Bengio et
al. 2013), as in Jacob et al. 2018, section 3. No value is clipped: every range is that of the
numbers at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Steps of an unsigned byte; the largest signed one of a symmetric range of seven bits.
_STEPS, _LARGEST = 255.0, 64.0


def activations(x: Tensor) -> Tensor:
    """Numbers as ``DynamicQuantizeLinear`` keeps them, text by text.

    That is how INT8 is asked. Unsigned, one scale per text, a range that holds 0
    (https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html).

    Args:
        x: Shape (b, ...); a text's padding counts, so batches should hold texts of like length.
    """
    found = x.detach().flatten(1)
    shape = (-1, *[1] * (x.dim() - 1))
    return _unsigned(x, found.amin(1).view(shape), found.amax(1).view(shape))


def table(weight: Tensor) -> Tensor:
    """An embedding table as it is kept: unsigned, one scale for all of it."""
    return _unsigned(weight, *weight.detach().aminmax())


def weights(weight: Tensor) -> Tensor:
    """Weights (out, in) as they are kept: signed, symmetric, one scale per output."""
    scale = weight.detach().abs().amax(1, keepdim=True) / _LARGEST
    scale = torch.where(scale > 0, scale, 1.0)
    return _through(weight, torch.round(weight.detach() / scale) * scale)


@contextmanager
def felt(module: nn.Module) -> Iterator[None]:
    """Within the block the module computes as its INT8 form; its weights stay what they are.

    A layer only changes its class, as under ``torch.nn.utils.parametrize``: names and weights, and
    with them checkpoints, are those of the module.
    """
    changed = [(layer, type(layer)) for layer in module.modules() if type(layer) in _FELT]
    for layer, kind in changed:
        layer.__class__ = _FELT[kind]
    try:
        yield
    finally:
        for layer, kind in changed:
            layer.__class__ = kind


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(activations(input), weights(self.weight), self.bias)


class _Embedding(nn.Embedding):
    def forward(self, input: Tensor) -> Tensor:
        return functional.embedding(input, table(self.weight), self.padding_idx)


_FELT: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: _Linear, nn.Embedding: _Embedding}


def _unsigned(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = (high - low) / _STEPS
    scale = torch.where(scale > 0, scale, 1.0)  # all zero
    zero = torch.round(-low / scale)
    steps = (torch.round(x.detach() / scale) + zero).clamp(0.0, _STEPS)
    return _through(x, (steps - zero) * scale)


def _through(x: Tensor, kept: Tensor) -> Tensor:
    return x + (kept - x).detach()
