"""The ONNX operators of this project's model files as PyTorch functions.

A function may be captured into a CUDA graph: it never reads a tensor's values on the host, and every size that it
needs is a constant of the model. Semantics follow the ONNX operator specification, opset 17
(https://onnx.ai/onnx/operators); what an operator could mean beyond it is refused, never guessed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.runtimes.greedy_suppression import OPERATOR, greedy_suppression

Function = Callable[..., Any]
"""Takes the tensors of a node's inputs, None for one that is left out; gives its outputs."""

ELEMENT_TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""PyTorch's type by number of onnx.TensorProto.DataType."""
_FEW_FACTORS = 4
"""So many, such as two sides, are multiplied one by one: for a GPU, PyTorch compiles `prod` when it first runs."""


class UnsupportedOperatorError(ModelError):
    """The model has an operator, or a variant of one, that PyTorch does not run here; another backend may."""


@dataclass(frozen=True)
class Node:
    """One operator of a graph, as far as it is known before the graph runs.

    Attributes:
        operator: its ONNX name.
        attributes: by name.
        constants: of each input, its value where it is constant, else None.
    """

    operator: str
    attributes: Mapping[str, Any]
    constants: tuple[Tensor | None, ...]

    def integers(self, index: int) -> list[int] | None:
        """The values of an input that must be constant; None where it is left out.

        Raises:
            UnsupportedOperatorError: it is computed while the graph runs.
        """
        if index >= len(self.constants):
            return None
        constant = self.constants[index]
        if constant is None:
            raise UnsupportedOperatorError(f"PyTorch cannot run {self.operator} whose input {index} is not constant")
        return [int(value) for value in constant.flatten().tolist()] if constant.numel() else None

    def required(self, index: int) -> list[int]:
        """Like `integers`, of an input that may not be left out."""
        values = self.integers(index)
        if values is None:
            raise self.refused(f"without input {index}")
        return values

    def expect(self, **wanted: object) -> None:
        """Refuses the node when an attribute is there and says something else."""
        for name, value in wanted.items():
            if self.attributes.get(name, value) != value:
                raise self.refused(f"with {name} = {self.attributes[name]!r}")

    def refused(self, variant: str) -> UnsupportedOperatorError:
        return UnsupportedOperatorError(f"PyTorch cannot run {self.operator} {variant}")


def function_of(node: Node) -> Function:
    """What runs a node.

    Raises:
        UnsupportedOperatorError: nothing does.
    """
    if node.operator in _PLAIN:
        return _PLAIN[node.operator]
    if node.operator not in _BUILT:
        raise UnsupportedOperatorError(f"PyTorch does not know the operator {node.operator} of the model")
    return _BUILT[node.operator](node)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _largest(*values: Tensor) -> Tensor:
    result = values[0]
    for value in values[1:]:
        result = torch.maximum(result, value)
    return result


def _smallest(*values: Tensor) -> Tensor:
    result = values[0]
    for value in values[1:]:
        result = torch.minimum(result, value)
    return result


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return x if low is None and high is None else torch.clamp(x, low, high)


def _argmax(node: Node) -> Function:
    node.expect(select_last_index=0)
    axis, keep = node.attributes.get("axis", 0), bool(node.attributes.get("keepdims", 1))
    return lambda x: torch.argmax(x, dim=axis, keepdim=keep)


def _cast(node: Node) -> Function:
    target = ELEMENT_TYPES.get(node.attributes["to"])
    if target is None:
        raise node.refused(f"to type {node.attributes['to']}")
    return lambda x: x.to(target)


