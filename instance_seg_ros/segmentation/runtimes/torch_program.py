"""A model file's graph as a sequence of PyTorch functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from instance_seg_ros.segmentation.runtimes.greedy_suppression import with_greedy_suppression
from instance_seg_ros.segmentation.runtimes.torch_operators import (
    ELEMENT_TYPES,
    Function,
    Node,
    UnsupportedOperatorError,
    function_of,
)


@dataclass(frozen=True)
class TensorType:
    """What an input or output of a graph is.

    Attributes:
        shape: fixed.
        dtype: PyTorch's.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class _Step:
    """One function with the names of what it takes and gives, and of what nobody needs behind it."""

    function: Function
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    last_used: tuple[str, ...]


class TorchProgram:
    """Runs a frozen model on a device, operator by operator; the same operators in the same order every time.

    No operator waits for the device or reads from it, so a run can be captured into a CUDA graph. Suppression is one
    operator, see `greedy_suppression`.

    Args:
        model: a serialised ONNX model whose shapes are all fixed, as `with_fixed_sizes` gives it.
        device: that it runs on.

    Raises:
        UnsupportedOperatorError: of the first operator that PyTorch does not run here.
    """

    def __init__(self, model: bytes, device: str) -> None:
        graph = onnx.load_from_string(model).graph
        constants = {tensor.name: _tensor(tensor) for tensor in graph.initializer}
        self.input_types = {value.name: _type(value) for value in graph.input if value.name not in constants}
        self.output_types = {value.name: _type(value) for value in graph.output}
        self._steps = _with_last_uses(_steps(graph, constants), set(self.output_types))
        used = {name for step in self._steps for name in step.inputs} | set(self.output_types)
        self._constants = {name: value.to(device) for name, value in constants.items() if name in used}

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name, on the device; `inputs` are there already."""
        values: dict[str, Tensor] = {**self._constants, **inputs}
        for step in self._steps:
            result = step.function(*(values[name] if name else None for name in step.inputs))
            values.update(zip(step.outputs, result if isinstance(result, tuple) else (result,), strict=True))
            for name in step.last_used:
                del values[name]
        return {name: values[name] for name in self.output_types}


def _steps(graph: onnx.GraphProto, constants: dict[str, Tensor]) -> list[_Step]:
    """The steps; what depends on constants alone is computed now and becomes one of `constants`."""
    steps = []
    for node in with_greedy_suppression(graph, constants):
        known = tuple(constants.get(name, None if name else torch.empty(0)) for name in node.input)
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        function = function_of(Node(node.op_type, attributes, known))
        step = _Step(function, tuple(node.input), tuple(node.output), ())
        if all(name in constants for name in node.input):
            (name,) = node.output
            constants[name] = function(*(constants[name] for name in node.input))
            continue
        if node.op_type == "Conv" and node.input[1] in constants:
            # Tensor cores take channels last; whatever follows a convolution keeps the order of its result.
            constants[node.input[1]] = constants[node.input[1]].contiguous(memory_format=torch.channels_last)
        steps.append(step)
    return steps


def _with_last_uses(steps: list[_Step], outputs: set[str]) -> list[_Step]:
    """The steps with what each is the last to use, so that its memory is free for those behind."""
    produced = {name for step in steps for name in step.outputs}
    needed = set(outputs)
    result = []
    for step in reversed(steps):
        touched = dict.fromkeys((*step.inputs, *step.outputs))
        result.append(
            _Step(
                step.function,
                step.inputs,
                step.outputs,
                tuple(name for name in touched if name in produced and name not in needed),
            )
        )
        needed.update(step.inputs)
    return result[::-1]


def _tensor(tensor: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(np.array(numpy_helper.to_array(tensor)))


def _type(value: onnx.ValueInfoProto) -> TensorType:
    tensor = value.type.tensor_type
    if tensor.elem_type not in ELEMENT_TYPES:
        raise UnsupportedOperatorError(f"PyTorch cannot run a model whose {value.name} is of type {tensor.elem_type}")
    return TensorType(tuple(side.dim_value for side in tensor.shape.dim), ELEMENT_TYPES[tensor.elem_type])
