"""Greedy suppression as one operator, in place of the chain of matrix products by which a model file says it.

A model file says it in standard operators, a product and a relu for each candidate (Cluster-NMS, Zheng et al., T-Cyb
2021: after N - 1 rounds the result is that of greedy suppression). On a GPU, where every kernel costs its launch, one
goes through the candidates instead.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor

OPERATOR = "GreedySuppression"
"""Name of the node; its input is (N, N) float32 of 0 and 1, above the diagonal alone, its output (1, N)."""

_LOGGER = logging.getLogger(__name__)
_ON_BOOLEANS = frozenset(("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Xor"))


@torch.library.custom_op("instance_seg_ros::greedy_suppression", mutates_args=())
def greedy_suppression(overlaps: Tensor) -> Tensor:
    """Which candidates no kept, better one suppresses.

    Args:
        overlaps: (N, N) float32 of 0 and 1, candidates ordered best first: whether the row's suppresses the column's;
            what is on and below the diagonal does not count.

    Returns:
        (1, N) float32 of 0 and 1.
    """
    kept = np.ones(len(overlaps), dtype=bool)
    suppresses = np.triu(overlaps.numpy() > 0, 1)
    for index, row in enumerate(suppresses):
        if kept[index]:
            kept &= ~row
    return torch.from_numpy(kept[None].astype(np.float32))


@greedy_suppression.register_kernel("cuda")
def _on_gpu(overlaps: Tensor) -> Tensor:
    return _method(overlaps.device)(overlaps)


@cache
def _method(device: torch.device) -> Callable[[Tensor], Tensor]:
    """What suppresses on a GPU; tried once, before anything is captured."""
    try:
        from instance_seg_ros.segmentation.runtimes.suppression_kernel import suppress

        suppress(torch.zeros((1, 1), device=device))
    # Triton is not there, or not what it builds its launcher with: a C compiler, Python's headers.
    except (ImportError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        _LOGGER.info("suppression by matrix products: Triton's kernel cannot be built: %s", error)
        return _by_products
    return suppress


def _by_products(overlaps: Tensor) -> Tensor:
    all_kept = torch.ones((1, len(overlaps)), dtype=overlaps.dtype, device=overlaps.device)
    suppressors = torch.triu(overlaps, diagonal=1)
    kept = all_kept
    for _ in range(len(overlaps) - 1):
        kept = torch.relu(torch.addmm(all_kept, kept, suppressors, alpha=-1))
    return kept


@greedy_suppression.register_fake
def _shape(overlaps: Tensor) -> Tensor:
    return overlaps.new_empty((1, len(overlaps)))


def with_greedy_suppression(graph: onnx.GraphProto, constants: Mapping[str, Tensor]) -> list[onnx.NodeProto]:
    """The graph's nodes in their order, with each chain that is greedy suppression replaced by `OPERATOR`.

    A chain that differs from it in anything, or whose equality cannot be told from the graph, stays as it is.

    Args:
        constants: by name.
    """
    producers = {name: node for node in graph.node for name in node.output}
    uses: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    for output in graph.output:
        uses[output.name] = uses.get(output.name, 0) + 1
    replaced: dict[str, onnx.NodeProto] = {}
    dropped: set[str] = set()
    for node in reversed(graph.node):  # so that the whole of a chain is found before a part of it
        chain = () if node.output[0] in dropped else _chain_ending_in(node, producers, uses, constants)
        if chain:
            replaced[node.output[0]] = helper.make_node(OPERATOR, [chain[-1].input[1]], [node.output[0]])
            dropped.update(link.output[0] for link in chain)
    return [
        replaced.get(node.output[0], node)
        for node in graph.node
        if node.output[0] in replaced or node.output[0] not in dropped
    ]


def _chain_ending_in(
    last: onnx.NodeProto,
    producers: Mapping[str, onnx.NodeProto],
    uses: Mapping[str, int],
    constants: Mapping[str, Tensor],
) -> Sequence[onnx.NodeProto]:
    """The nodes of a chain that is greedy suppression, the last first; empty if `last` does not end one.

    It is relu(1 - kept @ overlaps), from all ones, as often as there are candidates but one.
    """
    chain: list[onnx.NodeProto] = []
    node = last
    while True:
        product = producers.get(node.input[0]) if node.op_type == "Relu" else None
        if product is None or not _is_one_minus_product(product, constants):
            return ()
        if chain and product.input[1] != chain[-1].input[1]:
            return ()
        chain += [node, product]
        if any(uses[link.output[0]] != 1 for link in chain[1:]):
            return ()
        before = product.input[0]
        if before in constants:
            count = constants[before].numel()
            is_whole = _is_all_ones(constants[before]) and len(chain) // 2 >= count - 1
            return chain if is_whole and _is_triangle_of_booleans(product.input[1], producers, constants) else ()
        if before not in producers:
            return ()
        node = producers[before]


def _is_one_minus_product(node: onnx.NodeProto, constants: Mapping[str, Tensor]) -> bool:
    if node.op_type != "Gemm" or len(node.input) != 3 or node.input[2] not in constants:
        return False
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    wanted = {"alpha": -1.0, "beta": 1.0, "transA": 0, "transB": 0}
    given = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} | values
    return given == wanted and _is_all_ones(constants[node.input[2]])


def _is_all_ones(value: Tensor) -> bool:
    return value.dtype == torch.float32 and value.ndim == 2 and len(value) == 1 and bool((value == 1).all())


def _is_triangle_of_booleans(
    name: str, producers: Mapping[str, onnx.NodeProto], constants: Mapping[str, Tensor]
) -> bool:
    """Whether a matrix holds 0 and 1 alone, and those above its diagonal alone."""
    triangle = producers.get(name)
    if triangle is None or triangle.op_type != "Trilu" or len(triangle.input) != 2:
        return False
    diagonal = constants.get(triangle.input[1])
    upper = next((attribute.i for attribute in triangle.attribute if attribute.name == "upper"), 1)
    if diagonal is None or int(diagonal) < 1 or not upper:
        return False
    node = producers.get(triangle.input[0])
    while node is not None and node.op_type == "Gather":
        node = producers.get(node.input[0])
    if node is None or node.op_type != "Cast":
        return False
    before = producers.get(node.input[0])
    return before is not None and before.op_type in _ON_BOOLEANS
