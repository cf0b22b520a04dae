"""Reading of many textures at many points at once: layouts, levels of detail and bilinear look-up.

Vectors are (3, N) arrays, components first: NumPy works along the last axis, which must be long to be fast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from instance_seg_ros.synthetic.appearance import Appearance
from instance_seg_ros.synthetic.textures import texture_of

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


def main_axis(normals: Float32Array) -> npt.NDArray[np.intp]:
    """(N,) index of the largest component of (3, N) vectors, by magnitude."""
    x, y, z = np.abs(normals)
    return np.where(z >= np.maximum(x, y), 2, np.where(y > x, 1, 0))


class TextureTable:
    """Textures of several looks, packed to be read at many points at once.

    Args:
        looks: in the order of the indices that :meth:`albedo` takes.
    """

    def __init__(self, looks: Sequence[Appearance]) -> None:
        textures = [texture_of(look) for look in looks]
        self.gloss = np.array([t.gloss for t in textures], np.float32)
        self.shininess = np.array([t.shininess for t in textures], np.float32)
        self._fitted = np.array([look.layout != "tile" for look in looks])
        self._wrap = np.array([look.layout == "wrap" for look in looks])
        self._top = np.array([look.layout == "top" for look in looks])
        self._low = np.array([look.low_m for look in looks], np.float32).T
        self._extent = np.maximum(np.array([look.high_m for look in looks], np.float32).T - self._low, 1e-4)
        self._texels_per_m = np.array([self._density(look) for look in looks], np.float32)
        turn = np.array([t.turn for t in textures])
        self._cos_sin = np.stack([np.cos(turn), np.sin(turn)]).astype(np.float32)
        self._size_wh = np.array([t.levels_rgb[0].shape[1::-1] for t in textures], np.int32).T
        self._last_level = np.array([len(t.levels_rgb) - 1 for t in textures], np.int32)
        images = [image for t in textures for image in t.levels_rgb]
        starts = np.cumsum([0] + [image.shape[0] * image.shape[1] for image in images[:-1]])
        self._start = np.zeros((len(looks), int(self._last_level.max()) + 1), np.int32)
        first = 0
        for row, last in enumerate(self._last_level):
            self._start[row, : last + 1] = starts[first : first + last + 1]
            first += last + 1
        self._texels = np.ascontiguousarray(np.concatenate([image.reshape(-1, 3) for image in images]).T)

    def _density(self, look: Appearance) -> float:
        if look.layout == "tile":
            return look.size / look.tile_m
        if look.layout == "top":
            return look.size / max(float(np.max(np.subtract(look.high_m, look.low_m)[:2])), 1e-3)
        return look.size / 2 / max(float(np.mean(np.subtract(look.high_m, look.low_m))), 1e-3)

    def albedo(
        self, index: npt.NDArray[np.integer], points_m: Float32Array, normals: Float32Array, footprint_m: Float32Array
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
        cos, sin = self._cos_sin[0][index], self._cos_sin[1][index]
        density = self._texels_per_m[index]
        x = (cos * a - sin * b) * density + 37.0 * axis
        y = (sin * a + cos * b) * density
        fitted = np.flatnonzero(self._fitted[index])
        if len(fitted):
            x[fitted], y[fitted] = self._fit(index[fitted], points_m[:, fitted], normals[:, fitted], axis[fitted])
        detail = np.rint(np.log2(footprint_m * density))
        level = np.clip(detail, 0, self._last_level[index]).astype(np.int32)
        return self._read(index, level, x, y)

    def _fit(
        self,
        index: npt.NDArray[np.integer],
        points_m: Float32Array,
        normals: Float32Array,
        axis: npt.NDArray[np.intp],
    ) -> tuple[Float32Array, Float32Array]:
        """Texel coordinates in the ``faces``, ``wrap`` and ``top`` layouts."""
        width, height = (side[index].astype(np.float32) for side in self._size_wh)
        unit = np.clip((points_m - self._low[:, index]) / self._extent[:, index], 0.01, 0.99)
        u, v = np.where(axis == 0, unit[1], unit[0]), 1.0 - np.where(axis == 2, unit[1], unit[2])
        cell = height / 2
        x, y = (axis + u) * cell, ((np.choose(axis, normals) > 0) + v) * cell
        wrap = self._wrap[index]
        around = np.arctan2(points_m[1], points_m[0]) / (2 * np.pi) + 0.5
        cap = np.abs(normals[2]) > 0.8
        x = np.where(wrap, around * width, x)
        y = np.where(wrap, np.where(cap, 0.0, (1.0 - unit[2]) * height), y)
        top = self._top[index]
        x = np.where(top, unit[0] * width, x)
        y = np.where(top, (1.0 - unit[1]) * height, y)
        return x.astype(np.float32), y.astype(np.float32)

    def _read(self, index: npt.NDArray[np.integer], level: IntArray, x: Float32Array, y: Float32Array) -> Float32Array:
        """Bilinear look-up at texel coordinates of level 0, whose first texel's centre is at 0.5."""
        width, height = (side[index] >> level for side in self._size_wh)
        start = self._start[index, level]
        scale = np.ldexp(np.float32(1.0), -level)
        x, y = x * scale - np.float32(0.5), y * scale - np.float32(0.5)
        left, top = np.floor(x), np.floor(y)
        dx, dy = (x - left).astype(np.float32), (y - top).astype(np.float32)
        x0, y0 = left.astype(np.int32) & (width - 1), top.astype(np.int32) & (height - 1)
        x1, y1 = (x0 + 1) & (width - 1), (y0 + 1) & (height - 1)
        color = np.zeros((3, len(x)), np.float32)
        for column, share_x in ((x0, 1.0 - dx), (x1, dx)):
            for row, share_y in ((y0, 1.0 - dy), (y1, dy)):
                texel, share = start + row * width + column, share_x * share_y
                for channel, texels in zip(color, self._texels, strict=True):
                    channel += texels[texel] * share
        return color * np.float32(1.0 / 255.0)