def _batch_normalisation(node: Node) -> Function:
    node.expect(training_mode=0)
    epsilon = node.attributes.get("epsilon", 1e-5)

    def run(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return F.batch_norm(x, mean, variance, weight, bias, eps=epsilon)

    return run


def _concat(node: Node) -> Function:
    axis = node.attributes["axis"]
    return lambda *values: torch.cat(values, dim=axis)


def _window(node: Node) -> tuple[list[int], tuple[int, int]]:
    """The strides, and the padding (rows, columns) that is the same on opposite sides."""
    node.expect(auto_pad=b"NOTSET", ceil_mode=0, storage_order=0)
    top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        raise node.refused(f"padded by {(top, left, bottom, right)}")
    return list(node.attributes.get("strides", (1, 1))), (top, left)


def _convolution(node: Node) -> Function:
    strides, padding = _window(node)
    dilations, groups = list(node.attributes.get("dilations", (1, 1))), node.attributes.get("group", 1)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(x, weight, bias, strides, padding, dilations, groups)

    return run


def _average_pool(node: Node) -> Function:
    strides, padding = _window(node)
    node.expect(dilations=[1, 1])
    kernel, count_padding = list(node.attributes["kernel_shape"]), bool(node.attributes.get("count_include_pad", 0))
    return lambda x: F.avg_pool2d(x, kernel, strides, padding, count_include_pad=count_padding)


def _max_pool(node: Node) -> Function:
    strides, padding = _window(node)
    node.expect(dilations=[1, 1])
    kernel = list(node.attributes["kernel_shape"])
    return lambda x: F.max_pool2d(x, kernel, strides, padding)


def _expand(node: Node) -> Function:
    shape = node.required(1)
    return lambda x, _: torch.broadcast_to(x, torch.broadcast_shapes(x.shape, shape))


def _flatten(node: Node) -> Function:
    axis = node.attributes.get("axis", 1)
    return lambda x: x.reshape(math.prod(x.shape[:axis]), -1)


def _gather(node: Node) -> Function:
    axis = node.attributes.get("axis", 0)
    constant = node.constants[1]
    if constant is not None and constant.ndim == 0:
        position = int(constant)
        return lambda x, _: x.select(axis, position)
    if constant is not None and (constant < 0).any():
        raise node.refused("with places counted from the end")

    def run(x: Tensor, index: Tensor) -> Tensor:
        taken = x.index_select(axis, index.reshape(-1))
        first = axis % x.ndim
        return taken.reshape(*x.shape[:first], *index.shape, *x.shape[first + 1 :])

    return run


def _gather_elements(node: Node) -> Function:
    axis = node.attributes.get("axis", 0)
    return lambda x, index: torch.gather(x, axis, index)


def _gemm(node: Node) -> Function:
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    turn_a, turn_b = bool(node.attributes.get("transA", 0)), bool(node.attributes.get("transB", 0))

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a, b = a.T if turn_a else a, b.T if turn_b else b
        return alpha * (a @ b) if c is None else torch.addmm(c, a, b, beta=beta, alpha=alpha)

    return run


def _instance_normalisation(node: Node) -> Function:
    epsilon = node.attributes.get("epsilon", 1e-5)
    return lambda x, weight, bias: F.instance_norm(x, weight=weight, bias=bias, eps=epsilon)


def _pad(node: Node) -> Function:
    mode = node.attributes.get("mode", b"constant")
    if mode not in (b"constant", b"edge"):
        raise node.refused(f"with mode {mode.decode()}")
    pads = node.required(1)
    axes = node.integers(3) or list(range(len(pads) // 2))
    amounts = {axis: (pads[index], pads[index + len(axes)]) for index, axis in enumerate(axes)}
    if min(pads) < 0:
        raise node.refused(f"by {pads}")
    if mode == b"edge":
        return lambda x, *_: _repeat_edges(x, amounts)
    constant = node.constants[2] if len(node.constants) > 2 else None
    if len(node.constants) > 2 and constant is None:
        raise node.refused("with a computed value")
    value = 0.0 if constant is None or not constant.numel() else float(constant)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        by_axis = {axis % x.ndim: amount for axis, amount in amounts.items()}
        last_axis_first = [side for axis in reversed(range(x.ndim)) for side in by_axis.get(axis, (0, 0))]
        return F.pad(x, last_axis_first, value=value)

    return run


def _repeat_edges(x: Tensor, amounts: Mapping[int, tuple[int, int]]) -> Tensor:
    for axis, (before, after) in amounts.items():
        if not before and not after:
            continue
        sides = []
        for position, count in ((0, before), (x.shape[axis] - 1, after)):
            shape = list(x.shape)
            shape[axis] = count
            sides.append(x.narrow(axis, position, 1).expand(shape))
        x = torch.cat((sides[0], x, sides[1]), dim=axis)
    return x


def _reduced(reduce: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[[Node], Function]:
    """The builder of an operator that folds axes, named by an attribute or, in later opsets, by an input."""

    def build(node: Node) -> Function:
        axes = list(node.attributes["axes"]) if "axes" in node.attributes else node.integers(1)
        keep = bool(node.attributes.get("keepdims", 1))
        if axes is None and node.attributes.get("noop_with_empty_axes", 0):
            return lambda x, *_: x
        return lambda x, *_: reduce(x, list(range(x.ndim)) if axes is None else axes, keep)

    return build


def _product(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        if 0 < x.shape[axis] <= _FEW_FACTORS:
            product = functools.reduce(torch.mul, x.unbind(axis))
            x = product.unsqueeze(axis) if keep else product
        else:
            x = x.prod(dim=axis, keepdim=keep, dtype=x.dtype)  # PyTorch's own choice for integers is int64
    return x


def _reshape(node: Node) -> Function:
    node.expect(allowzero=0)
    sides = node.required(1)

    def run(x: Tensor, _: Tensor) -> Tensor:
        return x.reshape([side or x.shape[index] for index, side in enumerate(sides)])  # 0 keeps the input's

    return run


def _quantisation(node: Node) -> tuple[Callable[[Tensor, Tensor], Tensor], torch.dtype]:
    """What lays a scale or zero point, for all or for each channel, beside a tensor; and the type of the 8 bits."""
    axis = node.attributes.get("axis", 1)
    zero_point = node.constants[2] if len(node.constants) > 2 else None
    if len(node.constants) > 2 and zero_point is None:
        raise node.refused("with a computed zero point")

    def beside(x: Tensor, parameter: Tensor) -> Tensor:
        if parameter.numel() == 1:
            return parameter.reshape(())
        return parameter.reshape([-1 if index == axis % x.ndim else 1 for index in range(x.ndim)])

    return beside, torch.uint8 if zero_point is None else zero_point.dtype


def _quantise(node: Node) -> Function:
    beside, dtype = _quantisation(node)
    limits = torch.iinfo(dtype)

    def run(x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        steps = torch.round(x / beside(x, scale))
        if zero_point is not None:
            steps = steps + beside(x, zero_point)
        return steps.clamp(limits.min, limits.max).to(dtype)

    return run


def _dequantise(node: Node) -> Function:
    beside, _ = _quantisation(node)

    def run(x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        steps = x.to(scale.dtype)
        if zero_point is not None:
            steps = steps - beside(x, zero_point)
        return steps * beside(x, scale)

    return run


# F.interpolate's arguments by (mode, coordinate transformation), as far as the two say the same.
_INTERPOLATIONS: dict[tuple[bytes, bytes], dict[str, Any]] = {
    (b"linear", b"half_pixel"): {"mode": "bilinear", "align_corners": False},
    (b"linear", b"align_corners"): {"mode": "bilinear", "align_corners": True},
    (b"nearest", b"asymmetric"): {"mode": "nearest"},
}


def _resize(node: Node) -> Function:
    mode = node.attributes.get("mode", b"nearest")
    transformation = node.attributes.get("coordinate_transformation_mode", b"half_pixel")
    arguments = _INTERPOLATIONS.get((mode, transformation))
    if arguments is None:
        raise node.refused(f"with mode {mode.decode()} and coordinates {transformation.decode()}")
    node.expect(antialias=0)
    if mode == b"nearest":
        node.expect(nearest_mode=b"floor")
    sizes = node.integers(3)
    scales = node.constants[2] if len(node.constants) > 2 else None
    if sizes is None and (scales is None or not scales.numel()):
        raise node.refused("without constant sizes or scales")

    def run(x: Tensor, *_: Tensor) -> Tensor:
        wanted = sizes or [math.floor(side * scale) for side, scale in zip(x.shape, factors, strict=True)]
        if list(x.shape[:2]) != wanted[:2]:
            raise node.refused(f"from {tuple(x.shape)} to {tuple(wanted)}")
        return F.interpolate(x, size=wanted[2:], **arguments)

    factors = [] if scales is None else scales.tolist()
    if sizes is None and any(factor != int(factor) for factor in factors):
        raise node.refused(f"by {factors}: the two libraries round such factors differently")
    return run


def _slice(node: Node) -> Function:
    starts, ends = node.required(1), node.required(2)
    axes = node.integers(3) or list(range(len(starts)))
    steps = node.integers(4) or [1] * len(starts)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            if step > 0:
                x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
            else:
                # What is taken from the back, forwards and then turned round; ends before the first mean "all".
                taken = range(x.shape[axis])[slice(start, None if end < -x.shape[axis] else end, step)]
                forwards = (slice(taken[-1], taken[0] + 1, -step),)
                x = x[(slice(None),) * (axis % x.ndim) + forwards].flip(axis)
        return x

    return run


def _softmax(node: Node) -> Function:
    axis = node.attributes.get("axis", -1)
    return lambda x: torch.softmax(x, dim=axis)


def _squeeze(node: Node) -> Function:
    axes = node.integers(1)
    return lambda x, *_: x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _top_k(node: Node) -> Function:
    node.expect(sorted=1)
    (count,) = node.required(1)
    axis, largest = node.attributes.get("axis", -1), bool(node.attributes.get("largest", 1))
    return lambda x, _: tuple(torch.topk(x, count, dim=axis, largest=largest, sorted=True))


def _transpose(node: Node) -> Function:
    order = node.attributes.get("perm")
    return lambda x: x.permute(*(reversed(range(x.ndim)) if order is None else order))


def _triangle(node: Node) -> Function:
    (diagonal,) = node.integers(1) or [0]
    part = torch.triu if node.attributes.get("upper", 1) else torch.tril
    return lambda x, *_: part(x, diagonal=diagonal)


def _unsqueeze(node: Node) -> Function:
    axes = node.required(1)

    def run(x: Tensor, _: Tensor) -> Tensor:
        rank = x.ndim + len(axes)
        for axis in sorted(axis % rank for axis in axes):
            x = x.unsqueeze(axis)
        return x

    return run


def _modulo(node: Node) -> Function:
    node.expect(fmod=0)
    return torch.remainder


_PLAIN: dict[str, Function] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Clip": _clip,
    "Div": _divide,
    "Equal": torch.eq,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    OPERATOR: greedy_suppression,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "MatMul": torch.matmul,
    "Max": _largest,
    "Min": _smallest,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Where": torch.where,
    "Xor": torch.logical_xor,
}

_BUILT: dict[str, Callable[[Node], Function]] = {
    "ArgMax": _argmax,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalisation,
    "Cast": _cast,
    "Concat": _concat,
    "Conv": _convolution,
    "DequantizeLinear": _dequantise,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gemm": _gemm,
    "InstanceNormalization": _instance_normalisation,
    "MaxPool": _max_pool,
    "Mod": _modulo,
    "Pad": _pad,
    "QuantizeLinear": _quantise,
    "ReduceMax": _reduced(lambda x, axes, keep: torch.amax(x, dim=axes, keepdim=keep)),
    "ReduceMean": _reduced(lambda x, axes, keep: torch.mean(x, dim=axes, keepdim=keep)),
    "ReduceMin": _reduced(lambda x, axes, keep: torch.amin(x, dim=axes, keepdim=keep)),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(lambda x, axes, keep: torch.sum(x, dim=axes, keepdim=keep, dtype=x.dtype)),
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Softmax": _softmax,
    "Squeeze": _squeeze,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
