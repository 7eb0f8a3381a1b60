"""From a module of torch to an ONNX graph, and to INT8.

Belongs here: the exporter's and the quantiser's settings. Does not belong here: running a graph and
comparing it (``onnx_form``).
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # public by its docs

from models.core.text.encoding import Encoding
from models.core.text.onnx_form import INPUTS, OUTPUT

#: The newest that the exporter by tracing (``dynamo=False``) and ONNX Runtime both know well.
OPSET = 17
#: What the exporter announces of itself: that it is the old one, and that negative indices would be
#: wrong (attention masks have none; every export is compared with its original).
_KNOWN = (
    "You are using the legacy TorchScript",
    "The feature will be removed",
    "Exporting aten::index operator",
)


def graph_of(module: nn.Module) -> bytes:
    """The module as an ONNX graph over any number of texts of any length.

    By the exporter that traces: the newer one takes seven times longer and another package.

    Args:
        module: Tokens and mask of shape (b, s) to outputs of shape (b, k), in eval mode.
    """
    example = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 0]]), torch.tensor([[1] * 4, [1, 1, 1, 0]])
    axes = {name: {0: "texts", 1: "tokens"} for name in INPUTS}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        file = Path(folder) / "graph.onnx"
        for told in _KNOWN:
            warnings.filterwarnings("ignore", told)
        warnings.filterwarnings("ignore", category=TracerWarning)  # sizes are taken as they come
        torch.onnx.export(
            module,
            example,
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes={**axes, OUTPUT: {0: "texts"}},
        )
        return file.read_bytes()


def dynamic_int8(graph: bytes) -> bytes:
    """Weights as INT8 per channel, in seven bits; activations are scaled as they come.

    Seven, because a processor without VNNI adds two products in sixteen bits: of eight-bit weights
    they overflow there, and a model answers otherwise than where it was judged. See "reduce range"
    in https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
    """
    from onnxruntime.quantization import (  # type: ignore[import-untyped]  # ships no types
        QuantType,
        quantize_dynamic,
    )

    return _through_files(
        graph,
        lambda source, target: quantize_dynamic(
            source, target, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True
        ),
    )


def static_int8(graph: bytes, encoding: Encoding, texts: Sequence[str]) -> bytes:
    """Weights as in `dynamic_int8`; activations in the scales they have on ``texts``.

    Only products with a constant matrix are quantised: scores and shares of attention need their
    range, and are small.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    return _through_files(
        graph,
        lambda source, target: quantize_static(
            source,
            target,
            _Reader(encoding, texts),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        ),
    )


class _Reader:
    """Feeds calibration texts one by one."""

    def __init__(self, encoding: Encoding, texts: Sequence[str]) -> None:
        self._batches = iter([encoding.pad_together([row]) for row in encoding.encode(texts)])

    def get_next(self) -> dict[str, Any] | None:
        """The next inputs; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else dict(zip(INPUTS, batch, strict=True))


def _through_files(graph: bytes, convert: Callable[[Path, Path], Any]) -> bytes:
    """The quantisers read and write files, and warn through the root logger."""
    quiet = logging.getLogger()
    before = quiet.level
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        source.write_bytes(graph)
        quiet.setLevel(logging.ERROR)
        try:
            convert(source, target)
        finally:
            quiet.setLevel(before)
        return target.read_bytes()
