"""What the processor under the tests computes otherwise than others do."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime
from onnx import TensorProto, helper


@cache
def overflows(weight: int = 127) -> bool:
    """Whether two INT8 products overflow when they are added, as without VNNI they do.

    Args:
        weight: Of both products; activations are at their largest.
    """
    weights = np.full((4, 16), weight, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "w"], ["c"])],
        "overflow",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 4])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [1, 16])],
        [helper.make_tensor("w", TensorProto.INT8, [4, 16], weights.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"a": np.full((1, 4), 255, np.uint8)})
    return bool((found != 4 * 255 * weight).any())
