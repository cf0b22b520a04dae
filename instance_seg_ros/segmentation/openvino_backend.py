"""Runs a model file with OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import openvino
from numpy.typing import NDArray

from instance_seg_ros.segmentation.graph_network import GraphInput, GraphNetwork

RUNTIME = f"OpenVINO {openvino.__version__.partition('-')[0]}"


class OpenVinoNetwork(GraphNetwork):
    """A loaded network: the arrays of a frame that its inputs name in, NetworkOutput out."""

    def __init__(self, path: Path, threads: int, precision: str = "f32") -> None:
        """Load the file and run it once.

        Args:
            threads: CPU threads, 0 for OpenVINO's own choice.

        Raises:
            ModelError: as `GraphNetwork` says.
        """
        super().__init__(path, RUNTIME, "the CPU", partial(_Session, path, threads, precision))


class _Session:
    """OpenVINO's inference request as a GraphSession."""

    def __init__(self, path: Path, threads: int, precision: str) -> None:
        properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        properties["INFERENCE_PRECISION_HINT"] = precision
        model = openvino.Core().compile_model(path, "CPU", properties)
        self._request = model.create_infer_request()
        self.inputs = {
            port.any_name: GraphInput(
                port.element_type.to_dtype().name,
                tuple(side.get_length() if side.is_static else None for side in port.partial_shape),
            )
            for port in model.inputs
        }
        self._ports = {name: port for port in model.outputs for name in port.names}
        self.outputs = list(self._ports)

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> Sequence[NDArray]:
        results = self._request.infer(dict(feeds), share_inputs=True)
        return [results[self._ports[name]] for name in outputs]
