"""INT8 whose activation scales are constants, so that texts may be asked together.

Belongs here: turning the graph of ``onnx_export.dynamic_int8`` into one without scales of its own
making. Does not belong here: exporting, running (``onnx_form``).

Dynamic INT8 takes one scale per tensor of a batch: what a text is answered depends on the others,
so it is asked alone, and a batch gains nothing. Here each scale is fixed on calibration texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.contracts.learner import Vector
from models.core.text.encoding import Encoding
from models.core.text.onnx_form import INPUTS

#: Of each text's extremes, so that one strange text does not coarsen the steps of all.
QUANTILE = 0.99
_STEPS = 255.0
_DYNAMIC, _PRODUCT = "DynamicQuantizeLinear", "MatMulInteger"
_RUNTIMES_OWN = "com.microsoft"


class PatternError(Exception):
    """A graph that the quantiser did not write as expected; nothing is made of it."""


class Range(NamedTuple):
    """What an activation holds; 0 is always in it, as its byte must be exact (padding)."""

    low: float
    high: float

    @classmethod
    def of(cls, lows: Vector, highs: Vector) -> Range:
        """Of the extremes of each text, shape (n,)."""
        low, high = np.quantile(lows, 1.0 - QUANTILE), np.quantile(highs, QUANTILE)
        return cls(min(float(low), 0.0), max(float(high), 0.0))

    def scale_and_zero(self) -> tuple[np.float32, np.uint8]:
        """Step of a byte, and the byte that stands for 0.

        As ``DynamicQuantizeLinear`` takes them
        (https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html).
        """
        step = np.float32((self.high - self.low) / _STEPS) or np.float32(1.0)  # all zero
        return step, np.uint8(np.clip(np.round(-self.low / step), 0, _STEPS))


def fixed_int8(graph: bytes, encoding: Encoding, texts: Sequence[str]) -> bytes:
    """The same INT8 graph with constant scales of activations.

    Args:
        graph: By ``onnx_export.dynamic_int8``.
        encoding: Of the network.
        texts: Calibration, at least one.

    Raises:
        PatternError: The quantiser wrote another graph than it did when this was written.
    """
    model = onnx.load_from_string(graph)
    _fix(model.graph, ranges(model, encoding, texts))
    _fuse(model.graph)
    model.opset_import.append(helper.make_opsetid(_RUNTIMES_OWN, 1))
    written: bytes = model.SerializeToString()
    return written


def ranges(model: Any, encoding: Encoding, texts: Sequence[str]) -> Mapping[str, Range]:
    """What every quantised activation holds, text by text, without the most extreme texts.

    Returns:
        By name of the activation.
    """
    import onnxruntime  # type: ignore[import-untyped]  # ships no types

    names = sorted({n.input[0] for n in model.graph.node if n.op_type == _DYNAMIC})
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    asked = [f"{name}:{kind}" for kind in ("Min", "Max") for name in names]
    for out in asked:
        name, _, kind = out.rpartition(":")
        watched.graph.node.append(helper.make_node(f"Reduce{kind}", [name], [out], keepdims=0))
        watched.graph.output.append(helper.make_tensor_value_info(out, onnx.TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = np.array([
        session.run(asked, dict(zip(INPUTS, encoding.pad_together([row]), strict=True)))
        for row in encoding.encode(texts)
    ]).reshape(len(texts), 2, len(names))  # fmt: skip
    return {name: Range.of(found[:, 0, i], found[:, 1, i]) for i, name in enumerate(names)}


def _fix(graph: Any, found: Mapping[str, Range]) -> None:
    """Constants in place of every scale that a batch would make."""
    nodes = []
    for node in graph.node:
        if node.op_type != _DYNAMIC:
            nodes.append(node)
            continue
        bytes_, *names = node.output
        values = found[node.input[0]].scale_and_zero()
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name)
            for value, name in zip(values, names, strict=True)
        )
        nodes.append(
            helper.make_node("QuantizeLinear", [node.input[0], *names], [bytes_], node.name)
        )
    _replace(graph, nodes)


def _fuse(graph: Any) -> None:
    """One operator per product: integers in, numbers out.

    ONNX Runtime does this itself for scales made by the batch, but not for constant ones; unfused,
    a text costs a tenth more.
    """
    made = {out: node for node in graph.node for out in node.output}
    asked: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            asked.setdefault(name, []).append(node)
    constants = {one.name: one.dims for one in graph.initializer}
    fused: dict[str, Any] = {}  # by the first output of what it replaces
    gone: set[str] = set()
    for product in graph.node:
        if product.op_type != _PRODUCT:
            continue
        cast = _only(asked, product, "Cast")
        scaled = _only(asked, cast, "Mul")
        (scales,) = [made[name] for name in scaled.input if name != cast.output[0]]
        if scales.op_type != "Mul":
            raise PatternError(f"the scales of {product.name} are a {scales.op_type}")
        steps = made[product.input[0]].input[1]
        (others,) = [name for name in scales.input if name != steps]
        left, right, left_zero, right_zero = product.input
        given = [left, right, steps, others, left_zero, right_zero]
        last = scaled
        if (bias := _bias(asked.get(scaled.output[0], []), constants)) is not None:
            last, name = bias
            given.append(name)
        fused[product.output[0]] = helper.make_node(
            "MatMulIntegerToFloat", given, [last.output[0]], product.name, domain=_RUNTIMES_OWN
        )
        gone |= {one.output[0] for one in (cast, scaled, scales, last)}
    kept = (node for node in graph.node if node.output[0] not in gone)
    _replace(graph, [fused.get(node.output[0], node) for node in kept])


def _only(asked: Mapping[str, list[Any]], node: Any, kind: str) -> Any:
    """The one node that takes what another gives."""
    users = asked.get(node.output[0], [])
    if [user.op_type for user in users] != [kind]:
        raise PatternError(
            f"{[user.op_type for user in users]} follow {node.name}, not one {kind}: "
            "this ONNX Runtime quantises otherwise; use precision int8, and report it"
        )
    return users[0]


def _bias(users: Sequence[Any], constants: Mapping[str, Any]) -> tuple[Any, str] | None:
    """The addition of a constant row to a product, and that row's name."""
    if len(users) != 1 or users[0].op_type != "Add":
        return None
    rows = [name for name in users[0].input if len(constants.get(name, ())) == 1]
    return (users[0], rows[0]) if rows else None


def _replace(graph: Any, nodes: Sequence[Any]) -> None:
    """Nodes of a graph, which keep the order in which they can be computed."""
    del graph.node[:]
    graph.node.extend(nodes)
