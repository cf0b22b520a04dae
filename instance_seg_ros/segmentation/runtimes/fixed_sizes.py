"""A model file's graph for images of one size, for runtimes that plan ahead.

A model file takes images of any size: it computes from their shape which pixels feed the network's grid. Once the shape
is known, this is arithmetic on constants. ONNX Runtime does it and writes the graph without it, so that TensorRT sees
indices, sizes, `K` and `axes` as constants, as its parser wants them, and weights as they are multiplied.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnxruntime

from instance_seg_ros.segmentation.contract import contract_of
from instance_seg_ros.segmentation.model_file import ModelError


def with_fixed_sizes(path: Path, input_shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """The serialised ONNX model for these input shapes, with everything computed that depends on nothing else.

    Args:
        input_shapes: of every input, by name; or of every array of a frame that an exported model of another project
            needs.

    Raises:
        ModelError: the file was exported for other shapes.
    """
    as_exported = onnxruntime.InferenceSession(
        str(path), _options(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL), providers=["CPUExecutionProvider"]
    )
    # Basic, since higher levels put ONNX Runtime's own operators into the graph.
    options = _options(onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    inputs = as_exported.get_inputs()
    are_those = {tensor.name for tensor in inputs} <= set(input_shapes)
    shapes = input_shapes if are_those else contract_of(path).graph_shapes(input_shapes)
    for tensor in inputs:
        shape = shapes[tensor.name]
        for side, given in zip(tensor.shape, shape, strict=True):
            if side is None:
                raise ModelError(f"{path}: a side of {tensor.name} has neither a length nor a name; export it with one")
            if isinstance(side, str):
                options.add_free_dimension_override_by_name(side, given)
            elif side != given:
                raise ModelError(
                    f"{path} was exported for {tensor.name} of shape {tuple(tensor.shape)}, not {shape}; "
                    "export it for this camera's size"
                )
    return _written(str(path), options)


def computed_ahead(model: bytes) -> bytes:
    """A serialised ONNX model of fixed sizes with everything computed that depends on nothing else."""
    return _written(model, _options(onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC))


def _written(model: str | bytes, options: onnxruntime.SessionOptions) -> bytes:
    """A model as ONNX Runtime optimises it."""
    with tempfile.TemporaryDirectory() as folder:
        frozen = Path(folder) / "frozen.onnx"
        options.optimized_model_filepath = str(frozen)
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return frozen.read_bytes()


def _options(level: onnxruntime.GraphOptimizationLevel) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return options
