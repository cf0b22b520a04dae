"""Ray casting of a static scene to clean depth, instance ids and shaded colour (Embree through ``embreex``).

Colour is meant to have the edges that real pictures have: textures, soft shadows, darkness in gaps, highlights and
mirrored surroundings, and pixels at outlines that average what they see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
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
    through_surface,
    triangle_normals,
    unit,
)
from instance_seg_ros.synthetic.texture_table import TextureTable

if TYPE_CHECKING:
    from instance_seg_ros.synthetic.world import Placed

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

_SHADOW_REACH_M = 4.0
_CLEAR_WALLS = 4  # that a ray may pass: a hollow thing, seen from aside, has four
_PAST_M = 5e-4  # how far behind a wall a ray goes on
_BEND_PX = 9.0  # by how much thick glass displaces what is seen through it, at most, in an image 320 px wide
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


@dataclass(frozen=True)
class _Hits:
    """What N rays hit.

    Attributes:
        triangle: (N,) int32, -1 for nothing.
        u, v: (N,) weights of the triangle's second and third corner.
        depth_m: (N,) along the ray, in lengths of the ray.
    """

    triangle: IntArray
    u: Float32Array
    v: Float32Array
    depth_m: Float32Array

    def at(self, index: npt.NDArray[np.int64]) -> _Hits:
        """Those of some rays."""
        return _Hits(self.triangle[index], self.u[index], self.v[index], self.depth_m[index])

    def replaced(self, index: npt.NDArray[np.int64], others: _Hits) -> _Hits:
        """The same with those of some rays replaced by others."""
        pairs = [(self.u, others.u), (self.v, others.v), (self.depth_m, others.depth_m)]
        u, v, depth_m = (_with(mine, index, theirs) for mine, theirs in pairs)
        return _Hits(_with(self.triangle, index, others.triangle), u, v, depth_m)


def _with(values: npt.NDArray[Any], index: npt.NDArray[np.int64], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
    changed = values.copy()
    changed[index] = others
    return changed


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
        self._clear = np.array([item.appearance.is_clear for item in self._placed])
        self._mirror = np.array([item.appearance.is_mirror for item in self._placed])
        self._scene = EmbreeScene()
        self._geometry = TriangleMesh(self._scene, self._corners_m)
        # Light passes clear things: shadows, and what is seen through them, know only the others.
        self._opaque, self._opaque_triangle, self._opaque_geometry = self._scene, None, self._geometry
        if self._clear.any():
            self._opaque, self._opaque_triangle = EmbreeScene(), np.flatnonzero(~self._clear[self._owner])
            self._opaque_geometry = TriangleMesh(self._opaque, self._corners_m[self._opaque_triangle])

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
        rays = world_rays(intrinsics_fxfycxcy, size_wh, T_world_camera).reshape(-1, 3).T
        hit = self._nearest(self._scene, None, rays, T_world_camera[:3, 3].astype(np.float32)[:, None])
        missed = hit.triangle < 0
        depth_m = np.where(missed, np.float32(0.0), hit.depth_m)
        ids = np.where(missed, np.uint8(0), self._ids[hit.triangle])
        shape = (size_wh[1], size_wh[0])
        barycentric = np.stack([hit.u, hit.v], axis=-1).reshape(*shape, 2)
        return Cast(depth_m.reshape(shape), ids.reshape(shape), hit.triangle.reshape(shape), barycentric)

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
        eye = T_world_camera[:3, 3].astype(np.float32)[:, None]
        u, v = cast.barycentric.reshape(-1, 2).T
        hit = _Hits(cast.triangle.ravel(), u, v, cast.depth_m.ravel())
        clear, mirror = self._pixels_of(cast, self._clear), self._pixels_of(cast, self._mirror)
        if len(clear):
            hit = hit.replaced(clear, self._first(rays[:, clear], eye))
        seen = self._surface(hit, rays, eye)
        visible = self._soft_visibility(seen, lighting, (height, width))
        pixel_m = 1.0 / float(intrinsics_fxfycxcy[0])
        linear = self._light(rays, seen, visible[:, seen.ray], lighting, pixel_m)

        owner = np.where(hit.triangle >= 0, self._owner[hit.triangle], -1).reshape(height, width)
        outline = _outline(owner)
        if len(outline):
            pixels = np.repeat(outline, len(_SUBPIXELS))
            between = np.ascontiguousarray(_subpixel_rays(pixels, width, intrinsics_fxfycxcy, T_world_camera).T)
            seen = self._surface(self._first(between, eye), between, eye)
            shadows = visible[:, _nearest_of_owner(pixels[seen.ray], seen.owner, owner)]
            light = self._light(between, seen, shadows, lighting, pixel_m)
            linear[:, outline] = light.reshape(3, -1, len(_SUBPIXELS)).mean(axis=2)
        if len(mirror):
            reflected = self._mirrored(hit.at(mirror), rays[:, mirror], eye, lighting, pixel_m)
            _lay_over(linear, mirror, reflected, (height, width))
        if len(clear):
            added, passed, bend_px = self._through_clear(rays[:, clear], eye, T_world_camera, lighting, width)
            row, column = np.divmod(clear, width)
            row = np.clip(row + bend_px[1], 0, height - 1)
            column = np.clip(column + bend_px[0], 0, width - 1)
            _lay_over(linear, clear, added + passed * linear[:, row * width + column], (height, width))
        # A camera's automatic exposure, with limits: a black object on black cloth stays dark.
        gain = np.clip(lighting.exposure / max(float(np.sqrt(linear).mean()), 1e-3), 0.5, 1.8)
        image = np.minimum(gain * 255.0 * np.sqrt(linear) + 0.5, 255.0)
        return np.ascontiguousarray(image.astype(np.uint8).T).reshape(height, width, 3)

    def behind(
        self,
        cast: Cast,
        intrinsics_fxfycxcy: Sequence[float],
        T_world_camera: npt.NDArray[np.floating],
    ) -> Float32Array:
        """What a depth camera may measure instead of clear and mirroring things.

        Returns:
            (H, W) float32 metres along the optical axis: 0 where the surface is an ordinary one, else the depth of what
            is seen through it, infinite where that is nothing, or where it is a mirror.
        """
        height, width = cast.depth_m.shape
        result = np.zeros(height * width, np.float32)
        clear = self._pixels_of(cast, self._clear)
        result[self._pixels_of(cast, self._mirror)] = np.inf
        if len(clear):
            rays = world_rays(intrinsics_fxfycxcy, (width, height), T_world_camera).reshape(-1, 3)[clear].T
            hit = self._first(rays, T_world_camera[:3, 3].astype(np.float32)[:, None])
            result[clear] = np.where(hit.triangle >= 0, hit.depth_m, np.float32(np.inf))
        return result.reshape(height, width)

    def _pixels_of(self, cast: Cast, which: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Flat indices of the pixels that see one of these shapes."""
        if not which.any():
            return np.zeros(0, np.int64)
        triangle = cast.triangle.ravel()
        return np.flatnonzero((triangle >= 0) & which[self._owner[triangle]])

    def _through_clear(
        self,
        rays: Float32Array,
        eye: Float32Array,
        T_world_camera: npt.NDArray[np.floating],
        lighting: Lighting,
        width: int,
    ) -> tuple[Float32Array, Float32Array, npt.NDArray[np.int64]]:
        """What clear walls do to the light that comes along (3, N) rays, all of which meet at least one.

        Returns:
            (3, N) light that they add, (3, N) share of the light from behind that they let through, and (2, N) the
            distance in pixels, right and down, from where that comes.
        """
        count = rays.shape[1]
        added, passed = np.zeros((3, count), np.float32), np.ones((3, count), np.float32)
        bend_px = np.zeros((2, count), np.int64)
        tints = np.array([item.appearance.base_rgb for item in self._placed], np.float32).T
        # Solid glass and what is filled bends light much; thin walls hardly do.
        bends = np.array([1.0 if item.appearance.seed % 3 == 0 else 0.1 for item in self._placed], np.float32)
        start, active = np.repeat(eye, count, axis=1), np.arange(count)
        for wall in range(_CLEAR_WALLS):
            hit = self._nearest(self._scene, None, rays[:, active], start[:, active])
            clear = (hit.triangle >= 0) & self._clear[self._owner[hit.triangle]]
            active, hit = active[clear], hit.at(np.flatnonzero(clear))
            if not len(active):
                break
            seen = self._surface(hit, rays[:, active], start[:, active])
            reflected, share = through_surface(seen.normal, seen.view, tints[:, seen.owner], lighting)
            added[:, active] += passed[:, active] * reflected
            passed[:, active] *= share
            start[:, active] = seen.point_m + _PAST_M * seen.view
            if wall == 0:
                towards = T_world_camera[:3, :2].T.astype(np.float32) @ seen.normal
                bend_px[:, active] = np.rint(-_BEND_PX * width / 320.0 * bends[seen.owner] * towards)
        return added, passed, bend_px

    def _mirrored(
        self, hit: _Hits, rays: Float32Array, eye: Float32Array, lighting: Lighting, pixel_m: float
    ) -> Float32Array:
        """(3, N) light that mirrors, which (3, N) rays hit, send to the camera; what they mirror is lit evenly."""
        mirror = self._surface(hit, rays, eye)
        facing = -(mirror.normal * mirror.view).sum(axis=0)
        away = mirror.view + 2.0 * facing * mirror.normal
        start = mirror.point_m + 2.0 * _PAST_M * mirror.normal
        seen = self._surface(self._first(away, start), away, start)
        visible = np.full((1 + len(lighting.lights), len(seen.ray)), 0.8, np.float32)
        tone = np.array([item.appearance.base_rgb for item in self._placed], np.float32).T[:, mirror.owner]
        return self._light(away, seen, visible, lighting, pixel_m) * tone**2

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

    def _first(self, rays: Float32Array, start: Float32Array) -> _Hits:
        """What (3, N) rays from (3, 1) or (3, N) points meet first, of all that is not clear."""
        return self._nearest(self._opaque, self._opaque_triangle, rays, start)

    @staticmethod
    def _nearest(
        scene: EmbreeScene, triangles: npt.NDArray[np.int64] | None, rays: Float32Array, start: Float32Array
    ) -> _Hits:
        """What (3, N) rays meet in an Embree scene, of these of all triangles (None: of all)."""
        directions = np.ascontiguousarray(rays.T, np.float32)
        origins = np.empty_like(directions)
        origins[:] = start.T
        answer: dict[str, npt.NDArray[Any]] = scene.run(origins, directions, output=True)
        triangle = np.where(answer["geomID"] < 0, -1, answer["primID"]).astype(np.int32)
        if triangles is not None:
            met = np.flatnonzero(triangle >= 0)
            triangle[met] = triangles[triangle[met]]
        return _Hits(triangle, answer["u"], answer["v"], answer["tfar"])

    @cached_property
    def _normal(self) -> Float32Array:
        """(3, F) normals by component and triangle, of any length."""
        return np.ascontiguousarray(triangle_normals(self._corners_m).T)

    @cached_property
    def _corner_normal(self) -> Float32Array:
        """(3, 3, F) unit normals by corner, component and triangle, smooth across edges flatter than a crease."""
        return np.ascontiguousarray(smooth_normals(self._faces, self._corners_m).transpose(1, 2, 0))

    def _surface(self, hit: _Hits, rays: Float32Array, start: Float32Array) -> Surface:
        """The surface that (3, N) rays from (3, 1) or (3, N) points hit; rays that hit nothing are left out."""
        ray = np.flatnonzero(hit.triangle >= 0)
        hit, rays = hit.at(ray), rays[:, ray]
        start = start if start.shape[1] == 1 else start[:, ray]
        triangle, u, v, depth_m = hit.triangle, hit.u, hit.v, hit.depth_m
        corners = self._corner_normal
        normal = np.empty_like(rays)
        for k in range(3):
            first, second, third = (corners[c, k][triangle] for c in range(3))
            normal[k] = first + u * (second - first) + v * (third - first)
        outside = np.zeros(len(ray), np.float32)
        for k in range(3):
            outside -= self._normal[k][triangle] * rays[k]
        point_m = rays * depth_m + start
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
        hit = self._opaque.run(start, directions, dists=reaches, query="OCCLUDED")
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


def _lay_over(
    picture: Float32Array, pixels: npt.NDArray[np.int64], light: Float32Array, size_hw: tuple[int, int]
) -> None:
    """Put (3, N) light onto pixels of a (3, H * W) picture, less at their rim, which they share with others."""
    covered = np.zeros(size_hw, np.float32)
    covered.ravel()[pixels] = 1.0
    share = cv2.blur(covered, (3, 3)).ravel()[pixels]
    picture[:, pixels] += share * (light - picture[:, pixels])


def _outline(owner: IntArray) -> npt.NDArray[np.int64]:
    """Flat indices of pixels with a neighbour, in their row or column, on another shape."""
    edge = np.zeros(owner.shape, bool)
    across, along = owner[:, 1:] != owner[:, :-1], owner[1:] != owner[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= along
    edge[:-1] |= along
    return np.flatnonzero(edge)
