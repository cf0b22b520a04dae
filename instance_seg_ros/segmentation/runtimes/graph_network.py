"""A model file in any runtime that loads ONNX graphs: the contract, checked in the same way for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from numpy.typing import NDArray

from instance_seg_ros.segmentation.contract import GraphInput, contract_of, sample_arrays
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, NotFiniteError

_WARM_UP_HW = (48, 64)


class GraphSession(Protocol):
    """A graph that a runtime has loaded."""

    @property
    def inputs(self) -> Mapping[str, GraphInput]:
        """By name."""

    @property
    def outputs(self) -> Collection[str]:
        """Names."""

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> Sequence[NDArray]:
        """These outputs for inputs that are contiguous and have the types and shapes of `inputs`."""


class GraphNetwork:
    """A loaded network: the arrays of a frame that its inputs name in, NetworkOutput out. For one caller at a time."""

    def __init__(self, path: Path, runtime: str, device: str, load: Callable[[], GraphSession]) -> None:
        """Load the file and run it once on a small frame, so that a file which loads but cannot run is found now.

        Args:
            path: of the model file, for messages.
            runtime: its name and version.
            device: where it runs, such as "the CPU".
            load: loads the file; may raise anything.

        Raises:
            ModelError: when the runtime refuses the file, its inputs and outputs are not those of the contract, or the
                run fails; NotFiniteError when its numbers are none.
        """
        self._path = path
        self._backend = f"{runtime} on {device}"
        try:
            self._session = load()
        except Exception as error:  # the runtimes' exceptions share no base but Exception
            raise ModelError(f"{runtime} cannot load {path}: {error}") from error
        self._contract = contract_of(path)
        self._outputs = self._contract.outputs_to_ask(self._session.inputs, self._session.outputs)
        try:
            self(self.sample_inputs(_WARM_UP_HW))
        except Exception as error:
            kind = NotFiniteError if isinstance(error, NotFiniteError) else ModelError
            raise kind(f"{runtime} cannot run {path}: {error}") from error

    @property
    def input_names(self) -> tuple[str, ...]:
        """What the file needs of a frame, of "color_rgb", "depth_m" and "intrinsics"."""
        return self._contract.input_names

    @property
    def backend(self) -> str:
        """The runtime's version and where it runs."""
        return self._backend

    def sample_inputs(self, camera_hw: tuple[int, int]) -> dict[str, NDArray]:
        """A wall before a camera of this size, or of the size that the file was exported for."""
        return sample_arrays(self.input_names, self._session.inputs, camera_hw)

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Run the network on one frame.

        Args:
            inputs: for each of `input_names`: "color_rgb" (H, W, 3) uint8; "depth_m" (H, W) float32, metres, 0 = no
                measurement; "intrinsics" (4,) float32 fx, fy, cx, cy of that image in pixels.

        Raises:
            ModelError: the file was exported for images of another size.
        """
        results = self._session.run(self._outputs, self._contract.feeds(inputs, self._session.inputs))
        shapes = {name: array.shape for name, array in inputs.items()}
        return self._contract.read(dict(zip(self._outputs, results, strict=True)), shapes)
