"""Geometry on the CPU, by NumPy and OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.compute.arrays import FrameArrays
from instance_seg_ros.core.camera import RgbdFrame


class NumpyCompute:
    """A `Compute` of NumPy: one instance after the other, so nothing is padded and a grasp too many is not checked."""

    name = "NumPy on the CPU"
    instances_at_once = 1
    grasps_at_once = 40

    def array(self, host: NDArray) -> NDArray:
        """Itself."""
        return host

    def constant(self, host: NDArray) -> NDArray:
        """Itself."""
        return host

    def host(self, array: NDArray) -> NDArray:
        """Itself."""
        return array

    def frame(self, frame: RgbdFrame) -> FrameArrays:
        """The frame's own arrays."""
        return FrameArrays(frame.depth_m, frame.intrinsics.rays, frame.intrinsics)

    def rows(self, values: NDArray, index: NDArray) -> NDArray:
        """See `Compute`."""
        return values[np.arange(len(values))[:, None], index]

    def stable_order(self, values: NDArray) -> NDArray[np.int64]:
        """See `Compute`."""
        return np.argsort(values, axis=-1, kind="stable")

    def true_places(self, mask: NDArray[np.bool_], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `Compute`."""
        places = np.zeros(ranks.shape, dtype=np.int64)
        for row, (own, wanted) in enumerate(zip(mask, ranks, strict=True)):
            found = np.flatnonzero(own)
            if len(found):
                places[row] = found[np.minimum(wanted, len(found) - 1)]
        return places

    def median(self, values: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """See `Compute`."""
        return np.array(
            [np.median(own[named]) if named.any() else 0.0 for own, named in zip(values, mask, strict=True)]
        )

    def dilated(self, image: NDArray, side_px: int) -> NDArray:
        """See `Compute`."""
        return _filtered(cv2.dilate, image, side_px)

    def eroded(self, mask: NDArray[np.bool_], side_px: int) -> NDArray[np.bool_]:
        """See `Compute`."""
        # OpenCV erodes from inside the image alone, so beyond its border all counts as true.
        return _filtered(cv2.erode, mask, side_px)

    def window_moments(
        self, image: NDArray[np.float32], radii_px: Sequence[int], powers_xy: Sequence[tuple[int, int]]
    ) -> list[NDArray[np.float32]]:
        """See `Compute`."""
        moments = [np.empty(image.shape, dtype=np.float32) for _ in powers_xy]
        for row, radius_px in enumerate(radii_px):
            offset = (np.arange(-radius_px, radius_px + 1) / radius_px).astype(np.float32)
            for moment, (x, y) in zip(moments, powers_xy, strict=True):
                moment[row] = cv2.sepFilter2D(
                    image[row], cv2.CV_32F, offset**x, offset**y, borderType=cv2.BORDER_CONSTANT
                )
        return moments


def _filtered(function: Callable[..., NDArray], image: NDArray, side_px: int) -> NDArray:
    """OpenCV's `dilate` or `erode` over the last two axes."""
    square = np.ones((side_px, side_px), np.uint8)
    planes = image.reshape(-1, *image.shape[-2:])
    planes = planes.view(np.uint8) if image.dtype == np.bool_ else planes
    return np.stack([function(plane, square) for plane in planes]).astype(image.dtype, copy=False).reshape(image.shape)
