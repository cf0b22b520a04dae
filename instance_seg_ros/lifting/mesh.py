"""The completed shape of an object as a coarse mesh, which tells what was measured of it from what was assumed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import OrientedBox
from instance_seg_ros.lifting.columns import Columns
from instance_seg_ros.lifting.completion import pixels_of
from instance_seg_ros.lifting.solid import Body, Revolution

FloatArray = NDArray[np.float64]

_MEASURED_M = 0.006
"""A vertex was measured where the camera saw the object within this of it; beyond 1 m, this share of its depth."""
_CELLS = 12
"""Columns are drawn together to so many at most along either side."""
_SECTORS = 24
_RINGS = 10


@dataclass(frozen=True, eq=False)
class ShapeMesh:
    """A closed mesh of an object.

    Attributes:
        vertices_m: (V, 3) float32, in the frame of the object's box.
        triangles: (F, 3) uint16, indices of vertices, anticlockwise from outside.
        measured: (V,) bool, the vertices that lie on what the camera saw of the object; the others are assumed.

    Raises:
        ValueError: on a wrong shape or dtype, or an index that there is not.
    """

    vertices_m: NDArray[np.float32]
    triangles: NDArray[np.uint16]
    measured: NDArray[np.bool_]

    def __post_init__(self) -> None:
        count = len(self.vertices_m)
        if self.vertices_m.shape != (count, 3) or self.vertices_m.dtype != np.float32:
            raise ValueError(f"vertices_m must be (V, 3) float32, not {self.vertices_m.shape} {self.vertices_m.dtype}")
        if self.triangles.shape != (len(self.triangles), 3) or self.triangles.dtype != np.uint16:
            raise ValueError(f"triangles must be (F, 3) uint16, not {self.triangles.shape} {self.triangles.dtype}")
        if self.measured.shape != (count,) or self.measured.dtype != np.bool_:
            raise ValueError(f"measured must be ({count},) bool, not {self.measured.shape} {self.measured.dtype}")
        if self.triangles.size and int(self.triangles.max()) >= count:
            raise ValueError(f"triangles name vertex {int(self.triangles.max())} of {count}")


def mesh_of(
    solid: Revolution | Columns, body: Body, box: OrientedBox, frame: RgbdFrame, mask: NDArray[np.bool_]
) -> ShapeMesh:
    """The mesh of an object's solid.

    Args:
        body: whose frame the solid is in.
        box: of the object.
        mask: (H, W) bool, of the object.
    """
    vertices_m, triangles = _of_revolution(solid) if isinstance(solid, Revolution) else _of_columns(solid)
    in_camera_m = body.in_camera(vertices_m)
    rows, columns, inside = pixels_of(in_camera_m, frame)
    seen_m = frame.depth_m[rows, columns]
    within_m = _MEASURED_M * np.maximum(seen_m, 1)
    measured = inside & mask[rows, columns] & (seen_m > 0) & (np.abs(seen_m - in_camera_m[:, 2]) < within_m)
    in_box_m = box.T_camera_box.inverse().apply(in_camera_m)
    return ShapeMesh(in_box_m.astype(np.float32), triangles.astype(np.uint16), measured)


def _of_revolution(solid: Revolution) -> tuple[FloatArray, NDArray[np.int64]]:
    """Rings from the middle of its floor up its outside and, where it is hollow, down its inside to the middle."""
    heights_m, radii_m, inner_m = solid.heights_m, solid.radii_m, solid.inner_m
    half_m = (heights_m[1] - heights_m[0]) / 2
    levels_m = np.linspace(heights_m[0] - half_m, heights_m[-1] + half_m, _RINGS)
    profile = [(0.0, levels_m[0]), *zip(np.interp(levels_m, heights_m, radii_m), levels_m, strict=True)]
    hollow = inner_m > 0
    if hollow.any():
        floor_m = heights_m[hollow][0] - half_m
        within_m = np.linspace(levels_m[-1], floor_m, _RINGS // 2)
        profile += zip(np.interp(within_m, heights_m[hollow], inner_m[hollow]), within_m, strict=True)
        profile.append((0.0, floor_m))
    else:
        profile.append((0.0, levels_m[-1]))
    angles = np.arange(_SECTORS) * 2 * np.pi / _SECTORS
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ solid.stretch.T
    rings = [np.column_stack([solid.axis_m + radius_m * circle, np.full(_SECTORS, z_m)]) for radius_m, z_m in profile]
    first, last = (np.array([[*solid.axis_m, z_m]]) for z_m in (profile[0][1], profile[-1][1]))
    vertices_m = np.concatenate([first, *rings[1:-1], last])
    here, beside = np.arange(_SECTORS), (np.arange(_SECTORS) + 1) % _SECTORS
    triangles = [np.stack([np.zeros_like(here), 1 + beside, 1 + here], axis=1)]
    for ring in range(len(rings) - 3):
        lower, upper = 1 + ring * _SECTORS, 1 + (ring + 1) * _SECTORS
        triangles.append(np.stack([lower + here, lower + beside, upper + beside], axis=1))
        triangles.append(np.stack([lower + here, upper + beside, upper + here], axis=1))
    top = 1 + (len(rings) - 3) * _SECTORS
    triangles.append(np.stack([top + here, top + beside, np.full_like(here, len(vertices_m) - 1)], axis=1))
    return vertices_m, np.concatenate(triangles)


def _of_columns(solid: Columns) -> tuple[FloatArray, NDArray[np.int64]]:
    """A field of quadrangles above and one below, with walls where it ends."""
    tops_m, bottoms_m, own, limits = _drawn_together(solid)
    across, along = own.shape
    # Corners: the mean of the columns around each that are not empty.
    padded = np.pad(own, 1).astype(float)
    around = sum(padded[i : i + across + 1, j : j + along + 1] for i in (0, 1) for j in (0, 1))
    corner_m = []
    for heights_m in (bottoms_m, tops_m):
        values = np.pad(np.where(own, heights_m, 0), 1)
        total_m = sum(values[i : i + across + 1, j : j + along + 1] for i in (0, 1) for j in (0, 1))
        corner_m.append(total_m / np.maximum(around, 1))
    places = np.stack(np.meshgrid(*limits, indexing="ij"), axis=-1)
    flat_m = (solid.low_m + places * solid.size_m) @ solid.axes
    vertices_m = np.concatenate(
        [np.concatenate([flat_m, heights_m[..., None]], axis=-1).reshape(-1, 3) for heights_m in corner_m]
    )
    number = np.arange((across + 1) * (along + 1)).reshape(across + 1, along + 1)
    above = len(vertices_m) // 2
    a, b, c, d = number[:-1, :-1][own], number[1:, :-1][own], number[1:, 1:][own], number[:-1, 1:][own]
    quads = [np.stack([a, b, c, d], axis=1) + above, np.stack([a, d, c, b], axis=1)]
    edges = {(-1, 0): (d, a), (1, 0): (b, c), (0, -1): (a, b), (0, 1): (c, d)}
    framed = np.pad(own, 1)
    for (i, j), (start, end) in edges.items():
        ends = ~framed[1 + i : 1 + i + across, 1 + j : 1 + j + along][own]
        s, e = start[ends], end[ends]
        quads.append(np.stack([s, e, e + above, s + above], axis=1))
    quad = np.concatenate(quads)
    if np.linalg.det(solid.axes) < 0:
        quad = quad[:, ::-1]
    triangles = np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])
    used, numbered = np.unique(triangles, return_inverse=True)
    return vertices_m[used], numbered.reshape(-1, 3)


def _drawn_together(
    solid: Columns,
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_], tuple[FloatArray, FloatArray]]:
    """Tops, bottoms and which are not empty (I, J), of coarser columns; those of which half is empty are empty.

    And their limits (I + 1,), (J + 1,) along both sides, as shares: the last ones may be narrower than the others.
    """
    step = [1 + (count - 1) // _CELLS for count in solid.tops_m.shape]
    starts = [np.arange(0, count, by) for count, by in zip(solid.tops_m.shape, step, strict=True)]

    def added(values: FloatArray) -> FloatArray:
        return np.asarray(np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1))

    full = (solid.tops_m > solid.bottoms_m).astype(float)
    count = added(full)
    tops_m, bottoms_m = (added(full * m) / np.maximum(count, 1) for m in (solid.tops_m, solid.bottoms_m))
    first, second = (np.append(own, of) / of for own, of in zip(starts, solid.tops_m.shape, strict=True))
    return tops_m, bottoms_m, count >= added(np.ones_like(full)) / 2, (first, second)
