"""Equal windows around the objects of an image, so that all objects are one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.compute.arrays import Array, Compute, FrameArrays, namespace


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of h x w pixels, B of them, each as large as the largest crop that is asked for.

    Attributes:
        crops: rows and columns of each crop; its window begins there too, and may reach beyond the image.
        rows: (B, h, 1) int64, of the image, none beyond its border.
        columns: (B, 1, w) int64 likewise.
        beyond: (B, h, w) bool, what lies beyond the image's border.
    """

    crops: Sequence[tuple[slice, slice]]
    rows: Array
    columns: Array
    beyond: Array

    @classmethod
    def around(cls, crops: Sequence[tuple[slice, slice]], image_hw: tuple[int, int], compute: Compute) -> Windows:
        """The windows for crops that lie inside an image of this size."""
        height, width = (max(crop[axis].stop - crop[axis].start for crop in crops) for axis in (0, 1))
        rows = np.array([crop[0].start for crop in crops])[:, None, None] + np.arange(height)[:, None]
        columns = np.array([crop[1].start for crop in crops])[:, None, None] + np.arange(width)
        beyond = (rows >= image_hw[0]) | (columns >= image_hw[1])
        inside = (np.minimum(rows, image_hw[0] - 1), np.minimum(columns, image_hw[1] - 1))
        return cls(crops, *(compute.array(index) for index in (*inside, beyond)))

    def depth_m(self, frame: FrameArrays) -> Array:
        """(B, h, w) float32, 0 beyond the image."""
        return namespace(self.beyond).where(self.beyond, 0, frame.depth_m[self.rows, self.columns])

    def rays(self, frame: FrameArrays) -> Array:
        """(B, h, w, 2) float32, some ray beyond the image."""
        return frame.rays[self.rows, self.columns]

    def filled(self, parts: Sequence[NDArray[np.bool_]], compute: Compute) -> Array:
        """(B, h, w) bool: an image for each crop, of its size; false around it."""
        windows = np.zeros((len(parts), self.rows.shape[1], self.columns.shape[2]), dtype=bool)
        for window, part in zip(windows, parts, strict=True):
            window[: part.shape[0], : part.shape[1]] = part
        return compute.array(windows)

    def parts(self, windows: NDArray) -> list[NDArray]:
        """The crops of (B, h, w), each of its own size."""
        return [
            window[: rows.stop - rows.start, : columns.stop - columns.start]
            for window, (rows, columns) in zip(windows, self.crops, strict=True)
        ]
