"""Frames of a COCO data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.camera import decode_depth
from instance_seg_ros.errors import InputError
from instance_seg_ros.image_codec import decode_image_file
from instance_seg_ros.training.coco_data import CocoData, CocoFiles, CocoImage, label_image
from instance_seg_ros.training.dataset import Images


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

    def images(self, index: int, rng: np.random.Generator) -> Images:
        """A frame at its own size; nothing about it is random.

        Raises:
            InputError: a file cannot be decoded, though its header was sound.
        """
        image = self._images[index]
        ids, class_ids = label_image(image)
        color = self._read_color(image) if self._color else None
        return Images(self._read_depth(image), ids, image.camera.fx_fy_cx_cy, class_ids, color)

    def facts(self) -> dict[str, Any]:
        """Name, size and classes of the data set."""
        regions = [region for image in self._images for region in image.regions if region.class_index is not None]
        counts = Counter(self.class_names[region.class_index] for region in regions if region.class_index is not None)
        return {"coco": self._files.instances.name, "frames": len(self), "instances": dict(counts)}

    def _read_color(self, image: CocoImage) -> NDArray[np.uint8]:
        pixels = _decoded(image, image.color_path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def _read_depth(self, image: CocoImage) -> NDArray[np.float32]:
        if image.depth_path is None:
            return np.zeros((image.camera.height, image.camera.width), dtype=np.float32)
        return decode_depth(_decoded(image, image.depth_path, cv2.IMREAD_UNCHANGED), self._files.depth_unit_m)


def _decoded(image: CocoImage, path: Path, flags: int) -> NDArray[Any]:
    """The pixels of a file, of the size that its header named."""
    try:
        pixels = decode_image_file(path.read_bytes(), flags)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}; repair it, or remove it from the annotations") from error
    if pixels.shape[:2] != (image.camera.height, image.camera.width):
        raise InputError(
            f"{path} is not of the size that its header names; repair it, or remove it from the annotations"
        )
    return pixels
