"""A model file's graph as TensorRT takes it.

Model files are written for all runtimes, and are fastest on CPUs as they are. TensorRT's parser refuses some of what is
valid ONNX: bytes may feed a Cast and nothing else, ArgMax wants two axes, TopK gives 3,840 elements at most, and
suppression of boxes has no fixed number of rows. Rewriting that when an engine is built serves every file, those that
were exported before included; each result stays the same to the bit, but for rows behind what suppression leaves, which
no threshold takes for an object, and the order of numbers that are the lowest of their type.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.segmentation.model_file import is_in_8_bits
from instance_seg_ros.segmentation.runtimes.fixed_rows import with_fixed_rows
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.fixed_suppression import with_fixed_suppression
from instance_seg_ros.segmentation.runtimes.half_precision import HALF_TYPES, with_half_convolutions
from instance_seg_ros.segmentation.runtimes.symmetric_activations import with_symmetric_activations

_LARGEST_K = 3840
"""Of TensorRT's TopK, in each of its versions so far."""
_LOWEST_TWO: dict[int, tuple[float, float]] = {
    TensorProto.FLOAT: (-np.inf, float(np.finfo(np.float32).min)),
    TensorProto.FLOAT16: (-np.inf, float(np.finfo(np.float16).min)),
    TensorProto.INT32: (-(2**31), -(2**31) + 1),
    TensorProto.INT64: (-(2**63), -(2**63) + 1),
}
"""Of a type of elements: the lowest number, and the lowest but one."""


def graph_for_tensorrt(path: Path, input_shapes: Mapping[str, tuple[int, ...]], precision: str) -> bytes:
    """The serialised ONNX graph that an engine is built of.

    Args:
        path: of a model file.
        input_shapes: of every input, by name.
        precision: "fp16" and "bf16" compute the convolutions in these; around 8 bits, the types are those of the file.

    Raises:
        ModelError: the file was exported for other shapes, or FP16 cannot hold its weights.
    """
    model = in_accepted_form(with_fixed_rows(with_fixed_sizes(path, input_shapes)))
    if is_in_8_bits(path):
        return with_symmetric_activations(model)
    return with_half_convolutions(model, HALF_TYPES[precision]) if precision in HALF_TYPES else model


def in_accepted_form(model: bytes) -> bytes:
    """The serialised ONNX model without what TensorRT refuses; the model itself where it has none of that."""
    as_it_is = onnx.load_from_string(model)
    proto = with_fixed_suppression(as_it_is)
    changed = proto is not as_it_is
    changed |= _convert_bytes_first(proto.graph)
    changed |= _take_many_in_parts(proto)
    changed |= _give_argmax_two_axes(proto)
    if not changed:
        return model
    del proto.graph.value_info[:]  # of types that are no longer so
    content: bytes = proto.SerializeToString()
    return content


def _convert_bytes_first(graph: onnx.GraphProto) -> bool:
    """Converts inputs of bytes to float32, which holds each of them, before all that is done with them.

    What only moves elements, such as Gather, then moves floats, and the Cast that followed it has nothing left to do.
    """
    of_bytes = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8}
    wrongly_used = {name for node in graph.node if node.op_type != "Cast" for name in node.input if name in of_bytes}
    for name in sorted(wrongly_used):
        as_float = f"{name}/float"
        for node in graph.node:
            for position, source in enumerate(node.input):
                if source == name:
                    node.input[position] = as_float
        cast = helper.make_node("Cast", [name], [as_float], name=f"{name}/to_float", to=TensorProto.FLOAT)
        graph.node.insert(0, cast)
    return bool(wrongly_used)


def _take_many_in_parts(proto: onnx.ModelProto) -> bool:
    """Makes several of each TopK that gives too many largest elements: each looks at what those before it left.

    What is taken becomes the lowest number there is, before which everything else is raised a little above it, so that
    no place comes twice; values are looked up where they were. Of floating-point numbers and integers that TensorRT
    takes; a TopK of others stays as it is.
    """
    graph = proto.graph
    kinds = _kinds_of(proto)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.dims == [1]}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        count = 0
        if node.op_type == "TopK" and attributes.get("largest", 1) and node.input[1] in constants:
            count = int(constants[node.input[1]].item())
        if count <= _LARGEST_K:
            nodes.append(node)
            continue
        kind = kinds.get(node.input[0], TensorProto.UNDEFINED)
        if kind not in _LOWEST_TWO:
            nodes.append(node)
            continue
        axis = attributes.get("axis", -1)
        gone, lowest = _LOWEST_TWO[kind]
        floor, left, parts = f"{node.output[0]}/lowest", f"{node.output[0]}/above_lowest", []
        graph.initializer.append(helper.make_tensor(floor, kind, [1], [lowest]))
        nodes.append(helper.make_node("Less", [node.input[0], floor], [f"{left}/is_below"]))
        nodes.append(helper.make_node("Where", [f"{left}/is_below", floor, node.input[0]], [left]))
        for begin in range(0, count, _LARGEST_K):
            part = [f"{name}/from_{begin}" for name in node.output]
            size, taken = f"{part[1]}/count", f"{part[1]}/taken"
            length = np.array([min(_LARGEST_K, count - begin)])
            graph.initializer.append(numpy_helper.from_array(length, size))
            nodes.append(helper.make_node("TopK", [left, size], part, name=part[0], **attributes))
            parts.append(part)
            if begin + _LARGEST_K < count:
                value = helper.make_tensor("gone", kind, [1], [gone])
                nodes += [
                    helper.make_node("Shape", [part[1]], [f"{taken}/shape"]),
                    helper.make_node("ConstantOfShape", [f"{taken}/shape"], [taken], value=value),
                    helper.make_node("ScatterElements", [left, part[1], taken], [f"{taken}/left"], axis=axis),
                ]
                left = f"{taken}/left"
        values, places = node.output
        nodes.append(helper.make_node("Concat", [part[1] for part in parts], [places], name=places, axis=axis))
        nodes.append(helper.make_node("GatherElements", [node.input[0], places], [values], name=values, axis=axis))
    changed = len(nodes) != len(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


def _kinds_of(proto: onnx.ModelProto) -> dict[str, int]:
    """The types of elements by name, as far as they are known."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    return {value.name: value.type.tensor_type.elem_type for value in values}


def _give_argmax_two_axes(proto: onnx.ModelProto) -> bool:
    """Makes rows of one of the vectors whose largest element is looked for."""
    graph = proto.graph
    if all(node.op_type != "ArgMax" for node in graph.node):
        return False
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    values = [*inferred.value_info, *inferred.input]
    vectors = {value.name for value in values if len(value.type.tensor_type.shape.dim) == 1}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "ArgMax" or node.input[0] not in vectors:
            nodes.append(node)
            continue
        (vector,), (index,) = node.input, node.output
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        first, row = f"{index}/first_axis", f"{index}/row"
        graph.initializer.append(numpy_helper.from_array(np.zeros(1, dtype=np.int64), first))
        nodes.append(helper.make_node("Unsqueeze", [vector, first], [row], name=row))
        keep = attributes.pop("keepdims", 1)
        one = index if keep else f"{index}/one"
        attributes |= {"axis": 1, "keepdims": 0}  # without its own axis, the row's is left
        nodes.append(helper.make_node("ArgMax", [row], [one], name=one, **attributes))
        if not keep:
            nodes.append(helper.make_node("Squeeze", [one, first], [index], name=index))
    changed = len(nodes) != len(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return changed
