"""The pixels of a COCO data set's images. Needs no PyTorch, so that evaluation reads them as training does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.camera import decode_depth
from instance_seg_ros.errors import InputError
from instance_seg_ros.image_codec import decode_image_file
from instance_seg_ros.training.coco_data import CocoImage


def read_color(image: CocoImage) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, as it is stored: an orientation tag turns nothing.

    Raises:
        InputError: the file cannot be decoded, though its header was sound.
    """
    pixels = _decoded(image, image.color_path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_depth(image: CocoImage, unit_m: float) -> NDArray[np.float32]:
    """(H, W) float32 metres, 0 = no measurement; all 0 for an image without depth.

    Args:
        image: of the data set.
        unit_m: metres per unit of the file.

    Raises:
        InputError: the file cannot be decoded, though its header was sound.
    """
    if image.depth_path is None:
        return np.zeros((image.camera.height, image.camera.width), dtype=np.float32)
    return decode_depth(_decoded(image, image.depth_path, cv2.IMREAD_UNCHANGED), unit_m)


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
