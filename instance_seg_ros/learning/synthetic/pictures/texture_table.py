"""Reading of many textures at many points at once: layouts, levels of detail and bilinear look-up.

Vectors are (3, N) arrays, components first: NumPy works along the last axis, which must be long to be fast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance
from instance_seg_ros.learning.synthetic.pictures.textures import texture_of

Float32Array = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.intp]
AxisArray = npt.NDArray[np.uint8]

_LAYOUTS = ("tile", "faces", "wrap", "top")


def main_axis(normals: Float32Array) -> AxisArray:
    """(N,) index of the largest component of (3, N) vectors, by magnitude."""
    x, y, z = np.abs(normals)
    return np.where(z >= np.maximum(x, y), np.uint8(2), y > x)


def faces_up(normals: Float32Array, axis: AxisArray) -> npt.NDArray[np.bool_]:
    """(N,) whether the component of each of (3, N) vectors along its ``axis`` is positive."""
    x, y, z = normals > 0
    return np.where(axis == 2, z, np.where(axis == 1, y, x))


class TextureTable:
    """Textures of several looks, packed to be read at many points at once.

    Args:
        looks: in the order of the indices that :meth:`albedo` takes.
    """

    def __init__(self, looks: Sequence[Appearance]) -> None:
        textures = [texture_of(look) for look in looks]
        self.gloss = np.array([t.gloss for t in textures], np.float32)
        self.shininess = np.array([t.shininess for t in textures], np.float32)
        self._layout = np.array([_LAYOUTS.index(look.layout) for look in looks], np.uint8)
        self._low = np.ascontiguousarray(np.array([look.low_m for look in looks], np.float32).T)
        high = np.array([look.high_m for look in looks], np.float32).T
        self._extent = np.ascontiguousarray(np.maximum(high - self._low, 1e-4))
        self._texels_per_m = np.array([self._density(look) for look in looks], np.float32)
        turn = np.array([t.turn for t in textures])
        self._cos_sin = np.stack([np.cos(turn), np.sin(turn)]).astype(np.float32)
        self._size_wh = np.ascontiguousarray(np.array([t.levels_rgb[0].shape[1::-1] for t in textures], np.float32).T)
        # All levels of all textures follow each other as images, whose texels follow each other as well.
        levels = np.array([len(t.levels_rgb) for t in textures], np.int32)
        self._last_level = (levels - 1).astype(np.float32)
        self._first_image = np.cumsum(levels, dtype=np.int32) - levels
        images = [image for t in textures for image in t.levels_rgb]
        height, width = np.array([image.shape[:2] for image in images], np.int32).T
        self._image_size = np.stack([height, width])
        self._image_start = np.cumsum(height * width, dtype=np.int32) - height * width
        self._image_scale = np.concatenate([np.float32(0.5) ** np.arange(n, dtype=np.float32) for n in levels])
        self._texels = np.concatenate([t.texels for t in textures])

    def _density(self, look: Appearance) -> float:
        if look.layout == "tile":
            return look.size / look.tile_m
        if look.layout == "top":
            return look.size / max(float(np.max(np.subtract(look.high_m, look.low_m)[:2])), 1e-3)
        return look.size / 2 / max(float(np.mean(np.subtract(look.high_m, look.low_m))), 1e-3)

    def albedo(
        self, index: IndexArray, points_m: Float32Array, normals: Float32Array, footprint_m: Float32Array
    ) -> Float32Array:
        """(3, N) colour in [0, 1].

        Args:
            index: (N,) which look.
            points_m: (3, N) points in the frame of their shape.
            normals: (3, N) normals there.
            footprint_m: (N,) width of what one pixel sees, which picks the level of detail.
        """
        axis = main_axis(normals)
        a = np.where(axis == 0, points_m[1], points_m[0])
        b = np.where(axis == 2, points_m[1], points_m[2])
        cos, sin = self._cos_sin.take(index, axis=1)
        density = self._texels_per_m.take(index)
        x = (cos * a - sin * b) * density + 37.0 * axis
        y = (sin * a + cos * b) * density
        layout = self._layout.take(index)
        for number, place in enumerate((self._on_faces, self._around, self._on_top), start=1):
            here = np.flatnonzero(layout == number)
            if len(here):
                parts = index.take(here), points_m.take(here, axis=1), normals.take(here, axis=1), axis.take(here)
                x[here], y[here] = place(*parts)
        level = np.clip(np.rint(np.log2(footprint_m * density)), 0, self._last_level.take(index))
        return self._read(self._first_image.take(index) + level.astype(np.int32), x, y)

    def _on_faces(
        self, index: IndexArray, points_m: Float32Array, normals: Float32Array, axis: AxisArray
    ) -> tuple[Float32Array, Float32Array]:
        """Texel coordinates in the ``faces`` layout."""
        cell = self._size_wh[1].take(index) / 2
        unit = self._in_box(index, points_m)
        u, v = np.where(axis == 0, unit[1], unit[0]), 1.0 - np.where(axis == 2, unit[1], unit[2])
        return (axis + u) * cell, (faces_up(normals, axis) + v) * cell

    def _around(
        self, index: IndexArray, points_m: Float32Array, normals: Float32Array, axis: AxisArray
    ) -> tuple[Float32Array, Float32Array]:
        """Texel coordinates in the ``wrap`` layout."""
        width, height = self._size_wh.take(index, axis=1)
        around = np.arctan2(points_m[1], points_m[0]) / (2 * np.pi) + 0.5
        is_side = np.abs(normals[2]) <= 0.8
        return around * width, is_side * ((1.0 - self._in_box(index, points_m)[2]) * height)

    def _on_top(
        self, index: IndexArray, points_m: Float32Array, normals: Float32Array, axis: AxisArray
    ) -> tuple[Float32Array, Float32Array]:
        """Texel coordinates in the ``top`` layout."""
        width, height = self._size_wh.take(index, axis=1)
        u, v, _ = self._in_box(index, points_m)
        return u * width, (1.0 - v) * height

    def _in_box(self, index: IndexArray, points_m: Float32Array) -> Float32Array:
        """(3, N) where points lie in the bounding box of their shape, from 0 to 1 but for a margin."""
        share = (points_m - self._low.take(index, axis=1)) / self._extent.take(index, axis=1)
        return np.clip(share, 0.01, 0.99)

    def _read(self, image: npt.NDArray[np.int32], x: Float32Array, y: Float32Array) -> Float32Array:
        """Bilinear look-up at texel coordinates of level 0, whose first texel's centre is at 0.5."""
        height, width = self._image_size.take(image, axis=1)
        start, scale = self._image_start.take(image), self._image_scale.take(image)
        x, y = x * scale - np.float32(0.5), y * scale - np.float32(0.5)
        left, top = np.floor(x), np.floor(y)
        dx, dy = (x - left).astype(np.float32), (y - top).astype(np.float32)
        # Sides are powers of 2, so that a mask of bits repeats them.
        x0, y0 = left.astype(np.int32) & (width - 1), top.astype(np.int32) & (height - 1)
        x1, y1 = (x0 + 1) & (width - 1), (y0 + 1) & (height - 1)
        row0, row1 = start + y0 * width, start + y1 * width
        color = np.zeros((3, len(x)), np.float32)
        for column, share_x in ((x0, 1.0 - dx), (x1, dx)):
            for row, share_y in ((row0, 1.0 - dy), (row1, dy)):
                # One read gives all channels.
                texel, share = self._texels.take(row + column).view(np.uint8).reshape(-1, 4), share_x * share_y
                for channel, value in zip(color, texel.T[:3], strict=True):
                    channel += value * share
        color *= np.float32(1.0 / 255.0)
        return color
