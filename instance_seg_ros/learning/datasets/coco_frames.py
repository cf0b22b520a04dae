"""Frames of a COCO data set."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from instance_seg_ros.learning.datasets.coco_data import CocoData, CocoFiles, label_image
from instance_seg_ros.learning.datasets.coco_images import read_color, read_depth
from instance_seg_ros.learning.datasets.training_samples import Images


class CocoFrames:
    """A `FrameSource` of a data set's images, with depth where it has any.

    Args:
        data: what `read_coco` read.
        files: what it was read from.
        color: give colour; without it, images that have no depth are left out.

    Raises:
        ValueError: nothing is left.
    """

    def __init__(self, data: CocoData, files: CocoFiles, color: bool = True) -> None:
        self._images = data.images if color else tuple(image for image in data.images if image.depth_path is not None)
        if not self._images:
            raise ValueError(f"no image of {files.instances} has depth, and colour is not to be used")
        self._files = files
        self._color = color
        self.class_names = data.class_names

    def __len__(self) -> int:
        return len(self._images)

    @property
    def incomplete_share(self) -> float:
        """Share of the images without depth."""
        return sum(image.depth_path is None for image in self._images) / len(self._images)

    def images(self, index: int, rng: np.random.Generator) -> Images:
        """A frame at its own size; nothing about it is random.

        Raises:
            InputError: a file cannot be decoded, though its header was sound.
        """
        image = self._images[index]
        ids, class_ids = label_image(image)
        color = read_color(image) if self._color else None
        return Images(read_depth(image, self._files.depth_unit_m), ids, image.camera.fx_fy_cx_cy, class_ids, color)

    def facts(self) -> dict[str, Any]:
        """Name, size and classes of the data set."""
        regions = [region for image in self._images for region in image.regions if region.class_index is not None]
        counts = Counter(self.class_names[region.class_index] for region in regions if region.class_index is not None)
        return {"coco": self._files.instances.name, "frames": len(self), "instances": dict(counts)}
