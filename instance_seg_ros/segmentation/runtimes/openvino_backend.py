"""Runs a model file with OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import openvino
from numpy.typing import NDArray
from openvino import opset13

from instance_seg_ros.segmentation.contract import GraphInput
from instance_seg_ros.segmentation.model_file import is_in_8_bits
from instance_seg_ros.segmentation.runtimes.graph_network import GraphNetwork
from instance_seg_ros.segmentation.runtimes.openvino_graph import choose_before_adding

RUNTIME = f"OpenVINO {openvino.__version__.partition('-')[0]}"

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
# What may compute in bf16 between two convolutions: nothing that sums over many pixels or divides.
_BETWEEN_CONVOLUTIONS = (*_CONVOLUTIONS, "Add", "Concat", "Interpolate", "MaxPool", "Pad", "Relu", "Slice")


@cache
def _core() -> openvino.Core:
    """The only Core of this process, for as long as the process lives.

    Each Core gives its thread a stack for signals and, when it is destroyed, restores the one from before. If two are
    destroyed in the order in which they were made, the restored stack no longer exists, and the next signal with a
    handler ends the process.
    """
    return openvino.Core()


class OpenVinoNetwork(GraphNetwork):
    """A loaded network: the arrays of a frame that its inputs name in, NetworkOutput out."""

    def __init__(self, path: Path, threads: int, allow_bf16: bool) -> None:
        """Load the file and run it once.

        Args:
            threads: CPU threads, 0 for OpenVINO's own choice.
            allow_bf16: compute convolutions in bf16 on a CPU that supports it; everything that measures stays in
                float32. A file in 8 bits is computed as it says.

        Raises:
            ModelError: as `GraphNetwork` says.
        """
        # By itself OpenVINO would compute everything in bf16, metres included, where the CPU has instructions for it.
        precision = _core().get_property("CPU", "INFERENCE_PRECISION_HINT")
        in_8_bits = is_in_8_bits(path)
        bf16 = allow_bf16 and precision == openvino.Type.bf16 and not in_8_bits
        device = "the CPU"
        if in_8_bits or bf16:
            device += f", convolutions in {'8 bits' if in_8_bits else 'bf16'}"

        def load() -> OpenVinoSession:
            model = _core().read_model(path)
            choose_before_adding(model)
            if bf16:
                compute_convolutions_in_bf16(model)
            return OpenVinoSession(model, threads, openvino.Type.f32)

        super().__init__(path, RUNTIME, device, load)


class OpenVinoSession:
    """OpenVINO's inference request as a GraphSession.

    Args:
        model: a file's path, or a model.
        threads: CPU threads, 0 for OpenVINO's own choice.
        precision: of everything for which the model names none; None for OpenVINO's own choice.
    """

    def __init__(self, model: openvino.Model | Path, threads: int, precision: openvino.Type | None = None) -> None:
        properties: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        if precision is not None:
            properties["INFERENCE_PRECISION_HINT"] = precision
        compiled = _core().compile_model(model, "CPU", properties)
        self._request = compiled.create_infer_request()
        self._ports = {name: port for port in compiled.outputs for name in port.names}
        self.outputs = list(self._ports)
        self.inputs = {
            port.any_name: GraphInput(
                port.element_type.to_dtype().name,
                tuple(side.get_length() if side.is_static else None for side in port.partial_shape),
            )
            for port in compiled.inputs
        }

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> Sequence[NDArray]:
        """The outputs, in memory of their own."""
        results = self._request.infer(dict(feeds), share_inputs=True)
        return [results[self._ports[name]] for name in outputs]


def compute_convolutions_in_bf16(model: openvino.Model) -> None:
    """Changes a float32 model in place: convolutions, and what lies between two of them, compute in bf16.

    What comes before the first convolution and after the last keeps float32: coordinates in metres, sigmoids, boxes,
    dynamic mask heads and suppression.
    """
    nodes = model.get_ordered_ops()
    after = _convolutions_and_those_beside(nodes, _sources)
    before = _convolutions_and_those_beside(nodes[::-1], _targets)
    chosen = {
        node.get_name(): node
        for node in nodes
        if node.get_name() in after & before
        and node.get_type_name() in _BETWEEN_CONVOLUTIONS
        and node.get_output_element_type(0) == openvino.Type.f32
    }
    converted: dict[tuple[str, int], openvino.Output] = {}
    for node in chosen.values():
        for port in node.inputs():
            source = port.get_source_output()
            key = (source.get_node().get_name(), source.get_index())
            if source.get_element_type() == openvino.Type.f32 and key[0] not in chosen:
                if key not in converted:
                    converted[key] = opset13.convert(source, "bf16").output(0)
                port.replace_source_output(converted[key])
    for node in chosen.values():
        for output in node.outputs():
            others = [port for port in output.get_target_inputs() if port.get_node().get_name() not in chosen]
            if others:
                as_float = opset13.convert(output, "f32").output(0)
                for port in others:
                    port.replace_source_output(as_float)
    model.validate_nodes_and_infer_types()


def _convolutions_and_those_beside(
    nodes: Sequence[openvino.Node], neighbours: Callable[[openvino.Node], Iterator[openvino.Node]]
) -> set[str]:
    """Names of the convolutions and of nodes connected to one through neighbours; `nodes` follow their neighbours."""
    names: set[str] = set()
    for node in nodes:
        if node.get_type_name() in _CONVOLUTIONS or any(other.get_name() in names for other in neighbours(node)):
            names.add(node.get_name())
    return names


def _sources(node: openvino.Node) -> Iterator[openvino.Node]:
    return (source.get_node() for source in node.input_values())


def _targets(node: openvino.Node) -> Iterator[openvino.Node]:
    return (port.get_node() for output in node.outputs() for port in output.get_target_inputs())
