"""A model file in any runtime that loads ONNX graphs: the contract, checked in the same way for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, NotFiniteError

_INPUT_TYPES: dict[str, DTypeLike] = {"color_rgb": np.uint8, "depth_m": np.float32, "intrinsics": np.float32}
_OUTPUTS = ("boxes_xyxy", "scores", "class_ids", "masks", "mask_scale")
_OPTIONAL_OUTPUTS = ("mask_offset", "mask_upsampling")
_SAMPLE_VALUES = {"color_rgb": 0, "depth_m": 0.8, "intrinsics": 300}
_WARM_UP_HW = (48, 64)


@dataclass(frozen=True)
class GraphInput:
    """An input of a graph.

    Attributes:
        type_name: of its elements as NumPy calls them, such as "float32", or as the runtime does.
        shape: None for sides of any size.
    """

    type_name: str
    shape: tuple[int | None, ...]


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
        self._outputs = self._check_contract()
        try:
            self(self.sample_inputs(_WARM_UP_HW))
        except Exception as error:
            kind = NotFiniteError if isinstance(error, NotFiniteError) else ModelError
            raise kind(f"{runtime} cannot run {path}: {error}") from error

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the file's inputs, of "color_rgb", "depth_m" and "intrinsics"."""
        return tuple(self._session.inputs)

    @property
    def backend(self) -> str:
        """The runtime's version and where it runs."""
        return self._backend

    def sample_inputs(self, camera_hw: tuple[int, int]) -> dict[str, NDArray]:
        """A wall before a camera of this size, or of the size that the file was exported for."""
        samples: dict[str, NDArray] = {}
        for name, tensor in self._session.inputs.items():
            free = iter(camera_hw)
            shape = [next(free) if side is None else side for side in tensor.shape]
            samples[name] = np.full(shape, _SAMPLE_VALUES[name], dtype=_INPUT_TYPES[name])
        return samples

    def _check_contract(self) -> list[str]:
        """The names of the outputs to ask for."""
        inputs = {name: tensor.type_name for name, tensor in self._session.inputs.items()}
        wanted = {name: np.dtype(element).name for name, element in _INPUT_TYPES.items()}
        outputs = set(self._session.outputs)
        if not inputs or not inputs.items() <= wanted.items() or not outputs >= set(_OUTPUTS):
            raise ModelError(
                f"{self._path} takes {_listed(inputs)} and gives {', '.join(sorted(outputs))}; the contract is some of "
                f"{_listed(wanted)} and all of {', '.join(sorted(_OUTPUTS))}"
            )
        return [*_OUTPUTS, *(name for name in _OPTIONAL_OUTPUTS if name in outputs)]

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Run the network on one frame.

        Args:
            inputs: for each of `input_names`: "color_rgb" (H, W, 3) uint8; "depth_m" (H, W) float32, metres, 0 = no
                measurement; "intrinsics" (4,) float32 fx, fy, cx, cy of that image in pixels.

        Raises:
            ModelError: the file was exported for images of another size.
        """
        feeds = {}
        for name, tensor in self._session.inputs.items():
            actual = inputs[name].shape
            if any(side not in (None, given) for side, given in zip(tensor.shape, actual, strict=True)):
                raise ModelError(
                    f"{self._path} was exported for {name} of shape {tensor.shape} and the camera gives {actual}; "
                    "export it for this camera's size"
                )
            feeds[name] = np.ascontiguousarray(inputs[name])
        return NetworkOutput(**dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True)))


def _listed(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({element})" for name, element in sorted(types.items()))
