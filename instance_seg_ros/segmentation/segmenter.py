"""The Segmenter protocol, and the one that runs a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from numpy.typing import NDArray

from instance_seg_ros.camera import RgbdFrame
from instance_seg_ros.config import SegmentationSettings
from instance_seg_ros.instances import Instances
from instance_seg_ros.segmentation.model_file import ModelError, ModelInfo, default_model_path, read_model_info
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, to_instances


class Network(Protocol):
    """What a backend makes of a model file: the arrays that its inputs name in, NetworkOutput out."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of its inputs, keys of `network_inputs`."""

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the network on one frame."""


def network_inputs(frame: RgbdFrame, names: tuple[str, ...]) -> dict[str, NDArray]:
    """The arrays of a frame that a network asks for by name.

    Args:
        frame: of the camera.
        names: of "color_rgb" (H, W, 3) uint8, "depth_m" (H, W) float32 and "intrinsics" (4,) float32 fx, fy, cx, cy.

    Raises:
        ModelError: the network needs colour and the camera has none.
    """
    arrays: dict[str, NDArray] = {"depth_m": frame.depth_m, "intrinsics": frame.intrinsics.fx_fy_cx_cy}
    if frame.color_rgb is not None:
        arrays["color_rgb"] = frame.color_rgb
    elif "color_rgb" in names:
        raise ModelError("the model needs colour images and this camera gives none; use a model of depth alone")
    return {name: arrays[name] for name in names}


class Segmenter(Protocol):
    """Frame in, instances out."""

    @property
    def info(self) -> ModelInfo:
        """The model behind it."""

    def segment(self, frame: RgbdFrame) -> Instances:
        """The instances of one frame, best score first."""


class NetworkSegmenter:
    """A segmenter around a network that keeps the model file's contract."""

    def __init__(self, network: Network, info: ModelInfo, settings: SegmentationSettings) -> None:
        self._network = network
        self._settings = settings
        self.info = info

    def segment(self, frame: RgbdFrame) -> Instances:
        """The instances of one frame, best score first, masks at the frame's size.

        Raises:
            ModelError: the model needs colour that the frame lacks, or takes images of another size.
        """
        settings = self._settings
        return to_instances(
            self._network(network_inputs(frame, self._network.input_names)),
            (frame.intrinsics.width, frame.intrinsics.height),
            self.info.class_names,
            score_threshold=self.info.score_threshold if settings.score_threshold < 0 else settings.score_threshold,
            mask_threshold=self.info.mask_threshold,
            max_instances=settings.max_instances,
            min_mask_pixels=settings.min_mask_pixels,
        )


def load_segmenter(path: Path | None, settings: SegmentationSettings) -> NetworkSegmenter:
    """The segmenter for a model file, or for the shipped model when `path` is None.

    Raises:
        ModelError: when the file is missing, damaged, foreign or does not run.
    """
    # Imported here: whoever brings a network of their own needs no ONNX Runtime.
    from instance_seg_ros.segmentation.onnxruntime_backend import OnnxRuntimeNetwork

    model_path = default_model_path() if path is None else path
    info = read_model_info(model_path)
    network = OnnxRuntimeNetwork(model_path, settings.threads)
    return NetworkSegmenter(network, info, settings)
