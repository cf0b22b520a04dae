"""What an ONNX file says of its inputs and outputs, read without any runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from instance_seg_ros.segmentation.model_file import read_metadata
from instance_seg_ros.segmentation.protobuf import Value, fields, integers, text

# Numbers of fields in https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
_PRODUCER, _GRAPH = 2, 7  # of ModelProto
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12  # of GraphProto
_OPERATOR = 4  # of NodeProto
_INITIALIZER_SHAPE, _INITIALIZER_NAME = 1, 8  # of TensorProto
_KINDS = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: in the graph.
        kind: of its elements, as NumPy calls it; "type N" for one that is not used by networks of images.
        shape: None for a side of any length; () also where the file does not say, see `is_described`.
        is_described: whether the file gives the shape.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    is_described: bool = True

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self.kind in _FLOATS

    def __str__(self) -> str:
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return f"{self.name} {self.kind} [{sides}]" if self.is_described else f"{self.name} {self.kind} of any shape"


@dataclass(frozen=True)
class Signature:
    """What recognising a model goes by.

    Attributes:
        inputs, outputs: in the order of the file.
        weights: shapes of the graph's initializers, by name.
        operators: types of the graph's nodes.
        metadata: the file's own.
        producer: what wrote the file, such as "pytorch".
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights: Mapping[str, tuple[int, ...]]
    operators: frozenset[str]
    metadata: Mapping[str, str]
    producer: str


def read_signature(content: bytes) -> Signature:
    """The signature of a serialised ONNX model.

    Raises:
        ValueError: the bytes are no ONNX model, or were cut short.
    """
    metadata = read_metadata(content)
    parts: dict[int, list[memoryview]] = {number: [] for number in (_NODE, _INITIALIZER, _INPUT, _OUTPUT)}
    producer, graphs = "", 0
    for number, value, _ in fields(content):
        if number == _PRODUCER:
            producer = text(value)
        elif number == _GRAPH:
            graphs += 1
            for part, inner, _ in fields(_message(value)):
                if part in parts:
                    parts[part].append(_message(inner))
    if graphs == 0:
        raise ValueError("it has no graph")
    weights = dict(map(_weight, parts[_INITIALIZER]))
    return Signature(
        tuple(tensor for tensor in map(_tensor, parts[_INPUT]) if tensor.name not in weights),
        tuple(map(_tensor, parts[_OUTPUT])),
        weights,
        frozenset(name for node in parts[_NODE] for name in _texts(node, _OPERATOR)),
        metadata,
        producer,
    )


def _weight(initializer: memoryview) -> tuple[str, tuple[int, ...]]:
    """Name and shape of a TensorProto."""
    name, shape = "", []
    for number, value, _ in fields(initializer):
        if number == _INITIALIZER_NAME:
            name = text(value)
        elif number == _INITIALIZER_SHAPE:
            shape += integers(value)
    return name, tuple(shape)


def _tensor(value_info: memoryview) -> Tensor:
    """Of a ValueInfoProto: name 1, type 2; there tensor_type 1; there elem_type 1 and shape 2; there dim 1."""
    name, kind, shape, described = "", "type 0", [], False
    for number, value, _ in fields(value_info):
        if number == 1:
            name = text(value)
        elif number == 2:
            for tensor_type in _messages(value, 1):
                for part, inner, _ in fields(tensor_type):
                    if part == 1:
                        kind = _KINDS.get(int(inner), f"type {inner}") if isinstance(inner, int) else kind
                    elif part == 2:
                        described = True
                        shape = [_side(dimension) for dimension in _messages(inner, 1)]
    return Tensor(name, kind, tuple(shape), described)


def _side(dimension: memoryview) -> int | None:
    """Of a Dimension: dim_value 1, or else a name. Exporters write 0 and -1, too, for "any"."""
    for number, value, _ in fields(dimension):
        if number == 1 and isinstance(value, int) and 0 < value < 1 << 32:
            return value
    return None


def _messages(value: Value, wanted: int) -> Iterator[memoryview]:
    return (_message(inner) for number, inner, _ in fields(_message(value)) if number == wanted)


def _texts(message: memoryview, wanted: int) -> Iterator[str]:
    return (text(value) for number, value, _ in fields(message) if number == wanted)


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError(f"a message was expected where the number {value} is")
    return value
