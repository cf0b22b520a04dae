"""What rays hit among triangles: Intel's Embree, through ``embreex`` or, where that has no wheels, through Open3D.

Both give the same triangles, and weights and distances that differ by float32's rounding. ``embreex`` is the smaller
one, a few MB instead of some hundred, but for x86-64 alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from instance_seg_ros.core.open3d_library import load_open3d

Float32Array = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Hits:
    """What N rays hit.

    Attributes:
        triangle: (N,) index, -1 for nothing.
        u, v: (N,) weights of the triangle's second and third corner.
        depth_m: (N,) along the ray, in lengths of the ray; of no meaning where nothing was hit.
    """

    triangle: IndexArray
    u: Float32Array
    v: Float32Array
    depth_m: Float32Array

    def at(self, index: IndexArray) -> Hits:
        """The hits of some rays."""
        return Hits(self.triangle.take(index), self.u.take(index), self.v.take(index), self.depth_m.take(index))

    def replaced(self, index: IndexArray, others: Hits) -> Hits:
        """The same, with the hits of some rays replaced by others."""
        pairs = [(self.u, others.u), (self.v, others.v), (self.depth_m, others.depth_m)]
        u, v, depth_m = (_with(mine, index, theirs) for mine, theirs in pairs)
        return Hits(_with(self.triangle, index, others.triangle), u, v, depth_m)


class TriangleScene(Protocol):
    """Triangles that rays are cast at."""

    def nearest(self, origins_m: Float32Array, directions: Float32Array) -> Hits:
        """What rays hit first, given as (N, 3) origins and (N, 3) directions of any length."""

    def is_free(self, origins_m: Float32Array, directions: Float32Array, reach: float) -> npt.NDArray[np.bool_]:
        """(N,) whether a ray meets nothing within ``reach`` of its lengths."""


def triangle_scene(vertices_m: Float32Array, faces: IndexArray) -> TriangleScene:
    """The scene of (F, 3) triangles between (V, 3) points.

    Raises:
        InputError: Open3D, which is needed here, lacks a library of the system.
        ModuleNotFoundError: neither ``embreex`` nor Open3D is installed.
    """
    try:
        return EmbreexScene(vertices_m, faces)
    except ModuleNotFoundError:
        pass
    try:
        return Open3dScene(vertices_m, faces)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "generated scenes need a ray caster: pip install embreex (x86-64), or pip install open3d (aarch64)",
            name=error.name,
        ) from error


class EmbreexScene:
    """Embree through ``embreex``."""

    def __init__(self, vertices_m: Float32Array, faces: IndexArray) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, vertices_m, faces)

    def nearest(self, origins_m: Float32Array, directions: Float32Array) -> Hits:
        answer: dict[str, npt.NDArray[Any]] = self._scene.run(origins_m, directions, output=True)
        # The geometry's index is 0, or -1 (all bits set) where nothing was hit.
        triangle = (answer["primID"] | answer["geomID"]).astype(np.intp)
        return Hits(triangle, answer["u"], answer["v"], answer["tfar"])

    def is_free(self, origins_m: Float32Array, directions: Float32Array, reach: float) -> npt.NDArray[np.bool_]:
        return np.asarray(self._scene.run(origins_m, directions, dists=reach, query="OCCLUDED") != 0)


class Open3dScene:
    """Embree through Open3D."""

    def __init__(self, vertices_m: Float32Array, faces: IndexArray) -> None:
        # One thread, as embreex has: scenes are shared out among processes.
        self._scene = load_open3d().t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(vertices_m, np.ascontiguousarray(faces, np.uint32))

    def nearest(self, origins_m: Float32Array, directions: Float32Array) -> Hits:
        answer = self._scene.cast_rays(_origins_and_directions(origins_m, directions))
        triangle = answer["primitive_ids"].numpy().astype(np.intp)
        triangle[answer["geometry_ids"].numpy() == self._scene.INVALID_ID] = -1
        u, v = np.ascontiguousarray(answer["primitive_uvs"].numpy().T)
        return Hits(triangle, u, v, answer["t_hit"].numpy())

    def is_free(self, origins_m: Float32Array, directions: Float32Array, reach: float) -> npt.NDArray[np.bool_]:
        rays = _origins_and_directions(origins_m, directions)
        return ~np.asarray(self._scene.test_occlusions(rays, 0.0, reach).numpy(), bool)


def _origins_and_directions(origins_m: Float32Array, directions: Float32Array) -> Float32Array:
    return np.concatenate([origins_m, directions], axis=1, dtype=np.float32)


def _with(values: npt.NDArray[Any], index: IndexArray, others: npt.NDArray[Any]) -> npt.NDArray[Any]:
    changed = values.copy()
    changed[index] = others
    return changed
