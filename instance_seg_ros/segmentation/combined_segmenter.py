"""A segmenter that looks more than once: at tiles of the image, and with a second model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import SegmentationSettings
from instance_seg_ros.segmentation.combining import Look, combined, cropped, tiles
from instance_seg_ros.segmentation.model_file import ModelError, joined_info
from instance_seg_ros.segmentation.segmenter import NetworkSegmenter

_MOST_TILES_A_ROW = 4


class CombinedSegmenter:
    """What one or two segmenters find in the whole image and in its tiles.

    Args:
        segmenters: at least one, each of another model.
        settings: `tile_width_px`, `tile_overlap`, `max_instances` and `min_mask_pixels` are used.
    """

    def __init__(self, segmenters: Sequence[NetworkSegmenter], settings: SegmentationSettings) -> None:
        self._segmenters = tuple(segmenters)
        self._settings = settings
        self.info = joined_info([segmenter.info for segmenter in segmenters])

    @property
    def backend(self) -> str:
        """What runs each model, and why."""
        return "; ".join(segmenter.backend for segmenter in self._segmenters)

    def segment(self, frame: RgbdFrame) -> Instances:
        """The instances of one frame, best score first, masks at the frame's size without overlap.

        Raises:
            ModelError: as the segmenters'.
        """
        settings = self._settings
        return self._combined(frame, NetworkSegmenter.segment, settings.max_instances, overlapping=False)

    def ranked(self, frame: RgbdFrame) -> Instances:
        """Everything that was found in one frame, whatever its score; masks may overlap.

        Raises:
            ModelError: as the segmenters'.
        """
        return self._combined(frame, NetworkSegmenter.ranked, sys.maxsize, overlapping=True)

    def _combined(
        self,
        frame: RgbdFrame,
        look: Callable[[NetworkSegmenter, RgbdFrame, tuple[int, int]], Instances],
        max_instances: int,
        overlapping: bool,
    ) -> Instances:
        size_wh = frame.intrinsics.width, frame.intrinsics.height
        width_px = self._settings.tile_width_px
        if 0 < width_px * _MOST_TILES_A_ROW < size_wh[0]:
            raise ModelError(
                f"tile_width_px is {width_px}, less than a quarter of the image's width ({size_wh[0]}); a frame would "
                "take too long"
            )
        parts = tiles(size_wh, width_px, self._settings.tile_overlap)
        looks = []
        for segmenter in self._segmenters:
            offset_px = segmenter.color_offset_px(frame)  # of the whole: what parts tell of it differs by pixels
            looks += [Look(part, look(segmenter, cropped(frame, part), offset_px), level=0) for part in parts]
            looks.append(Look((0, 0, *size_wh), look(segmenter, frame, offset_px), level=1))
        names, least = self.info.class_names, self._settings.min_mask_pixels
        return combined(looks, size_wh, names, least, max_instances, overlapping)
