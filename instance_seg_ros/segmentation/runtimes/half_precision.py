"""Mixed precision: convolutions in 16 bits, everything that measures in FP32.

TensorRT and PyTorch compute in the types that the graph has. Here convolutions, and what only passes their results on,
become FP16 or BF16. The first convolution of each image stays as it is, since it reads metres and levels; so do the
depth channels before it, normalisation, sigmoids, the boxes, the dynamic mask heads and the suppression behind them.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.segmentation.model_file import ModelError

HALF_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
"""By the value of the setting `precision`."""

# Operators that may compute in 16 bits, with the inputs that carry numbers of the network.
_DATA_INPUTS = {"Conv": (0, 1, 2), "Relu": (0,), "Add": (0, 1), "Resize": (0,), "MaxPool": (0,)}
_SUFFIX = "/half"


def with_half_convolutions(model: bytes, element_type: int = TensorProto.FLOAT16) -> bytes:
    """The serialised ONNX model with its convolutions in 16 bits; inputs and outputs keep their types.

    Args:
        model: a serialised ONNX model whose weights are FP32 initializers, such as `with_fixed_sizes` gives.
        element_type: TensorProto.FLOAT16 gives standard ONNX with its weights in FP16. TensorProto.BFLOAT16, which
            NumPy lacks, and which ONNX's convolution only takes from opset 22 on, gives a graph that casts its FP32
            weights, for TensorRT, and for a runtime of ours that can tell (`torch_program`).

    Raises:
        ModelError: a weight exceeds FP16's range.
    """
    proto = onnx.load_from_string(model)
    graph = proto.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    halved = _halved_nodes(graph, weights)
    wanted_as_float = _wanted_as_float(graph, halved)

    nodes: list[onnx.NodeProto] = []
    halves: set[str] = set()
    for index, node in enumerate(graph.node):
        if index not in halved:
            nodes.append(node)
            continue
        for name in _data_inputs(node):
            if name in halves:
                continue
            halves.add(name)
            if name in weights and element_type == TensorProto.FLOAT16:
                graph.initializer.append(_as_half(weights[name], name + _SUFFIX))
            else:
                nodes.append(_cast(name, name + _SUFFIX, element_type))
        (output,) = node.output
        halves.add(output)
        nodes.append(_half_node(node))
        if output in wanted_as_float:
            nodes.append(_cast(output + _SUFFIX, output, TensorProto.FLOAT))

    used = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    initializers = [tensor for tensor in graph.initializer if tensor.name in used]
    for field, values in (("node", nodes), ("initializer", initializers), ("value_info", [])):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    content: bytes = proto.SerializeToString()
    return content


def _half_node(node: onnx.NodeProto) -> onnx.NodeProto:
    """The same node, between tensors in 16 bits."""
    half_node, data = onnx.NodeProto(), _data_inputs(node)
    half_node.CopyFrom(node)
    for position, name in enumerate(node.input):
        if name in data:
            half_node.input[position] = name + _SUFFIX
    half_node.output[0] += _SUFFIX
    return half_node


def _as_half(weight: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(weight)
    largest = np.abs(values).max(initial=0)
    if largest > np.finfo(np.float16).max:
        raise ModelError(f"the weight {weight.name} holds {largest:g}, which FP16 cannot; choose another precision")
    return numpy_helper.from_array(values.astype(np.float16), name)


def _data_inputs(node: onnx.NodeProto) -> list[str]:
    return [node.input[index] for index in _DATA_INPUTS[node.op_type] if index < len(node.input)]


def _halved_nodes(graph: onnx.GraphProto, weights: dict[str, onnx.TensorProto]) -> set[int]:
    """Nodes that will compute in 16 bits: convolutions of another one's results, and what lies only between them."""
    halved: set[int] = set()
    after_convolution: set[str] = set()
    in_half: set[str] = set()
    for index, node in enumerate(graph.node):
        if node.op_type == "Conv":
            is_half = node.input[0] in after_convolution
        elif node.op_type in _DATA_INPUTS:
            computed = [name for name in _data_inputs(node) if name not in weights]
            is_half = bool(computed) and in_half.issuperset(computed)
        else:
            is_half = False
        if is_half:
            halved.add(index)
            in_half.update(node.output)
        if node.op_type == "Conv" or not after_convolution.isdisjoint(node.input):
            after_convolution.update(node.output)
    return halved


def _wanted_as_float(graph: onnx.GraphProto, halved: set[int]) -> set[str]:
    wanted = {output.name for output in graph.output}
    for index, node in enumerate(graph.node):
        if index not in halved:
            wanted.update(node.input)
    return wanted


def _cast(source: str, target: str, element_type: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast to {target}", to=element_type)
