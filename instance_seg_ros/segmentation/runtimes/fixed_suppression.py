"""ONNX's NonMaxSuppression with as many rows whatever it finds, for libraries that plan ahead.

TensorRT for RTX has no implementation of it, and an engine whose outputs have no fixed sizes has no buffers. A loop of
standard operators takes the best candidate that is left of each class, round by round, which is greedy suppression as
it is defined.

The rows that are left over name a pair of class and box that was not chosen, the one with the lowest score, and what
reads the scores after the suppression finds -10,000 for it: no threshold takes that for an object. Such a pair is
always there, since there are no more rows than pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper, parser

from instance_seg_ros.segmentation.families.decoding import MAX_ROWS

OPERATOR, _DOMAIN = "NonMaxSuppression", "instance_seg_ros"
_OLDEST_OPSET = 11
"""Of the operators that are used, Range and the TopK of smallest elements came last."""

# Of C classes, N boxes and M rounds. All forms are the same from opset 11 on, so that it fits into any newer file.
_FUNCTION = """
<opset_import: ["" : {opset}], domain: "instance_seg_ros">
FixedSuppression{index} (boxes, scores, iou_threshold, score_threshold) => (kept, scores_after)
{{
    zero = Constant <value = int64 {{0}}> ()
    one = Constant <value = int64 {{1}}> ()
    two = Constant <value = int64 {{2}}> ()
    three = Constant <value = int64 {{3}}> ()
    single = Constant <value = int64[1] {{1}}> ()
    vector = Constant <value = int64[1] {{-1}}> ()
    column = Constant <value = int64[2] {{-1, 1}}> ()
    rounds = Constant <value = int64 {{{rounds}}}> ()
    table_rows = Constant <value = int64 {{{table_rows}}}> ()
    rows = Constant <value = int64[1] {{{rows}}}> ()
    gone = Constant <value = float {{{lowest}}}> ()
    never = Constant <value = float {{3.0e38}}> ()
    no_object = Constant <value = float {{-10000.0}}> ()
    yes = Constant <value = bool {{1}}> ()

    table = Gather <axis = 0> (scores, zero)
    shape = Shape (table)
    class_count = Gather <axis = 0> (shape, zero)
    box_count = Gather <axis = 0> (shape, one)
    classes = Range (zero, class_count, one)
    class_column = Reshape (classes, column)
    places = Range (zero, box_count, one)
    numbers = Range (zero, rounds, one)

    corners = Gather <axis = 0> (boxes, zero)
    a = Gather <axis = 1> (corners, zero)
    b = Gather <axis = 1> (corners, one)
    c = Gather <axis = 1> (corners, two)
    d = Gather <axis = 1> (corners, three)
    {sides}
    width = Sub (x1, x0)
    height = Sub (y1, y0)
    area = Mul (width, height)

    is_candidate = Greater (table, score_threshold)
    left_at_first = Where (is_candidate, table, gone)
    none = Greater (left_at_first, never)
    class_zeros = Mul (class_column, zero)
    row_zeros = Mul (numbers, zero)
    found_at_first = Add (class_zeros, row_zeros)
    zeros = Cast <to = 1> (found_at_first)
    best_at_first = Add (zeros, gone)
    last_left, chosen, best_scores, best_boxes = Loop <body = one_round (
        int64 number, bool going,
        float[C, N] left, bool[C, N] chosen_before, float[C, M] scores_before, int64[C, M] boxes_before
    ) => (
        bool goes_on,
        float[C, N] left_after, bool[C, N] chosen_after, float[C, M] scores_found, int64[C, M] boxes_found
    ) {{
        best, place = TopK <axis = 1, largest = 1, sorted = 1> (left, single)
        is_one = Greater (best, gone)
        best_x0 = Gather <axis = 0> (x0, place)
        best_y0 = Gather <axis = 0> (y0, place)
        best_x1 = Gather <axis = 0> (x1, place)
        best_y1 = Gather <axis = 0> (y1, place)
        best_area = Gather <axis = 0> (area, place)
        shared_x0 = Max (best_x0, x0)
        shared_y0 = Max (best_y0, y0)
        shared_x1 = Min (best_x1, x1)
        shared_y1 = Min (best_y1, y1)
        shared_width = Sub (shared_x1, shared_x0)
        shared_height = Sub (shared_y1, shared_y0)
        nothing = Sub (gone, gone)
        has_width = Greater (shared_width, nothing)
        has_height = Greater (shared_height, nothing)
        has_area = And (has_width, has_height)
        shared_area = Mul (shared_width, shared_height)
        areas = Add (best_area, area)
        union = Sub (areas, shared_area)
        iou = Div (shared_area, union)
        overlap = Greater (iou, iou_threshold)
        is_overlapped = And (overlap, has_area)
        is_best = Equal (places, place)
        goes = Or (is_overlapped, is_best)
        left_after = Where (goes, gone, left)
        is_chosen = And (is_best, is_one)
        chosen_after = Or (chosen_before, is_chosen)
        is_this_round = Equal (numbers, number)
        is_written = And (is_this_round, is_one)
        scores_found = Where (is_written, best, scores_before)
        boxes_found = Where (is_written, place, boxes_before)
        best_of_all = ReduceMax <keepdims = 0> (best)
        goes_on = Greater (best_of_all, gone)
    }}> (rounds, yes, left_at_first, none, best_at_first, found_at_first)

    all_scores = Reshape (best_scores, vector)
    all_boxes = Reshape (best_boxes, vector)
    top_scores, top_places = TopK <axis = 0, largest = 1, sorted = 1> (all_scores, rows)
    is_row = Greater (top_scores, gone)
    behind = Add (top_places, table_rows)
    order = Where (is_row, top_places, behind)
    order_as_float = Cast <to = 1> (order)
    ordered_as_float, unused_places = TopK <axis = 0, largest = 0, sorted = 1> (order_as_float, rows)
    ordered = Cast <to = 7> (ordered_as_float)
    is_used = Less (ordered, table_rows)
    row = Where (is_used, ordered, zero)
    row_class = Div (row, rounds)
    row_box = Gather <axis = 0> (all_boxes, row)

    free = Where (chosen, never, table)
    worst, worst_place = TopK <axis = 1, largest = 0, sorted = 1> (free, single)
    worst_of_all, empty_class = TopK <axis = 0, largest = 0, sorted = 1> (worst, single)
    worst_boxes = Reshape (worst_place, vector)
    empty_box = Gather <axis = 0> (worst_boxes, empty_class)
    is_free = Less (worst_of_all, never)
    is_class = Equal (class_column, empty_class)
    is_box = Equal (places, empty_box)
    is_pair = And (is_class, is_box)
    is_empty = And (is_pair, is_free)
    table_after = Where (is_empty, no_object, table)
    scores_shape = Shape (scores)
    scores_after = Reshape (table_after, scores_shape)

    used_column = Reshape (is_used, column)
    row_class_column = Reshape (row_class, column)
    row_box_column = Reshape (row_box, column)
    kept_class = Where (used_column, row_class_column, empty_class)
    kept_box = Where (used_column, row_box_column, empty_box)
    kept_batch = Mul (kept_class, zero)
    kept = Concat <axis = 1> (kept_batch, kept_class, kept_box)
}}
"""
_SIDES_OF_CORNERS = """
    y0 = Min (a, c)
    x0 = Min (b, d)
    y1 = Max (a, c)
    x1 = Max (b, d)"""
_SIDES_OF_CENTERS = """
    half = Constant <value = float {0.5}> ()
    half_width = Mul (c, half)
    half_height = Mul (d, half)
    x0 = Sub (a, half_width)
    y0 = Sub (b, half_height)
    x1 = Add (a, half_width)
    y1 = Add (b, half_height)"""
_LOWEST = -3.0e38
"""Below every score."""


def with_fixed_suppression(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every NonMaxSuppression that can be replaced in its place; the model itself where there is none.

    Its rows are the operator's best MAX_ROWS, in the operator's order, equal scores included. One is left as it is
    where the numbers of boxes and rows are not in the file, where there are several images, or where nothing after it
    reads the scores, be it in another order of axes, so that rows that are left over could not be told.

    Args:
        proto: an ONNX model with fixed sizes.
    """
    opset = max((one.version for one in proto.opset_import if not one.domain), default=0)
    outputs = [node.output[0] for node in proto.graph.node if node.op_type == OPERATOR]
    if not outputs or opset < _OLDEST_OPSET:
        return proto
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {
        value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
        for value in [*inferred.value_info, *inferred.input]
    }
    for output in outputs:
        _replace(changed, output, opset, shapes)
    if not changed.functions:
        return proto
    changed.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return inliner.inline_local_functions(changed)


