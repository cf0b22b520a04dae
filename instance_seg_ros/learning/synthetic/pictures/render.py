"""Ray casting of a static scene to clean depth, instance ids and shaded colour.

Colour is meant to have the edges that real pictures have: textures, soft shadows, darkness in gaps, highlights and
mirrored surroundings, and pixels at outlines that average what they see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import Transform, cross
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance
from instance_seg_ros.learning.synthetic.pictures.shading import (
    DAYLIGHT,
    Light,
    Lighting,
    Surface,
    averaged_by_surface,
    radiance,
    replace_at,
    smooth_normals,
    spread_by_surface,
    surroundings,
    through_surface,
    triangle_normals,
    unit,
)
from instance_seg_ros.learning.synthetic.pictures.texture_table import TextureTable
from instance_seg_ros.learning.synthetic.pictures.triangle_scene import Hits, TriangleScene, triangle_scene
from instance_seg_ros.learning.synthetic.rooms.world import ROBOT

if TYPE_CHECKING:
    from instance_seg_ros.learning.synthetic.rooms.world import Placed

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
IndexArray = npt.NDArray[np.intp]

_SHADOW_REACH_M = 4.0
_LIT_COLUMNS = 320  # about this many columns of an image are examined for shadows
_CLEAR_WALLS = 4  # that a ray may pass: a hollow thing, seen from the side, has four
_PAST_M = 5e-4  # a ray goes on this far behind a wall
_BEND_PX = 9.0  # largest displacement of what is seen through thick glass, in an image 320 px wide
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
# Points are lit this many at a time, so that their numbers stay in the processor's cache.
_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class Cast:
    """What the rays of an image hit.

    Attributes:
        depth_m: (H, W) float32, metres along the optical z axis, 0 where nothing was hit.
        ids: (H, W) uint8, 0 = background, otherwise the instance id.
        triangle: (H, W) index of the triangle hit, -1 where nothing was hit.
        barycentric: (2, H, W) float32 weights of the triangle's second and third corner.
        clear: (K,) flat indices of the pixels that see a clear shape.
        behind: what these pixels see behind the clear shapes.
    """

    depth_m: Float32Array
    ids: npt.NDArray[np.uint8]
    triangle: IndexArray
    barycentric: Float32Array
    clear: IndexArray
    behind: Hits


def world_rays(camera: Intrinsics, T_world_camera: Transform) -> Float32Array:
    """(3, H, W) float32 ray of every pixel in world axes, of length 1 along the optical axis: ray length is z-depth."""
    right, down, forward = T_world_camera.rotation.T[..., None]
    along_row = (np.arange(camera.width) - camera.cx) / camera.fx * right + forward
    along_column = (np.arange(camera.height) - camera.cy) / camera.fy * down
    # A sum of two small tables; as a product of matrices it would start threads in every worker process.
    return along_row.astype(np.float32)[:, None] + along_column.astype(np.float32)[..., None]


class RayCaster:
    """A scene of placed shapes.

    Args:
        placed: every shape with its pose and instance id (0 = background). Not referenced afterwards, except for
            :meth:`shade`, which reads their appearance.
    """

    def __init__(self, placed: Sequence[Placed]) -> None:
        self._placed = tuple(placed)
        vertices_m, faces = [], []
        count = 0
        for item in self._placed:
            vertices_m.append(item.T_world_shape.apply(np.asarray(item.shape.mesh.vertices)))
            faces.append(np.asarray(item.shape.mesh.faces) + count)
            count += len(vertices_m[-1])
        self._vertices_m = np.concatenate(vertices_m).astype(np.float32)
        self._faces = np.concatenate(faces)
        # By triangle and by shape, with one more at the end for index -1, which stands for nothing.
        counts = [*(len(triangles) for triangles in faces), 1]
        self._owner = np.repeat([*range(len(self._placed)), -1], counts)
        self._ids = np.repeat(np.array([*(item.instance_id for item in self._placed), 0], np.uint8), counts)
        self._clear = np.array([*(item.appearance.is_clear for item in self._placed), False])
        self._mirror = np.array([*(item.appearance.is_mirror for item in self._placed), False])
        self._robot = np.array([*(item.shape.family == ROBOT for item in self._placed), False])
        poses = np.array([item.T_world_shape.matrix[:3] for item in self._placed], np.float32)
        self._poses = np.ascontiguousarray(poses.transpose(1, 2, 0))
        self._looks: tuple[Appearance, ...] = ()  # of shapes that were shaded so far; _look is their place here
        self._look = np.full(len(self._placed), -1)
        self._scene = triangle_scene(self._vertices_m, self._faces)
        # Light passes clear things: shadows, and what is seen through them, know only the others.
        self._opaque, self._opaque_triangle = self._scene, None
        if self._clear.any():
            self._opaque_triangle = np.flatnonzero(~self._clear[self._owner[:-1]])
            self._opaque = triangle_scene(self._vertices_m, self._faces[self._opaque_triangle])

    def cast(self, camera: Intrinsics, T_world_camera: Transform) -> Cast:
        """Cast the image of a camera, given the pose of its optical frame (x right, y down, z forward) in the world."""
        rays = world_rays(camera, T_world_camera).reshape(3, -1)
        eye = T_world_camera.translation_m.astype(np.float32)[:, None]
        hit = self._nearest(self._scene, None, rays, eye)
        depth_m = np.where(hit.triangle < 0, np.float32(0.0), hit.depth_m)
        ids = self._ids.take(hit.triangle)
        shape = (camera.height, camera.width)
        barycentric = np.stack([hit.u, hit.v]).reshape(2, *shape)
        clear = self._rays_to(self._clear, hit.triangle)
        behind = self._first(rays.take(clear, axis=1), eye)
        return Cast(depth_m.reshape(shape), ids.reshape(shape), hit.triangle.reshape(shape), barycentric, clear, behind)

    def shade(
        self,
        cast: Cast,
        camera: Intrinsics,
        T_world_camera: Transform,
        lighting: Lighting = DAYLIGHT,
    ) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB picture of what was cast, in focus and without noise.

        Textures live in each shape's own frame, so they move with it. Shadows and the darkness of gaps come from one
        ray for each pixel and lamp in one of 16 directions, averaged over 4 x 4 pixels of the same surface
        (interleaved sampling, Keller and Heidrich 2001). Pixels at outlines average four rays, whose light is that of
        the next pixel that sees the same shape. Deterministic.
        """
        height, width = cast.depth_m.shape
        rays = world_rays(camera, T_world_camera).reshape(3, -1)
        eye = T_world_camera.translation_m.astype(np.float32)[:, None]
        u, v = cast.barycentric.reshape(2, -1)
        hit = Hits(cast.triangle.ravel(), u, v, cast.depth_m.ravel())
        mirror = self._rays_to(self._mirror, cast.triangle)
        clear, walls = cast.clear, hit.at(cast.clear)
        if len(clear):
            hit = hit.replaced(clear, cast.behind)
        seen = self._surface(hit, rays, eye)
        visible = self._soft_visibility(seen, lighting, (height, width))
        pixel_m = 1.0 / camera.fx
        linear = self._light(rays, seen, visible.take(seen.ray, axis=1), lighting, pixel_m)

        owner = self._owner.take(hit.triangle).reshape(height, width)
        outline = _outline(owner)
        if len(outline):
            between = _subpixel_rays(outline, camera, T_world_camera)
            mean = self._between_pixels(outline, between, eye, owner, linear, visible, lighting, pixel_m)
            replace_at(linear, outline, mean)
        if len(mirror):
            reflected = self._mirrored(hit.at(mirror), rays.take(mirror, axis=1), eye, lighting, pixel_m)
            _lay_over(linear, mirror, reflected, (height, width))
        if len(clear):
            added, passed, bend_px = self._through_clear(
                walls, rays.take(clear, axis=1), eye, T_world_camera, lighting, width
            )
            row, column = np.divmod(clear, width)
            row = np.clip(row + bend_px[1], 0, height - 1)
            column = np.clip(column + bend_px[0], 0, width - 1)
            _lay_over(linear, clear, added + passed * linear[:, row * width + column], (height, width))
        # A camera's automatic exposure, with limits: a black object on black cloth stays dark.
        image = np.sqrt(linear, out=linear)
        gain = np.clip(lighting.exposure / max(float(image.mean()), 1e-3), 0.5, 1.8)
        image *= np.float32(gain * 255.0)
        image += np.float32(0.5)
        np.minimum(image, np.float32(255.0), out=image)
        return np.asarray(cv2.merge([*image.astype(np.uint8).reshape(3, height, width)]))

    def _between_pixels(
        self,
        outline: IndexArray,
        rays: Float32Array,
        eye: Float32Array,
        owner: IndexArray,
        linear: Float32Array,
        visible: Float32Array,
        lighting: Lighting,
        pixel_m: float,
    ) -> Float32Array:
        """Mean light of some rays through each of (M,) pixels.

        Args:
            outline: flat indices of the pixels.
            rays: (3, K * M) one ray through each, K times over.
            eye: (3, 1) position of the camera.
            owner: (H, W) index of the shape that each pixel sees.
            linear: (3, H * W) light of all pixels; a ray that sees what a pixel beside it sees has that pixel's light.
            visible: (1 + lamps, H * W), as of :meth:`_soft_visibility`, for rays that see something else.
            lighting: of the scene.
            pixel_m: width of a pixel at a depth of 1 m.

        Returns:
            (3, M).
        """
        pixels = np.tile(outline, rays.shape[1] // len(outline))
        hit = self._first(rays, eye)
        source, alone = _nearest_of_owner(pixels, self._owner.take(hit.triangle), owner)
        light = linear.take(source, axis=1)
        if len(alone):
            rays = rays.take(alone, axis=1)
            seen = self._surface(hit.at(alone), rays, eye)
            shadows = visible.take(pixels[alone[seen.ray]], axis=1)
            replace_at(light, alone, self._light(rays, seen, shadows, lighting, pixel_m))
        return np.asarray(light.reshape(3, -1, len(outline)).mean(axis=1))

    def behind(self, cast: Cast) -> Float32Array:
        """What a depth camera may measure instead of clear and mirroring things.

        Returns:
            (H, W) float32 metres along the optical axis: 0 for ordinary surfaces, otherwise the depth of what is seen
            through the surface, infinite where that is nothing and for mirrors.
        """
        result = np.zeros(cast.depth_m.size, np.float32)
        result[self._rays_to(self._mirror, cast.triangle)] = np.inf
        result[cast.clear] = np.where(cast.behind.triangle >= 0, cast.behind.depth_m, np.float32(np.inf))
        return result.reshape(cast.depth_m.shape)

    def robot(self, cast: Cast) -> npt.NDArray[np.bool_]:
        """(H, W) bool, the pixels that see a robot."""
        result = np.zeros(cast.depth_m.size, bool)
        result[self._rays_to(self._robot, cast.triangle)] = True
        return result.reshape(cast.depth_m.shape)

    def _rays_to(self, which: npt.NDArray[np.bool_], triangle: IndexArray) -> IndexArray:
        """Flat indices of the rays that hit a triangle of one of these shapes."""
        if not which.any():
            return np.zeros(0, np.intp)
        return np.flatnonzero(which[self._owner].take(triangle))

    def _through_clear(
        self,
        hit: Hits,
        rays: Float32Array,
        eye: Float32Array,
        T_world_camera: Transform,
        lighting: Lighting,
        width: int,
    ) -> tuple[Float32Array, Float32Array, IndexArray]:
        """What clear walls do to the light that comes along (3, N) rays, whose first ``hit`` is a clear wall.

        Returns:
            (3, N) light that they add, (3, N) share of the light from behind that they let through, and (2, N) how far
            that light is displaced, in pixels to the right and down.
        """
        count = rays.shape[1]
        added, passed = np.zeros((3, count), np.float32), np.ones((3, count), np.float32)
        bend_px = np.zeros((2, count), np.int64)
        tints = np.array([item.appearance.base_rgb for item in self._placed], np.float32).T
        # Solid glass and filled vessels bend light much; thin walls hardly do.
        bends = np.array([1.0 if item.appearance.seed % 3 == 0 else 0.1 for item in self._placed], np.float32)
        start, active = np.repeat(eye, count, axis=1), np.arange(count)
        for wall in range(_CLEAR_WALLS):
            if wall > 0:
                hit = self._nearest(self._scene, None, rays.take(active, axis=1), start.take(active, axis=1))
                clear = self._rays_to(self._clear, hit.triangle)
                active, hit = active.take(clear), hit.at(clear)
            if not len(active):
                break
            seen = self._surface(hit, rays.take(active, axis=1), start.take(active, axis=1))
            reflected, share = through_surface(seen.normal, seen.view, tints[:, seen.owner], lighting)
            added[:, active] += passed[:, active] * reflected
            passed[:, active] *= share
            start[:, active] = seen.point_m + _PAST_M * seen.view
            if wall == 0:
                towards = T_world_camera.rotation[:, :2].T.astype(np.float32) @ seen.normal
                bend_px[:, active] = np.rint(-_BEND_PX * width / 320.0 * bends[seen.owner] * towards)
        return added, passed, bend_px

    def _mirrored(
        self, hit: Hits, rays: Float32Array, eye: Float32Array, lighting: Lighting, pixel_m: float
    ) -> Float32Array:
        """(3, N) light that mirrors hit by (3, N) rays send to the camera; what they mirror is lit evenly."""
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
        """(3, N) linear light along (3, N) rays, which see these surfaces or, where they miss, the surroundings."""
        linear = np.empty_like(rays)
        if len(seen.ray) < rays.shape[1]:
            missed = np.ones(rays.shape[1], bool)
            missed[seen.ray] = False
            at = np.flatnonzero(missed)
            replace_at(linear, at, surroundings(rays.take(at, axis=1), lighting))
        if len(seen.ray):
            replace_at(linear, seen.ray, self._reflected(seen, visible, lighting, pixel_m))
        return linear

    def _reflected(self, seen: Surface, visible: Float32Array, lighting: Lighting, pixel_m: float) -> Float32Array:
        """(3, N) linear light that N > 0 points of surfaces send to the camera."""
        table = self._textures(seen.owner)
        light = np.empty_like(seen.view)
        for first in range(0, len(seen.ray), _AT_ONCE):
            here = slice(first, first + _AT_ONCE)
            part = seen.part(here)
            look = self._look.take(part.owner)
            light[:, here] = radiance(part, look, table, self._poses, lighting, visible[:, here], pixel_m)
        return light

    def _textures(self, owners: IndexArray) -> TextureTable:
        """Textures of these shapes, by their ``_look``, and of all shapes that were asked for before."""
        in_view = np.flatnonzero(np.bincount(owners, minlength=len(self._placed)))
        new = in_view[self._look[in_view] < 0]
        self._look[new] = np.arange(len(self._looks), len(self._looks) + len(new))
        self._looks += tuple(self._placed[k].appearance for k in new)
        return _texture_table(self._looks)

    def _first(self, rays: Float32Array, start: Float32Array) -> Hits:
        """What (3, N) rays from (3, 1) or (3, N) points meet first, clear shapes left out."""
        return self._nearest(self._opaque, self._opaque_triangle, rays, start)

    @staticmethod
    def _nearest(scene: TriangleScene, triangles: IndexArray | None, rays: Float32Array, start: Float32Array) -> Hits:
        """What (3, N) rays meet in a scene, whose triangles have these indices among all (None: the same)."""
        hits = scene.nearest(np.broadcast_to(start, rays.shape).T, rays.T)
        if triangles is not None:
            met = np.flatnonzero(hits.triangle >= 0)
            hits.triangle[met] = triangles[hits.triangle[met]]
        return hits

    @cached_property
    def _normals(self) -> Float32Array:
        """(12, F): the unit normal at a triangle's first corner, the differences of the second's and the third's to it,
        and the triangle's own normal, of any length; those at corners are smooth across edges flatter than a crease."""
        corners_m = self._vertices_m.take(self._faces, axis=0)
        at_corner = smooth_normals(self._faces, corners_m)
        own = triangle_normals(corners_m)[:, None]
        by_triangle = np.concatenate([at_corner[:, :1], at_corner[:, 1:] - at_corner[:, :1], own], axis=1)
        return np.ascontiguousarray(by_triangle.reshape(-1, 12).T)

    def _surface(self, hit: Hits, rays: Float32Array, start: Float32Array) -> Surface:
        """The surface that (3, N) rays from (3, 1) or (3, N) points hit; rays that hit nothing are left out."""
        ray = np.flatnonzero(hit.triangle >= 0)
        if len(ray) < len(hit.triangle):
            hit, rays = hit.at(ray), rays.take(ray, axis=1)
            start = start if start.shape[1] == 1 else start.take(ray, axis=1)
        # Twelve reads from short rows that stay in the cache, each giving contiguous values.
        first, second, third, own = self._normals.reshape(4, 3, -1).take(hit.triangle, axis=2)
        normal = first + hit.u * second + hit.v * third
        outside = -(own[0] * rays[0] + own[1] * rays[1] + own[2] * rays[2])
        point_m = rays * hit.depth_m + start
        owner = self._owner.take(hit.triangle)
        return Surface(ray, owner, point_m, unit(normal) * np.sign(outside), unit(rays), hit.depth_m)

    def _soft_visibility(self, seen: Surface, lighting: Lighting, size_hw: tuple[int, int]) -> Float32Array:
        """(1 + lamps, H * W) share in [0, 1] of the surroundings, then of each lamp, that each pixel's surface sees.

        In large images only every second (third, ...) pixel and row is computed, and the others are interpolated.
        """
        key = np.full(size_hw, -1, np.int32)
        key.ravel()[seen.ray] = seen.key()
        stride = max(1, round(size_hw[1] / _LIT_COLUMNS))
        if stride == 1:
            return self._averaged_visibility(seen, lighting, key).reshape(-1, key.size)
        coarse_key = np.ascontiguousarray(key[::stride, ::stride])
        place = np.full(size_hw, -1)
        place.ravel()[seen.ray] = np.arange(len(seen.ray))
        coarse_place = place[::stride, ::stride].ravel()
        ray = np.flatnonzero(coarse_place >= 0)
        part = replace(seen.at(coarse_place.take(ray)), ray=ray)
        visible = self._averaged_visibility(part, lighting, coarse_key)
        return spread_by_surface(visible, coarse_key, key, stride).reshape(-1, key.size)

    def _averaged_visibility(self, seen: Surface, lighting: Lighting, key: IntArray) -> Float32Array:
        """(1 + lamps, H, W) as :meth:`_soft_visibility`, given the (H, W) keys of the pixels' surfaces."""
        height, width = key.shape
        free = np.ones((1 + len(lighting.lights), height * width), bool)
        sample = np.tile(_DITHER, (-(-height // 4), -(-width // 4)))[:height, :width].ravel().take(seen.ray)
        start = seen.point_m + 1e-3 * seen.normal
        # A normal plus a point of the unit sphere: directions with the density of Lambert's cosine.
        free[0, seen.ray] = self._free(start, seen.normal + _SPHERE.take(sample, axis=1), lighting.occlusion_m)
        for row, light in zip(free[1:], lighting.lights, strict=True):
            row[seen.ray] = False
            x, y, z = light.unit()
            lit = np.flatnonzero(x * seen.normal[0] + y * seen.normal[1] + z * seen.normal[2] > 0)
            towards = _towards_lamp(light).take(sample.take(lit), axis=1)
            row[seen.ray.take(lit)] = self._free(start.take(lit, axis=1), towards, _SHADOW_REACH_M)
        free = free.reshape(-1, height, width)
        visible = free.astype(np.float32)
        # The shadow of a point lamp has a sharp edge, so there is nothing to average.
        soft = [True, *(light.radius > 0 for light in lighting.lights)]
        visible[soft] = averaged_by_surface(free[soft], key)
        return visible

    def _free(self, start: Float32Array, directions: Float32Array, reach: float) -> npt.NDArray[np.bool_]:
        """Which of (3, N) rays meet nothing within ``reach`` of their lengths."""
        return self._opaque.is_free(start.T, directions.T, reach)


@lru_cache(maxsize=1)
def _texture_table(looks: tuple[Appearance, ...]) -> TextureTable:
    """Cached, because most pictures show the same shapes as the one before, even if something moved in between."""
    return TextureTable(looks)


def _towards_lamp(light: Light) -> Float32Array:
    """(3, 16) directions to points of a lamp, all the same for a point lamp."""
    towards = light.unit()[:, 0].astype(np.float64)
    side = cross(towards, np.eye(3)[0 if abs(towards[0]) < 0.9 else 1])
    across = np.stack([side, cross(towards, side)]) / np.linalg.norm(side)
    return np.asarray((towards + light.radius * _DISK @ across).T, np.float32)


def _subpixel_rays(pixels: IndexArray, camera: Intrinsics, T_world_camera: Transform) -> Float32Array:
    """(3, K * M) rays in world axes: through the first samples of (M,) pixels (flat indices), then the second ones."""
    row, column = np.divmod(pixels, camera.width)
    x = ((column - camera.cx) + _SUBPIXELS[:, :1]).ravel() / camera.fx
    y = ((row - camera.cy) + _SUBPIXELS[:, 1:]).ravel() / camera.fy
    right, down, forward = T_world_camera.rotation.T[..., None]
    return np.asarray(x * right + y * down + forward, np.float32)


def _nearest_of_owner(pixels: IndexArray, wanted: IndexArray, owner: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Pixels that see a wanted shape, each the given pixel itself or one next to it.

    Args:
        pixels: (M,) flat indices.
        wanted: (M,) index of the shape that is looked for in the 3 x 3 around each of them.
        owner: (H, W) index of the shape that each pixel sees.

    Returns:
        (M,) flat indices, and which of the M pixels have no pixel of the wanted shape around them.
    """
    width = owner.shape[1]
    owners = np.pad(owner, 1, constant_values=-2).ravel()
    row, column = np.divmod(pixels, width)
    at = (row + 1) * (width + 2) + column + 1
    nearest, missing = pixels.copy(), np.flatnonzero(owners[at] != wanted)
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)):
        found = owners[at[missing] + down * (width + 2) + right] == wanted[missing]
        nearest[missing[found]] += down * width + right
        missing = missing[~found]
    return nearest, missing


def _lay_over(picture: Float32Array, pixels: IndexArray, light: Float32Array, size_hw: tuple[int, int]) -> None:
    """Put (3, N) light onto pixels of a (3, H * W) picture, blended at the rim with what is there."""
    covered = np.zeros(size_hw, np.float32)
    covered.ravel()[pixels] = 1.0
    share = cv2.blur(covered, (3, 3)).ravel()[pixels]
    below = picture.take(pixels, axis=1)
    replace_at(picture, pixels, below + share * (light - below))


def _outline(owner: IndexArray) -> IndexArray:
    """Flat indices of pixels with a neighbour, in their row or column, on another shape."""
    edge = np.zeros(owner.shape, bool)
    across, along = owner[:, 1:] != owner[:, :-1], owner[1:] != owner[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= along
    edge[:-1] |= along
    return np.flatnonzero(edge)
