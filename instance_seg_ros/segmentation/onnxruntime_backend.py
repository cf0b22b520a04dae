"""Runs a model file with ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

_INPUTS = {"depth_m", "intrinsics"}
_OUTPUTS = ["boxes_xyxy", "scores", "class_ids", "masks", "mask_scale"]


class OnnxRuntimeNetwork:
    """A loaded network: depth and intrinsics in, NetworkOutput out."""

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
        self._check_contract(path)
        try:
            self(np.zeros((48, 64), dtype=np.float32), np.array([60, 60, 31.5, 23.5], dtype=np.float32))
        except Exception as error:
            raise ModelError(f"ONNX Runtime {onnxruntime.__version__} cannot run {path}: {error}") from error

    def _check_contract(self, path: Path) -> None:
        inputs = {tensor.name for tensor in self._session.get_inputs()}
        outputs = {tensor.name for tensor in self._session.get_outputs()}
        if inputs != _INPUTS or not outputs >= set(_OUTPUTS):
            raise ModelError(
                f"{path} takes {sorted(inputs)} and gives {sorted(outputs)}; "
                f"the contract is {sorted(_INPUTS)} and {sorted(_OUTPUTS)}"
            )

    def __call__(self, depth_m: NDArray[np.float32], fx_fy_cx_cy: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on one frame.

        Args:
            depth_m: (H, W) float32 of any size, metres, 0 = no measurement.
            fx_fy_cx_cy: (4,) float32, the intrinsics of that image in pixels.
        """
        feeds = {"depth_m": np.ascontiguousarray(depth_m), "intrinsics": fx_fy_cx_cy}
        return NetworkOutput(*self._session.run(_OUTPUTS, feeds))
