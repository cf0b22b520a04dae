"""The Segmenter protocol, and the one that runs a model file."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import NO_STUFF, Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation.color_alignment import depth_beside_color_px, moved
from instance_seg_ros.segmentation.contract import read_info
from instance_seg_ros.segmentation.families.stuff import walls_among_objects
from instance_seg_ros.segmentation.model_file import ModelError, ModelInfo, refuse_lfs_pointers
from instance_seg_ros.segmentation.model_location import located
from instance_seg_ros.segmentation.network import Network, instances_of, network_inputs, selected_instances
from instance_seg_ros.segmentation.postprocessing import Selection, stuff_image, to_instances, without_classes

if TYPE_CHECKING:
    from instance_seg_ros.segmentation.combined_segmenter import CombinedSegmenter

_LOGGER = logging.getLogger(__name__)


class Segmenter(Protocol):
    """Frame in, instances out."""

    @property
    def info(self) -> ModelInfo:
        """The model behind it."""

    @property
    def backend(self) -> str:
        """What runs the model at this moment, and why; one line for a person."""

    def segment(self, frame: RgbdFrame) -> Instances:
        """The instances of one frame, best score first."""


class NetworkSegmenter:
    """A segmenter around a network that keeps the model file's contract.

    Args:
        info: of the model file that the network runs.
        reason: why this backend runs the network, where that is not what the user asked for.
    """

    def __init__(self, network: Network, info: ModelInfo, settings: SegmentationSettings, reason: str = "") -> None:
        self._network = network
        self._settings = settings
        self._reason = reason
        self.info = info

    @property
    def backend(self) -> str:
        """What runs the model at this moment, and why."""
        return f"{self._network.backend} ({self._reason})" if self._reason else self._network.backend

    def ranked(self, frame: RgbdFrame, color_offset_px: tuple[int, int] | None = None) -> Instances:
        """Everything that the network has found in one frame, whatever its score; masks may overlap.

        For average precision, which looks at all thresholds.

        Args:
            color_offset_px: as that of `segment`.

        Raises:
            ModelError: the model takes images of another size.
        """
        inputs, color_moved_px = self._inputs(frame, color_offset_px)
        found = to_instances(
            without_classes(self._network(inputs), self.info.stuff_class_ids),
            (frame.intrinsics.width, frame.intrinsics.height),
            self.info.class_names,
            score_threshold=0.0,
            mask_threshold=self.info.mask_threshold,
            max_instances=sys.maxsize,
            min_mask_pixels=self._settings.min_mask_pixels,
            overlapping=True,
        )
        return self._published(found, color_moved_px)

    def segment(self, frame: RgbdFrame, color_offset_px: tuple[int, int] | None = None) -> Instances:
        """The instances of one frame, best score first, masks at the frame's size.

        Args:
            color_offset_px: how far colour is to be moved, of the image that this is a part of; estimated without it.

        Raises:
            ModelError: the model takes images of another size, or needs colour that the camera does not have.
        """
        settings = self._settings
        threshold = self.info.score_threshold if settings.score_threshold < 0 else settings.score_threshold
        threshold = self.info.calibration.raw(threshold)
        selection = Selection(threshold, self.info.mask_threshold, settings.max_instances, settings.min_mask_pixels)
        inputs, color_moved_px = self._inputs(frame, color_offset_px)
        if self.info.stuff_class_ids:
            return self._published(self._panoptic(inputs, selection), color_moved_px)
        found = instances_of(self._network, inputs, selection, self.info.class_names)
        return self._published(found, color_moved_px)

    def _panoptic(self, inputs: dict[str, NDArray], selection: Selection) -> Instances:
        """The objects, and beside them the stuff."""
        stuff = self.info.stuff_class_ids
        output = self._network(inputs)
        found = selected_instances(without_classes(output, stuff), inputs, selection, self.info.class_names)
        thresholds = selection.score_threshold, selection.mask_threshold
        seen = stuff_image(output, found.image_size_wh, stuff, *thresholds)
        seen[found.masks.any(axis=0)] = NO_STUFF
        return replace(found, stuff=seen)

    def _published(self, instances: Instances, color_moved_px: tuple[int, int]) -> Instances:
        """The same with scores as they are published, and how far colour was moved."""
        if self.info.calibration.changes_nothing and color_moved_px == instances.color_moved_px:
            return instances
        scores = self.info.calibration.published(instances.scores)
        return replace(instances, scores=scores, color_moved_px=color_moved_px)

    def color_offset_px(self, frame: RgbdFrame) -> tuple[int, int]:
        """How far to the right and down colour is to be moved onto the depth; (0, 0) unless the network sees both."""
        sees_both = {"color_rgb", "depth_m"} <= set(self._network.input_names)
        if not (self._settings.align_color and sees_both and frame.color_rgb is not None):
            return 0, 0
        offset_px = depth_beside_color_px(frame.color_rgb, frame.depth_m)
        if np.hypot(*offset_px) < 1:  # as likely noise, which would come and go from frame to frame
            return 0, 0
        right, down = np.rint(offset_px).astype(int).tolist()
        return right, down

    def _inputs(
        self, frame: RgbdFrame, color_offset_px: tuple[int, int] | None
    ) -> tuple[dict[str, NDArray], tuple[int, int]]:
        """What the network is given, and how far colour was moved onto the depth for it, in pixels."""
        if self.info.needs_color and frame.color_rgb is None:
            raise ModelError(f"the model {self.info.name} sees colour only, and this camera gives depth alone")
        offset_px = self.color_offset_px(frame) if color_offset_px is None else color_offset_px
        if frame.color_rgb is not None and offset_px != (0, 0):
            frame = replace(frame, color_rgb=moved(frame.color_rgb, offset_px))
        return network_inputs(frame, self._network.input_names), offset_px


def load_segmenter(path: Path | None, settings: SegmentationSettings) -> NetworkSegmenter | CombinedSegmenter:
    """The segmenter for a model, or for the shipped one when `path` is None.

    Args:
        path: a file, a folder of transformers, the name of one on the Hugging Face hub or of a shipped model.
        settings: of the segmentation.

    Raises:
        ModelError: when a model is missing, damaged, of no known family or does not run, or the backend that the
            settings ask for cannot run on this machine.
    """
    segmenters = [_load_one(path, settings)]
    if settings.second_model_path:
        segmenters.append(_load_one(Path(settings.second_model_path), settings))
    for segmenter in segmenters:
        if warning := walls_among_objects(segmenter.info):
            _LOGGER.warning("%s", warning)
    if len(segmenters) == 1 and settings.tile_width_px == 0:
        return segmenters[0]
    from instance_seg_ros.segmentation.combined_segmenter import CombinedSegmenter

    return CombinedSegmenter(segmenters, settings)


def _load_one(path: Path | None, settings: SegmentationSettings) -> NetworkSegmenter:
    path = located(path)
    # Imported here: code that brings a network of its own needs no ONNX Runtime.
    if path.is_dir():
        try:
            from instance_seg_ros.segmentation.runtimes.transformers_backend import TransformersNetwork
        except ImportError as error:
            raise ModelError(
                f"{path} is a folder, which takes transformers and PyTorch ({error}): pip install "
                "'instance_seg_ros[transformers]'"
            ) from error
        model = TransformersNetwork(path, settings.threads)
        return NetworkSegmenter(model, model.info, settings)
    if path.suffix == ".safetensors":
        refuse_lfs_pointers([path])
        try:
            from instance_seg_ros.segmentation.runtimes.torchvision_backend import TorchvisionNetwork
        except (ImportError, RuntimeError) as error:  # the latter of a torchvision that is made for another PyTorch
            raise ModelError(
                f"{path} is loaded by torchvision and safetensors ({error}): pip install torchvision safetensors, with "
                "the torchvision that is made for the installed PyTorch"
            ) from error
        loaded = TorchvisionNetwork(path, settings.threads)
        return NetworkSegmenter(loaded, loaded.info, settings)
    from instance_seg_ros.segmentation.runtime_choice import load_network

    read_info(path)  # refuses a damaged file before a runtime sees it
    network, served_path, reason = load_network(path, settings)
    return NetworkSegmenter(network, read_info(served_path), settings, reason)
