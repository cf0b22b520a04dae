"""Suppression as one operator: what a chain of a model file is replaced by, and what is left as it is."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from instance_seg_ros.segmentation import default_model_path
from instance_seg_ros.segmentation.network import input_shapes
from instance_seg_ros.segmentation.runtimes.fixed_sizes import with_fixed_sizes
from instance_seg_ros.segmentation.runtimes.greedy_suppression import (
    OPERATOR,
    _method,
    greedy_suppression,
    with_greedy_suppression,
)

CASES = [
    ([], []),
    ([[0]], [1]),
    ([[0, 1], [0, 0]], [1, 0]),
    ([[1, 0], [1, 1]], [1, 1]),  # nothing suppresses itself or a better one
    ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [1, 0, 1]),  # what is suppressed does not suppress
    ([[0, 1, 1], [0, 0, 1], [0, 0, 0]], [1, 0, 0]),
    ([[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], [1, 1, 0, 0]),
]


@pytest.mark.parametrize(("overlaps", "kept"), CASES)
def test_a_candidate_is_kept_unless_a_kept_better_one_suppresses_it(overlaps: list, kept: list) -> None:
    matrix = torch.tensor(overlaps, dtype=torch.float32).reshape(len(kept), len(kept))
    assert greedy_suppression(matrix).tolist() == [kept]


@pytest.mark.parametrize("error", [ImportError("no Triton"), RuntimeError("Failed to find C compiler.")])
def test_where_triton_cannot_build_its_kernel_a_gpu_suppresses_by_products(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def suppress(overlaps: torch.Tensor) -> torch.Tensor:
        raise error

    kernel = types.ModuleType("suppression_kernel")
    kernel.suppress = suppress
    monkeypatch.setitem(sys.modules, "instance_seg_ros.segmentation.runtimes.suppression_kernel", kernel)
    method = _method.__wrapped__(torch.device("cpu"))
    for overlaps, kept in CASES[1:]:
        assert method(torch.tensor(overlaps, dtype=torch.float32)).tolist() == [kept]


def chain(rounds: int, count: int = 4, alpha: float = -1.0, diagonal: int = 1, start: float = 1.0) -> onnx.GraphProto:
    """relu(1 - kept @ overlaps) some times, on comparisons of a matrix with 0.5."""
    constants = {
        "ones": np.ones((1, count), np.float32),
        "start": np.full((1, count), start, np.float32),
        "half": np.array(0.5, np.float32),
        "diagonal": np.array(diagonal, np.int64),
    }
    nodes = [
        helper.make_node("Greater", ["overlaps", "half"], ["above"]),
        helper.make_node("Cast", ["above"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Trilu", ["numbers", "diagonal"], ["suppressors"], upper=1),
    ]
    kept = "start"
    for index in range(rounds):
        nodes.append(helper.make_node("Gemm", [kept, "suppressors", "ones"], [f"sum{index}"], alpha=alpha))
        kept = "kept" if index == rounds - 1 else f"kept{index}"
        nodes.append(helper.make_node("Relu", [f"sum{index}"], [kept]))
    return helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("overlaps", TensorProto.FLOAT, (count, count))],
        [helper.make_tensor_value_info("kept", TensorProto.FLOAT, (1, count))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def operators(graph: onnx.GraphProto) -> list[str]:
    constants = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    return [node.op_type for node in with_greedy_suppression(graph, constants)]


@pytest.mark.parametrize("rounds", [3, 5])
def test_a_chain_of_enough_rounds_becomes_one_operator(rounds: int) -> None:
    assert operators(chain(rounds)) == ["Greater", "Cast", "Trilu", OPERATOR]


@pytest.mark.parametrize(
    "arguments", [{"rounds": 2}, {"rounds": 3, "alpha": -0.5}, {"rounds": 3, "diagonal": 0}, {"rounds": 3, "start": 2}]
)
def test_a_chain_that_is_not_greedy_suppression_stays(arguments: dict) -> None:
    graph = chain(**arguments)
    assert operators(graph) == [node.op_type for node in graph.node]


def test_a_chain_whose_inside_somebody_else_reads_stays() -> None:
    graph = chain(3)
    graph.output.append(helper.make_tensor_value_info("kept0", TensorProto.FLOAT, (1, 4)))
    assert OPERATOR not in operators(graph)


def test_a_matrix_that_may_hold_other_numbers_stays() -> None:
    graph = chain(3)
    graph.node[1].input[0] = "overlaps"
    assert OPERATOR not in operators(graph)


def test_the_shipped_model_has_one_and_no_product_of_its_chain_is_left() -> None:
    shapes = input_shapes(("color_rgb", "depth_m", "intrinsics"), (160, 120))
    graph = onnx.load_from_string(with_fixed_sizes(default_model_path(), shapes)).graph
    found = operators(graph)
    assert (found.count(OPERATOR), found.count("Gemm")) == (1, 0)


def test_the_gpus_kernel_gives_the_same() -> None:
    """In Triton's interpreter, which has to be asked for before Triton is imported."""
    pytest.importorskip("triton")
    script = """
import numpy as np, torch
from instance_seg_ros.segmentation.runtimes.greedy_suppression import greedy_suppression
from instance_seg_ros.segmentation.runtimes.suppression_kernel import suppress
for count, share in ((1, 0.5), (2, 0.5), (17, 0.1), (64, 0.05), (100, 0.5), (300, 0.02)):
    overlaps = torch.from_numpy((np.random.default_rng(count).random((count, count)) < share).astype(np.float32))
    assert torch.equal(suppress(overlaps), greedy_suppression(overlaps)), count
"""
    environment = {"TRITON_INTERPRET": "1", "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
