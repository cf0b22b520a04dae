"""Runs a model file with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

_INPUTS = {"color_rgb": "tensor(uint8)", "depth_m": "tensor(float)", "intrinsics": "tensor(float)"}
_OUTPUTS = ("boxes_xyxy", "scores", "class_ids", "masks", "mask_scale")
_OPTIONAL_OUTPUTS = ("mask_offset",)
_WARM_UP_HW = (48, 64)


class OnnxRuntimeNetwork:
    """A loaded network: the arrays of a frame that its inputs name in, NetworkOutput out."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load the file and run it once on an empty frame, so that a file which loads but cannot run is found now.

        Args:
            threads: CPU threads, 0 for ONNX Runtime's own choice (the physical cores).

        Raises:
            ModelError: when ONNX Runtime refuses the file, its inputs and outputs are not those of the contract, or the
                run fails.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise ModelError(f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error}") from error
        self._path = path
        self._shapes = {tensor.name: tuple(tensor.shape) for tensor in self._session.get_inputs()}
        self._outputs = self._check_contract()
        try:
            self({name: self._empty_input(name) for name in self._shapes})
        except Exception as error:
            raise ModelError(f"ONNX Runtime {onnxruntime.__version__} cannot run {path}: {error}") from error

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the file's inputs, of "color_rgb", "depth_m" and "intrinsics"."""
        return tuple(self._shapes)

    @property
    def backend(self) -> str:
        """ONNX Runtime's version and where it runs."""
        return f"ONNX Runtime {onnxruntime.__version__} on the CPU"

    def _check_contract(self) -> list[str]:
        """The names of the outputs to ask for."""
        inputs = {tensor.name: tensor.type for tensor in self._session.get_inputs()}
        outputs = {tensor.name for tensor in self._session.get_outputs()}
        if not inputs or not inputs.items() <= _INPUTS.items() or not outputs >= set(_OUTPUTS):
            raise ModelError(
                f"{self._path} takes {sorted(inputs)} and gives {sorted(outputs)}; "
                f"the contract is some of {sorted(_INPUTS)} and all of {sorted(_OUTPUTS)}"
            )
        return [*_OUTPUTS, *(name for name in _OPTIONAL_OUTPUTS if name in outputs)]

    def _empty_input(self, name: str) -> NDArray:
        """A frame without content; free axes are those of a small image."""
        if name == "intrinsics":
            height, width = _WARM_UP_HW
            return np.array([width, width, (width - 1) / 2, (height - 1) / 2], dtype=np.float32)
        free = iter(_WARM_UP_HW)
        shape = [side if isinstance(side, int) else next(free) for side in self._shapes[name]]
        return np.zeros(shape, dtype=np.uint8 if name == "color_rgb" else np.float32)

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Run the network on one frame.

        Args:
            inputs: for each of `input_names`: "color_rgb" (H, W, 3) uint8; "depth_m" (H, W) float32, metres, 0 = no
                measurement; "intrinsics" (4,) float32 fx, fy, cx, cy of that image in pixels.

        Raises:
            ModelError: the file was exported for images of another size.
        """
        for name, expected in self._shapes.items():
            actual = inputs[name].shape
            if any(isinstance(side, int) and side != given for side, given in zip(expected, actual, strict=True)):
                raise ModelError(
                    f"{self._path} was exported for {name} of shape {expected} and the camera gives {actual}; "
                    "export it for this camera's size"
                )
        feeds = {name: np.ascontiguousarray(inputs[name]) for name in self._shapes}
        return NetworkOutput(*self._session.run(self._outputs, feeds))
