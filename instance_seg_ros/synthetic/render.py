"""Ray casting of a static scene to clean depth, instance ids and shaded colour (Embree through ``embreex``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

if TYPE_CHECKING:
    from instance_seg_ros.synthetic.scene import Placed

Float32Array = npt.NDArray[np.float32]

_AMBIENT = 0.45
_NOTHING_GREY = 190


@dataclass(frozen=True)
class Cast:
    """What the rays of one image hit.

    Attributes:
        depth_m: (H, W) float32, metres along the optical z axis, 0 where nothing was hit.
        ids: (H, W) uint8, 0 = background, otherwise the instance id.
        triangle: (H, W) int32 index of the triangle hit, -1 where nothing was hit.
    """

    depth_m: Float32Array
    ids: npt.NDArray[np.uint8]
    triangle: npt.NDArray[np.int32]


def world_rays(
    intrinsics_fxfycxcy: Sequence[float], size_wh: tuple[int, int], T_world_camera: npt.NDArray[np.floating]
) -> Float32Array:
    """(H, W, 3) float32 ray of every pixel in world axes, of length 1 along the optical axis: ray length is z-depth."""
    fx, fy, cx, cy = (float(v) for v in intrinsics_fxfycxcy)
    width, height = size_wh
    right, down, forward = T_world_camera[:3, :3].T
    along_row = ((np.arange(width) - cx) / fx)[:, None] * right + forward
    along_column = ((np.arange(height) - cy) / fy)[:, None] * down
    # A sum of two small tables; as a product of matrices it would start threads in every worker process.
    return along_row.astype(np.float32)[None] + along_column.astype(np.float32)[:, None]


class RayCaster:
    """An Embree scene of placed shapes.

    Args:
        placed: every shape with its pose and instance id (0 = background). Not referenced afterwards, except for
            :meth:`shade`, which reads their appearance.
    """

    def __init__(self, placed: Sequence[Placed]) -> None:
        self._placed = tuple(placed)
        triangles, normals = [], []
        for item in self._placed:
            world = item.shape.mesh.vertices @ item.T_world_shape[:3, :3].T + item.T_world_shape[:3, 3]
            corners = world[np.asarray(item.shape.mesh.faces)].astype(np.float32)
            triangles.append(corners)
            normals.append(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
        counts = [len(t) for t in triangles]
        self._owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self._ids = np.repeat(np.array([item.instance_id for item in self._placed], np.uint8), counts)
        normal = np.concatenate(normals)
        self._normal = (normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)).astype(np.float32)
        self._scene = EmbreeScene()
        self._geometry = TriangleMesh(self._scene, np.ascontiguousarray(np.concatenate(triangles)))

    def cast(
        self,
        intrinsics_fxfycxcy: Sequence[float],
        size_wh: tuple[int, int],
        T_world_camera: npt.NDArray[np.floating],
    ) -> Cast:
        """Cast one image.

        Args:
            intrinsics_fxfycxcy: pinhole parameters of this image, pixels.
            size_wh: image size.
            T_world_camera: (4, 4) pose of the camera's optical frame (x right, y down, z forward) in the world.
        """
        directions = world_rays(intrinsics_fxfycxcy, size_wh, T_world_camera).reshape(-1, 3)
        origins = np.empty_like(directions)
        origins[:] = T_world_camera[:3, 3]
        hit = self._scene.run(origins, directions, output=True)
        triangle = np.where(hit["geomID"] >= 0, hit["primID"], -1).astype(np.int32)
        missed = triangle < 0
        depth_m = np.where(missed, np.float32(0.0), hit["tfar"])
        ids = np.where(missed, np.uint8(0), self._ids[triangle])
        shape = (size_wh[1], size_wh[0])
        return Cast(depth_m.reshape(shape), ids.reshape(shape), triangle.reshape(shape))

    def shade(
        self,
        cast: Cast,
        intrinsics_fxfycxcy: Sequence[float],
        T_world_camera: npt.NDArray[np.floating],
        light_xyz: Sequence[float] = (0.4, -0.3, 1.0),
    ) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB: Lambert shading and cast shadows of a distant light in direction ``light_xyz`` (world).

        Textures live in each shape's own frame, so they move with it. Deterministic.
        """
        height, width = cast.depth_m.shape
        hit = np.flatnonzero(cast.triangle >= 0)
        triangle = cast.triangle.ravel()[hit]
        rays = world_rays(intrinsics_fxfycxcy, (width, height), T_world_camera).reshape(-1, 3)[hit]
        points = rays * cast.depth_m.ravel()[hit, None] + T_world_camera[:3, 3].astype(np.float32)
        normal = self._normal[triangle]
        normal *= -np.sign(np.einsum("ij,ij->i", normal, rays))[:, None]
        light = (np.asarray(light_xyz, float) / np.linalg.norm(light_xyz)).astype(np.float32)
        facing = np.clip(np.einsum("ij,j->i", normal, light), 0.0, 1.0)
        facing[self._shadowed(points + 1e-3 * normal, light)] = 0.0
        albedo = self._albedo(points, self._owner[triangle])
        image = np.full((height * width, 3), _NOTHING_GREY, np.uint8)
        image[hit] = np.clip(albedo * (_AMBIENT + (1.0 - _AMBIENT) * facing)[:, None] * 255.0, 0.0, 255.0)
        return image.reshape(height, width, 3)

    def _shadowed(self, points: Float32Array, light: Float32Array) -> npt.NDArray[np.bool_]:
        """Which (N, 3) world points something hides from a distant light in direction ``light``."""
        directions = np.empty_like(points)
        directions[:] = light
        return np.asarray(self._scene.run(np.ascontiguousarray(points), directions, query="OCCLUDED") == 0)

    def _albedo(self, points: Float32Array, owner: npt.NDArray[np.int32]) -> Float32Array:
        """(N, 3) colour of world points on the shapes with these indices."""
        albedo = np.empty_like(points)
        order = np.argsort(owner, kind="stable")
        starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
        for here in np.split(order, starts[1:]) if len(order) else ():
            item = self._placed[owner[here[0]]]
            T = item.T_world_shape.astype(np.float32)
            local = np.einsum("ij,jk->ik", points[here] - T[:3, 3], T[:3, :3])
            albedo[here] = item.appearance.albedo(local)
        return albedo
