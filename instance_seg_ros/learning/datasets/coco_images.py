"""The pixels of a COCO data set's images. Needs no PyTorch, so that evaluation reads them as training does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import MAX_DEPTH_M
from instance_seg_ros.core.depth import decode_depth
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.learning.datasets.coco_data import CocoData, CocoError, CocoImage
from instance_seg_ros.messages.image_files import decode_image_file

_IMAGES_LOOKED_AT = 8
_PLAUSIBLE_DEPTH_M = (0.05, 8.0)


def median_depth_m(data: CocoData, unit_m: float) -> float | None:
    """The median depth of a few images, in metres: nothing else shows a wrong unit before the model fails.

    Args:
        data: the data set.
        unit_m: metres per unit of its depth files.

    Returns:
        The median; None where no image has depth.

    Raises:
        CocoError: their median is where no depth camera measures, or they hold no measurement at all.
        InputError: a file cannot be decoded, though its header was sound.
    """
    with_depth = [image for image in data.images if image.depth_path is not None]
    if not with_depth:
        return None
    every = -(-len(with_depth) // _IMAGES_LOOKED_AT)
    depths_m = [read_depth(image, unit_m) for image in with_depth[::every]]
    measured_m = np.concatenate([depth_m[depth_m > 0] for depth_m in depths_m])
    median_m = float(np.median(measured_m)) if measured_m.size else 0.0
    nearest_m, farthest_m = _PLAUSIBLE_DEPTH_M
    if not nearest_m <= median_m <= farthest_m:
        found = f"is {median_m:g} m in the median" if measured_m.size else f"has no value up to {MAX_DEPTH_M:g} m"
        raise CocoError(
            f"depth such as {with_depth[0].depth_path} {found}, its units taken for {unit_m:g} m; name the right "
            "unit by --depth-unit (0.001: millimetres, 0.0001: tenths of them)"
        )
    return median_m


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
        InputError: the file cannot be decoded, though its header was sound, or it is of another unit.
    """
    if image.depth_path is None:
        return np.zeros((image.camera.height, image.camera.width), dtype=np.float32)
    raw = _decoded(image, image.depth_path, cv2.IMREAD_UNCHANGED)
    try:
        return decode_depth(raw, unit_m)
    except ValueError as error:
        raise InputError(f"{image.depth_path}: {error}; name the right unit by --depth-unit") from error


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
