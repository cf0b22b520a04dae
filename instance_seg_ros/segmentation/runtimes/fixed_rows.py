"""Mask R-CNN of torchvision with as many rows whatever it finds, for libraries that plan ahead.

Its exported graph drops rows (NonZero), takes what is left together (NonMaxSuppression), gives each row to one level of
the pyramid (NonZero and ScatterElements) and pastes masks one by one into the image (Loop). Here no row is dropped: one
that goes gets a score below all others, which suppression leaves out, and behind what it leaves come rows of zeros,
whose score of 0 is that of nothing. Each level answers for all rows, of which those of the level are taken. Masks are
given as their 28 x 28 cells, which are pasted where they are read (`families/torchvision_rcnn.py`).

Nothing is assumed of the network, but each of these steps must be found as the exporter writes it, or the graph is left
as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper

from instance_seg_ros.segmentation.runtimes.fixed_row_steps import DOMAIN, LARGEST_TABLE, OLDEST_OPSET, function
from instance_seg_ros.segmentation.runtimes.fixed_sizes import computed_ahead
from instance_seg_ros.segmentation.runtimes.fixed_suppression import inner_nodes

_SUPPRESSES = "NonMaxSuppression"
_MOVES = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_INDEX_MOVES = (*_MOVES, "Expand", "Split", "Transpose")
_BORDER = (0, 0, 1, 1, 0, 0, 1, 1)
"""Around a mask's cells, before it is pasted."""


def with_fixed_rows(model: bytes) -> bytes:
    """The serialised ONNX model without what gives any number of rows; the model itself where it is of another kind.

    Boxes, labels and scores are the graph's, those of nothing behind them; masks become (N, 1, 28, 28).

    Args:
        model: with fixed sizes of its inputs, its constants all initializers.
    """
    proto = onnx.load_from_string(model)
    opset = max((one.version for one in proto.opset_import if not one.domain), default=0)
    is_one = {"NonZero", "RoiAlign"} <= {node.op_type for node in proto.graph.node}
    if not is_one or opset < OLDEST_OPSET or not _keep_every_row(proto.graph):
        return model
    steps = ("EveryRow", "ScoreOrNone", "OfFirstLevel", "OfLevel")
    proto = _finished(proto, [function(name, opset) for name in steps])
    # With a fixed number of rows, whether there are any is no question: of the branches around a suppression one is
    # left. It fixes the number of rows of the next.
    while suppressions := [node for node in proto.graph.node if node.op_type == _SUPPRESSES]:
        rows = _suppress_by_table(proto.graph, suppressions[0])
        if rows is None or _may_look_at_too_few(proto, suppressions[0].input[1], rows):
            return model
        proto = _finished(proto, [function("RowOrZeros", opset), function("TableSuppression", opset, rows=rows)])
    samplings: list[onnx.FunctionProto] = []
    for node in proto.graph.node:
        if node.op_type == "RoiAlign":
            values = _sampling_of(node)
            if values is None:
                return model
            samplings.append(function("RoiAlign", opset, **values))
            samplings[-1].name += str(len(samplings))
            _call(samplings[-1].name, node, node.input[:2])
    if not _leave_masks_in_cells(proto.graph):
        return model
    content: bytes = _finished(proto, samplings).SerializeToString()
    return content


def _finished(proto: onnx.ModelProto, functions: Sequence[onnx.FunctionProto]) -> onnx.ModelProto:
    """With the functions in the places of their calls, and computed what is known then."""
    proto.functions.extend(functions)
    proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    inlined = inliner.inline_local_functions(proto)
    _remove_unused(inlined.graph)
    del inlined.graph.value_info[:]  # of numbers of rows that are known now
    return onnx.load_from_string(computed_ahead(inlined.SerializeToString()))


def _keep_every_row(graph: onnx.GraphProto) -> bool:
    """Makes every NonZero give all rows, marked where they were used; False if one is used in another way."""
    nodes = [one for node in graph.node for one in (node, *inner_nodes(node))]
    producers = {output: node for node in nodes for output in node.output}
    filters = {node.output[0]: node for node in nodes if node.op_type == "NonZero"}
    masks = {name: node.input[0] for name, node in filters.items()}
    if not all(_tells_rows_alone(name, nodes) for name in filters):
        return False
    marked = set()
    for node in nodes:
        if node.op_type == _SUPPRESSES:
            name = _source(node.input[1], producers, _MOVES)
            while name in producers and producers[name].op_type == "Gather":
                gather = producers[name]
                rows = _source(gather.input[1], producers, _INDEX_MOVES)
                if rows not in masks:
                    break
                marked.add(rows)
                name = _source(gather.input[0], producers, _MOVES)
                _call("ScoreOrNone", gather, [gather.input[0], masks[rows]])
        elif node.op_type == "ScatterElements":
            rows = _source(node.input[1], producers, _INDEX_MOVES)
            aligned = producers.get(_source(node.input[2], producers, _MOVES))
            if rows in masks and aligned is not None and aligned.op_type == "RoiAlign":
                marked.add(rows)
                base = producers.get(node.input[0])
                of_level = [masks[rows], node.input[2]]
                if base is not None and base.op_type == "ConstantOfShape":
                    _call("OfFirstLevel", node, of_level)
                else:
                    _call("OfLevel", node, [node.input[0], *of_level])
    for node in filters.values():
        _call("EveryRow", node, list(node.input))
    return marked == set(masks)