def _replace(model: onnx.ModelProto, output: str, opset: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Calls the function in place of the node with this output; what reads the scores later reads the marked ones."""
    graph, index = model.graph, len(model.functions)
    needed = _needed_for(graph, output)
    before = [node for node in graph.node if needed.issuperset(node.output) and output not in node.output]
    (node,) = (node for node in graph.node if output in node.output)
    behind = [node for node in graph.node if not needed.issuperset(node.output)]
    boxes, scores, limit, iou_threshold, score_threshold = [*node.input, "", "", ""][:5]
    # The rows' scores may be read as the operator has them, and before they were transposed for it, as MMDeploy does.
    producers = {producer.output[0]: producer for producer in before}
    forms, permutations = [scores], []
    while (turn := producers.get(forms[-1])) is not None and turn.op_type == "Transpose" and turn.attribute:
        permutations.append(helper.get_node_attr_value(turn, "perm"))
        forms.append(turn.input[0])
    readers = {form: _readers(behind, form) for form in forms}
    # The shape is empty where inference cannot tell how many axes there are.
    images, classes, count = shapes.get(scores) or (0, 0, 0)
    per_class = _integer(graph, limit)
    if images != 1 or min(classes, count, per_class) < 1 or not any(readers.values()):
        return
    rounds = min(MAX_ROWS, per_class, count)
    centers = any(attribute.name == "center_point_box" and attribute.i for attribute in node.attribute)
    text = _FUNCTION.format(
        index=index,
        opset=opset,
        lowest=_LOWEST,
        rounds=rounds,
        table_rows=classes * rounds,
        rows=min(MAX_ROWS, classes * rounds, classes * count),
        sides=_SIDES_OF_CENTERS if centers else _SIDES_OF_CORNERS,
    )
    function = parser.parse_function(text)
    model.functions.append(function)
    marked = f"{output}/scores_after"
    inputs = [
        boxes,
        scores,
        iou_threshold or _added(graph, f"{output}/iou_threshold", 0.0),
        score_threshold or _added(graph, f"{output}/score_threshold", _LOWEST),
    ]
    calls = [helper.make_node(function.name, inputs, [output, marked], name=node.name, domain=_DOMAIN)]
    for form, permutation in zip(forms, [*permutations, None], strict=True):
        for reader in readers[form]:
            reader.input[:] = [marked if name == form else name for name in reader.input]
        if permutation is not None:
            back = f"{marked}/back"
            turn_back = np.argsort(permutation).tolist()
            calls.append(helper.make_node("Transpose", [marked], [back], name=back, perm=turn_back))
            marked = back
    nodes = [*before, *calls, *behind]  # in an order in which each has its inputs
    del graph.node[:]
    graph.node.extend(nodes)


def _readers(nodes: Sequence[onnx.NodeProto], name: str) -> list[onnx.NodeProto]:
    """Those that use a value's elements, for something else than suppression."""
    return [node for node in nodes if name in node.input and node.op_type not in (OPERATOR, "Shape")]


def _needed_for(graph: onnx.GraphProto, output: str) -> set[str]:
    """Names of all that a value depends on, and its own; nodes stand in an order in which each has its inputs."""
    needed = {output}
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            needed.update(node.output)
            needed.update(node.input)
            # What a loop or a branch takes from around it is not among its inputs.
            needed.update(name for inner in inner_nodes(node) for name in inner.input)
    return needed


def inner_nodes(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Nodes of all graphs in a node, those in these included."""
    graphs = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    inner = [one for graph in graphs for one in graph.node]
    return inner + [deeper for one in inner for deeper in inner_nodes(one)]


def _integer(graph: onnx.GraphProto, name: str) -> int:
    """A number of the file, whose constants are all initializers; 0, the operator's default, where it has none."""
    for tensor in graph.initializer:
        if tensor.name == name:
            return int(numpy_helper.to_array(tensor).item())
    return 0


def _added(graph: onnx.GraphProto, name: str, value: float) -> str:
    """The name of a new constant."""
    graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=np.float32), name))
    return name
