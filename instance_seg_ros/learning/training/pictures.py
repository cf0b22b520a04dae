"""Predictions on training images, as a picture."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from instance_seg_ros.learning.datasets.training_samples import Batch
from instance_seg_ros.learning.export.model_writer import TRAINED_OUTPUT_NAMES
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.exported_graph import DecodingSettings, ExportedModel
from instance_seg_ros.results.drawing import color_of_track, depth_picture, fill_mask
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, to_instances

_SCORE_THRESHOLD, _MASK_THRESHOLD = 0.4, 0.5
_MIN_MASK_PIXELS = 20


@torch.no_grad()
def prediction_picture(model: CondInst, batch: Batch, count: int = 4) -> NDArray[np.uint8]:
    """The first images of a batch side by side with what the network finds on them: (H, count * W, 3) uint8 RGB.

    Args:
        model: on the CPU, in evaluation mode.
        batch: on the CPU.
        count: largest number of images.
    """
    exported = ExportedModel(model, DecodingSettings())
    names = tuple(f"class {index}" for index in range(model.config.num_classes))
    panels = []
    for depth_m, intrinsics, color_rgb in zip(
        batch.depth_m[:count, 0], batch.intrinsics[:count], batch.color_rgb[:count].permute(0, 2, 3, 1), strict=True
    ):
        outputs = exported(depth_m, intrinsics, color_rgb if model.config.color_channels else None)
        arrays = {name: value.numpy() for name, value in zip(TRAINED_OUTPUT_NAMES, outputs, strict=True)}
        height, width = depth_m.shape
        instances = to_instances(
            NetworkOutput(**arrays),
            (width, height),
            names,
            _SCORE_THRESHOLD,
            _MASK_THRESHOLD,
            exported.settings.max_instances,
            _MIN_MASK_PIXELS,
        )
        panel = color_rgb.numpy().copy() if color_rgb.any() else depth_picture(depth_m.numpy())
        for index, mask in enumerate(instances.masks):
            fill_mask(panel, mask, color_of_track(index))
        panels.append(panel)
    return np.concatenate(panels, axis=1)