def _tells_rows_alone(name: str, nodes: Sequence[onnx.NodeProto]) -> bool:
    """Whether indices are used for nothing but taking rows, putting them back, and counting."""
    for node in nodes:
        if name not in node.input:
            continue
        if node.op_type in _INDEX_MOVES:
            if not all(_tells_rows_alone(output, nodes) for output in node.output):
                return False
        elif node.op_type != "Shape":
            takes = node.op_type in ("Gather", "ScatterElements") and node.input[1] == name != node.input[0]
            if not takes or _number_of(node, "axis", 0) != 0:
                return False
    return True


def _suppress_by_table(graph: onnx.GraphProto, node: onnx.NodeProto) -> int | None:
    """Calls the function for a suppression; with how many rows, None if its rows are used in another way."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    cut = _only_reader(graph, node.output[0])
    while cut is not None and cut.op_type in ("Gather", *_MOVES):
        cut = _only_reader(graph, cut.output[0])
    if cut is None or cut.op_type != "Slice" or len(node.input) != 4 or _number_of(node, "center_point_box", 0):
        return None
    boxes, scores, limit, iou_threshold = node.input
    begin, end, axis, *step = (constants.get(name, np.zeros(0)).tolist() for name in cut.input[1:])
    readers = [reader for reader in graph.node if cut.output[0] in reader.input]
    gathers = all(reader.op_type == "Gather" and _number_of(reader, "axis", 0) == 0 for reader in readers)
    rows = min([*end, *constants.get(limit, np.zeros(0)).tolist()], default=0)
    if not gathers or (begin, axis) != ([0], [0]) or step not in ([], [[1]]) or rows < 1:
        return None
    _call("TableSuppression", cut, [boxes, scores, iou_threshold])
    for reader in readers:
        _call("RowOrZeros", reader, list(reader.input))
    return int(rows)


def _may_look_at_too_few(proto: onnx.ModelProto, scores: str, rows: int) -> bool:
    """Whether the best of very many candidates may leave rows empty that others would fill, as of many proposals."""
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    sizes = {one.name: [side.dim_value for side in one.type.tensor_type.shape.dim] for one in inferred.value_info}
    count = int(np.prod(sizes.get(scores, [0])))
    return count == 0 or (count > LARGEST_TABLE and 10 * rows > LARGEST_TABLE)


def _sampling_of(node: onnx.NodeProto) -> dict[str, object] | None:
    """What the function for a RoiAlign needs to know; None if it samples in another way than torchvision's."""
    said = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    ratio = int(said.get("sampling_ratio", 0))
    way = said.get("coordinate_transformation_mode", b"half_pixel"), said.get("mode", b"avg")
    if ratio < 1 or way != (b"output_half_pixel", b"avg"):
        return None
    values: dict[str, object] = {"ratio": ratio, "scale": float(said.get("spatial_scale", 1.0))}
    for side, name in (("x", "output_width"), ("y", "output_height")):
        bins = int(said.get(name, 1))
        values |= {f"bins_{side}": bins, f"samples_{side}": bins * ratio}
    return values


def _leave_masks_in_cells(graph: onnx.GraphProto) -> bool:
    """Gives as masks what the loop that pastes them into the image begins with; False where there is none."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    for output in graph.output:
        loop = producers.get(_source(output.name, producers, _MOVES))
        if loop is None or loop.op_type != "Loop":
            continue
        taken = {name for inner in inner_nodes(loop) for name in inner.input}
        pads = [producers[name] for name in sorted(taken) if name in producers and producers[name].op_type == "Pad"]
        if len(pads) != 1 or constants.get(pads[0].input[1], np.zeros(0)).tolist() != list(_BORDER):
            return False
        last = producers[output.name]
        last.op_type, last.input[:] = "Identity", [pads[0].input[0]]
        del last.attribute[:]
        return True
    return False


def _remove_unused(graph: onnx.GraphProto) -> None:
    """Takes away what no output depends on."""
    needed = {output.name for output in graph.output}
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            needed.update(node.input)
            needed.update(name for inner in inner_nodes(node) for name in inner.input)
    used = [node for node in graph.node if not needed.isdisjoint(node.output)]
    del graph.node[:]
    graph.node.extend(used)


def _call(name: str, node: onnx.NodeProto, inputs: Sequence[str]) -> None:
    """Makes a call of a node that gives the same output."""
    node.op_type, node.domain = name, DOMAIN
    node.input[:] = inputs
    del node.attribute[:]


def _source(name: str, producers: Mapping[str, onnx.NodeProto], passed: Sequence[str]) -> str:
    """What a value is made of by nothing but these operators."""
    while name in producers and producers[name].op_type in passed:
        name = producers[name].input[0]
    return name


def _only_reader(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    """The node that reads a value; None unless it is one."""
    readers = [node for node in graph.node if name in node.input]
    return readers[0] if len(readers) == 1 else None


def _number_of(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute."""
    return int(helper.get_node_attr_value(node, name)) if name in {one.name for one in node.attribute} else default
