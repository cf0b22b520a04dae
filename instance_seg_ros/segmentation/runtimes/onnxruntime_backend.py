"""Runs a model file with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime
from numpy.typing import NDArray

from instance_seg_ros.segmentation.contract import GraphInput
from instance_seg_ros.segmentation.model_file import is_in_8_bits
from instance_seg_ros.segmentation.runtimes.graph_network import GraphNetwork

RUNTIME = f"ONNX Runtime {onnxruntime.__version__}"

_SPIN_US = 100
"""The longest active wait, where ONNX Runtime knows the option (1.31 does). On idle cores a run of the shipped model
takes a thirtieth longer than with one of a millisecond, and under a load of 15 on two cores a third of the time."""
_TYPE_NAMES = {
    "tensor(uint8)": "uint8",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
}


class OnnxRuntimeNetwork(GraphNetwork):
    """A loaded network: the arrays of a frame that its inputs name in, NetworkOutput out."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load the file and run it once.

        Args:
            threads: CPU threads, 0 for ONNX Runtime's own choice (the physical cores).

        Raises:
            ModelError: as `GraphNetwork` says.
        """

        def load() -> OnnxRuntimeSession:
            return OnnxRuntimeSession(str(path), session_options(threads), ["CPUExecutionProvider"])

        super().__init__(path, RUNTIME, "the CPU, convolutions in 8 bits" if is_in_8_bits(path) else "the CPU", load)


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Options of a session that is quiet, leaves the CPU alone between two runs and shares it during one.

    Its threads wait actively for each other's parts of a run, which makes it a tenth faster. By themselves they go on
    so for some 25 ms after a run, on a core that what follows needs, and within a run for as long as the one that they
    wait for has no core, while other processes have them all: see `_SPIN_US`.

    Args:
        threads: of the CPU, 0 for ONNX Runtime's own choice.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
    return options


class OnnxRuntimeSession:
    """ONNX Runtime's session as a GraphSession.

    Args:
        model: a file's path, or a serialised model.
        providers: best first, each with its options where it has any; those that cannot start are an error.

    Attributes:
        providers: names of those that run the graph.
    """

    def __init__(
        self,
        model: str | bytes,
        options: onnxruntime.SessionOptions,
        providers: Sequence[str | tuple[str, dict[str, str]]],
    ) -> None:
        self._session = onnxruntime.InferenceSession(model, options, providers=list(providers), enable_fallback=0)
        self.providers: list[str] = self._session.get_providers()
        self.inputs = {
            tensor.name: GraphInput(
                _TYPE_NAMES.get(tensor.type, tensor.type),
                tuple(side if isinstance(side, int) else None for side in tensor.shape),
            )
            for tensor in self._session.get_inputs()
        }
        self.outputs: list[str] = [tensor.name for tensor in self._session.get_outputs()]

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> Sequence[NDArray]:
        """The outputs, in memory of their own."""
        results: list[NDArray] = self._session.run(list(outputs), dict(feeds))
        return results
