"""8-bit graphs as TensorRT takes them.

CPUs are fast with unsigned activations, whose range need not have 0 in its middle; those are what model files have.
TensorRT takes zero points of 0 only, weights that a pair of operators rounds, and biases as they are added.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_UNSIGNED_LEVELS, _SIGNED_LEVELS = 255, 127
_FLOAT, _SYMMETRIC = "/float", "/symmetric"


def with_symmetric_activations(model: bytes) -> bytes:
    """The serialised 8-bit ONNX model with signed activations whose zero points are 0, weights and biases in FP32.

    A range keeps its farther end, so activations of only one sign have half of their levels left.

    Args:
        model: a serialised ONNX model whose scales and zero points are initializers, such as `with_fixed_sizes` gives
            for a file that `instance-seg export --int8` wrote.
    """
    proto = onnx.load_from_string(model)
    graph = proto.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    added: dict[str, NDArray] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            nodes.append(node)
            continue
        values, scale = constants.get(node.input[0]), constants[node.input[1]]
        zero_point = constants[node.input[2]]
        if values is None:
            name = f"{node.input[1]}/{node.input[2]}{_SYMMETRIC}"
            added[name], added[name + "/zero"] = _symmetric_scale(scale, zero_point), np.zeros(scale.shape, np.int8)
            nodes.append(helper.make_node(node.op_type, [node.input[0], name, name + "/zero"], node.output, node.name))
        elif values.dtype == np.int8:
            name = node.input[0] + _FLOAT
            added[name] = _dequantised(values, scale)
            # No node has the name of a constant: TensorRT makes a layer of each and wants their names to differ.
            rounded = name + "/8_bits"
            nodes += [
                helper.make_node("QuantizeLinear", [name, *node.input[1:]], [rounded], rounded, axis=0),
                helper.make_node("DequantizeLinear", [rounded, *node.input[1:]], node.output, node.name, axis=0),
            ]
        else:
            added[node.output[0]] = _dequantised(values, scale)
    used = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    tensors += [numpy_helper.from_array(value, name) for name, value in added.items()]
    for field, content in (("node", nodes), ("initializer", tensors), ("value_info", [])):
        graph.ClearField(field)
        getattr(graph, field).extend(content)
    result: bytes = proto.SerializeToString()
    return result


def _symmetric_scale(scale: NDArray[np.float32], zero_point: NDArray) -> NDArray[np.float32]:
    """The scale of a signed activation that reaches as far as an unsigned one."""
    steps = zero_point.astype(np.int64)
    return (scale * np.maximum(steps, _UNSIGNED_LEVELS - steps) / _SIGNED_LEVELS).astype(np.float32)


def _dequantised(values: NDArray, scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights or biases as they are used, with one scale for each output channel or one for all."""
    return (values * scale.reshape(scale.shape + (1,) * (values.ndim - scale.ndim))).astype(np.float32)
