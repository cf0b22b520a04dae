"""Ray casting of a static scene to clean depth, instance ids and shaded colour (Embree through ``embreex``).

Colour is meant to have the edges that real pictures have: textures, soft shadows, darkness in gaps, highlights and
mirrored surroundings, and pixels at outlines that average what they see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from instance_seg_ros.synthetic.shading import (
    DAYLIGHT,
    Lighting,
    Surface,
    averaged_by_surface,
    radiance,
    smooth_normals,
    surroundings,
    triangle_normals,
    unit,
)
from instance_seg_ros.synthetic.texture_table import TextureTable

if TYPE_CHECKING:
    from instance_seg_ros.synthetic.world import Placed

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

_SHADOW_REACH_M = 4.0
# Samples of a pixel at an outline, in pixels from its centre (a rotated grid: no two share a row or a column).
_SUBPIXELS = np.array([[-0.125, -0.375], [0.375, -0.125], [-0.375, 0.125], [0.125, 0.375]])
_SPIRAL = 2.399963  # golden angle: spreads samples evenly over a disk or a sphere
_AROUND = np.arange(16) * _SPIRAL
_HEIGHT = (2.0 * np.arange(16) + 1.0) / 16.0 - 1.0
_LEVEL = np.sqrt(1.0 - _HEIGHT**2)
# (3, 16) points on a sphere a little smaller than the unit sphere, and (16, 2) points in the unit disk.
_SPHERE = 0.98 * np.stack([_LEVEL * np.cos(_AROUND), _LEVEL * np.sin(_AROUND), _HEIGHT]).astype(np.float32)
_DISK = np.sqrt((np.arange(16) + 0.5) / 16.0)[:, None] * np.stack([np.cos(_AROUND), np.sin(_AROUND)], axis=1)
# Which of the 16 directions each pixel of a 4 x 4 block takes.
_DITHER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])


@dataclass(frozen=True)
class Cast:
    """What the rays of one image hit.

    Attributes:
        depth_m: (H, W) float32, metres along the optical z axis, 0 where nothing was hit.
        ids: (H, W) uint8, 0 = background, otherwise the instance id.
        triangle: (H, W) int32 index of the triangle hit, -1 where nothing was hit.
        barycentric: (H, W, 2) float32 weights of the triangle's second and third corner.
    """

    depth_m: Float32Array
    ids: npt.NDArray[np.uint8]
    triangle: IntArray
    barycentric: Float32Array


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
        triangles, faces = [], []
        vertices = 0
        for item in self._placed:
            world = item.shape.mesh.vertices @ item.T_world_shape[:3, :3].T + item.T_world_shape[:3, 3]
            corners = world[np.asarray(item.shape.mesh.faces)].astype(np.float32)
            faces.append(np.asarray(item.shape.mesh.faces) + vertices)
            vertices += len(world)
            triangles.append(corners)
        counts = [len(t) for t in triangles]
        self._owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self._ids = np.repeat(np.array([item.instance_id for item in self._placed], np.uint8), counts)
        self._faces = np.concatenate(faces)
        self._corners_m = np.ascontiguousarray(np.concatenate(triangles))
        self._poses = np.array([item.T_world_shape for item in self._placed], np.float32)
        self._scene = EmbreeScene()
        self._geometry = TriangleMesh(self._scene, self._corners_m)

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
        hit = self._run(directions, T_world_camera[:3, 3].astype(np.float32))
        triangle = np.where(hit["geomID"] >= 0, hit["primID"], -1).astype(np.int32)
        missed = triangle < 0
        depth_m = np.where(missed, np.float32(0.0), hit["tfar"])
        ids = np.where(missed, np.uint8(0), self._ids[triangle])
        shape = (size_wh[1], size_wh[0])
        barycentric = np.stack([hit["u"], hit["v"]], axis=-1).reshape(*shape, 2)
        return Cast(depth_m.reshape(shape), ids.reshape(shape), triangle.reshape(shape), barycentric)

    def shade(
        self,
        cast: Cast,
        intrinsics_fxfycxcy: Sequence[float],
        T_world_camera: npt.NDArray[np.floating],
        lighting: Lighting = DAYLIGHT,
    ) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB picture of what was cast, in focus and without noise.

        Textures live in each shape's own frame, so they move with it. Shadows and the darkness of gaps come from one
        ray for each pixel and lamp in one of 16 directions, averaged over 4 x 4 pixels of the same surface (interleaved
        sampling, Keller and Heidrich 2001). Pixels at outlines average four rays. Deterministic.
        """
        height, width = cast.depth_m.shape
        rays = world_rays(intrinsics_fxfycxcy, (width, height), T_world_camera).reshape(-1, 3)
        rays = np.ascontiguousarray(rays.T)
        eye = T_world_camera[:3, 3].astype(np.float32)
        u, v = cast.barycentric.reshape(-1, 2).T
        seen = self._surface(cast.triangle.ravel(), u, v, cast.depth_m.ravel(), rays, eye)
        visible = self._soft_visibility(seen, lighting, (height, width))
        pixel_m = 1.0 / float(intrinsics_fxfycxcy[0])
        linear = self._light(rays, seen, visible[:, seen.ray], lighting, pixel_m)

        owner = np.where(cast.triangle >= 0, self._owner[cast.triangle], -1)
        outline = _outline(owner)
        if len(outline):
            pixels = np.repeat(outline, len(_SUBPIXELS))
            rays = _subpixel_rays(pixels, width, intrinsics_fxfycxcy, T_world_camera)
            hit = self._run(rays, eye)
            triangle = np.where(hit["geomID"] >= 0, hit["primID"], -1)
            rays = np.ascontiguousarray(rays.T)
            seen = self._surface(triangle, hit["u"], hit["v"], hit["tfar"], rays, eye)
            shadows = visible[:, _nearest_of_owner(pixels[seen.ray], seen.owner, owner)]
            light = self._light(rays, seen, shadows, lighting, pixel_m)
            linear[:, outline] = light.reshape(3, -1, len(_SUBPIXELS)).mean(axis=2)
        # A camera's automatic exposure, with limits: a black object on black cloth stays dark.
        gain = np.clip(lighting.exposure / max(float(np.sqrt(linear).mean()), 1e-3), 0.5, 1.8)
        image = np.minimum(gain * 255.0 * np.sqrt(linear) + 0.5, 255.0)
        return np.ascontiguousarray(image.astype(np.uint8).T).reshape(height, width, 3)

    def _light(
        self, rays: Float32Array, seen: Surface, visible: Float32Array, lighting: Lighting, pixel_m: float
    ) -> Float32Array:
        """(3, N) linear light that comes along (3, N) rays, which see these surfaces, or else the surroundings."""
        linear = np.empty_like(rays)
        missed = np.ones(rays.shape[1], bool)
        missed[seen.ray] = False
        linear[:, missed] = surroundings(rays[:, missed], lighting)
        if len(seen.ray):
            in_view, look = np.unique(seen.owner, return_inverse=True)
            table = TextureTable([self._placed[k].appearance for k in in_view])
            linear[:, seen.ray] = radiance(seen, look, table, self._poses, lighting, visible, pixel_m)
        return linear

    def _run(self, rays: Float32Array, eye: Float32Array) -> dict[str, npt.NDArray[Any]]:
        """Embree's answer for (N, 3) rays from one point."""
        origins = np.empty_like(rays)
        origins[:] = eye
        answer: dict[str, npt.NDArray[Any]] = self._scene.run(origins, rays, output=True)
        return answer

    @cached_property
    def _normal(self) -> Float32Array:
        """(3, F) normals by component and triangle, of any length."""
        return np.ascontiguousarray(triangle_normals(self._corners_m).T)

    @cached_property
    def _corner_normal(self) -> Float32Array:
        """(3, 3, F) unit normals by corner, component and triangle, smooth across edges flatter than a crease."""
        return np.ascontiguousarray(smooth_normals(self._faces, self._corners_m).transpose(1, 2, 0))

    def _surface(
        self,
        triangle: IntArray,
        u: Float32Array,
        v: Float32Array,
        depth_m: Float32Array,
        rays: Float32Array,
        eye: Float32Array,
    ) -> Surface:
        """The surface that (3, N) rays hit, given Embree's (N,) answers; rays that hit nothing are left out."""
        ray = np.flatnonzero(triangle >= 0)
        triangle, rays, u, v, depth_m = triangle[ray], rays[:, ray], u[ray], v[ray], depth_m[ray]
        corners = self._corner_normal
        normal = np.empty_like(rays)
        for k in range(3):
            first, second, third = (corners[c, k][triangle] for c in range(3))
            normal[k] = first + u * (second - first) + v * (third - first)
        outside = np.zeros(len(ray), np.float32)
        for k in range(3):
            outside -= self._normal[k][triangle] * rays[k]
        point_m = rays * depth_m + eye[:, None]
        return Surface(ray, self._owner[triangle], point_m, unit(normal) * np.sign(outside), unit(rays), depth_m)

    def _soft_visibility(self, seen: Surface, lighting: Lighting, size_hw: tuple[int, int]) -> Float32Array:
        """(1 + lamps, H * W) share in [0, 1] of the surroundings, then of each lamp, that each pixel's surface sees."""
        height, width = size_hw
        visible = np.ones((1 + len(lighting.lights), height * width), np.float32)
        visible[:, seen.ray] = self._visibility(seen, lighting, width)
        key = np.full(height * width, -1, np.int32)
        key[seen.ray] = seen.key()
        # The shadow of a point has a sharp edge: nothing to average.
        soft = [True, *(light.radius > 0 for light in lighting.lights)]
        samples = visible[soft].reshape(-1, height, width)
        visible[soft] = averaged_by_surface(samples, key.reshape(height, width)).reshape(-1, height * width)
        return visible

    def _visibility(self, seen: Surface, lighting: Lighting, width: int) -> Float32Array:
        """(1 + lamps, N): 1 where a ray towards the surroundings, then towards each lamp, gets through, else 0."""
        sample = _DITHER[seen.ray // width % 4, seen.ray % width % 4]
        start = np.ascontiguousarray((seen.point_m + 1e-3 * seen.normal).T)
        # A normal plus a point of the unit sphere: directions with the density of Lambert's cosine.
        around = np.ascontiguousarray((seen.normal + _SPHERE[:, sample]).T)
        found = [self._free(start, around, lighting.occlusion_m)]
        for light in lighting.lights:
            towards = light.unit()[:, 0]
            side = np.cross(towards, [1.0, 0.0, 0.0] if abs(towards[0]) < 0.9 else [0.0, 1.0, 0.0])
            across = np.stack([side, np.cross(towards, side)]) / np.linalg.norm(side)
            directions = (towards + light.radius * _DISK @ across).astype(np.float32)
            found.append(self._free(start, directions[sample], _SHADOW_REACH_M))
        return np.stack(found).astype(np.float32)

    def _free(self, start: Float32Array, directions: Float32Array, reach: float) -> npt.NDArray[np.bool_]:
        """Which rays meet nothing within ``reach`` of their lengths."""
        reaches = np.full(len(start), reach, np.float32)
        hit = self._scene.run(start, directions, dists=reaches, query="OCCLUDED")
        return np.asarray(hit != 0)


def _subpixel_rays(
    pixels: npt.NDArray[np.int64],
    width: int,
    intrinsics_fxfycxcy: Sequence[float],
    T_world_camera: npt.NDArray[np.floating],
) -> Float32Array:
    """(M, 3) rays in world axes of (M,) flat indices of pixels that come in runs as long as there are subpixels."""
    fx, fy, cx, cy = (float(v) for v in intrinsics_fxfycxcy)
    row, column = np.divmod(pixels, width)
    offset = np.tile(_SUBPIXELS, (len(pixels) // len(_SUBPIXELS), 1))
    right, down, forward = T_world_camera[:3, :3].T
    along_row, along_column = (column + offset[:, 0] - cx) / fx, (row + offset[:, 1] - cy) / fy
    return np.asarray(along_row[:, None] * right + along_column[:, None] * down + forward, np.float32)


def _nearest_of_owner(pixels: npt.NDArray[np.int64], wanted: IntArray, owner: IntArray) -> npt.NDArray[np.int64]:
    """Flat index of a pixel of the wanted shape in the 3 x 3 around each of these pixels, or that pixel itself.

    Shadows are averaged over pixels, so a ray between pixels takes them from a pixel that sees the same shape.
    """
    height, width = owner.shape
    owners = owner.ravel()
    row, column = np.divmod(pixels, width)
    nearest, found = pixels.copy(), owners[pixels] == wanted
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)):
        there = np.clip(row + down, 0, height - 1) * width + np.clip(column + right, 0, width - 1)
        take = ~found & (owners[there] == wanted)
        nearest[take] = there[take]
        found |= take
    return nearest


def _outline(owner: IntArray) -> npt.NDArray[np.int64]:
    """Flat indices of pixels with a neighbour, in their row or column, on another shape."""
    edge = np.zeros(owner.shape, bool)
    across, along = owner[:, 1:] != owner[:, :-1], owner[1:] != owner[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= along
    edge[:-1] |= along
    return np.flatnonzero(edge)
