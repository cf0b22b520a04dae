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

from instance_seg_ros.synthetic.appearance import Color, TextureTable, main_axis

if TYPE_CHECKING:
    from instance_seg_ros.synthetic.scene import Placed

Float32Array = npt.NDArray[np.float32]

IntArray = npt.NDArray[np.int32]

_CREASE_COS = np.cos(np.deg2rad(38.0))
_SHADOW_REACH_M = 4.0
# Samples of a pixel at an outline, in pixels from its centre (a rotated grid: no two share a row or a column).
_SUBPIXELS = np.array([[-0.125, -0.375], [0.375, -0.125], [-0.375, 0.125], [0.125, 0.375]])
_SPIRAL = 2.399963  # golden angle: spreads samples evenly over a disk or a sphere
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
class Light:
    """A distant lamp.

    Attributes:
        direction_xyz: towards the lamp in the world, of any length.
        rgb: strength of each channel; 1 shows a white surface that faces it in white.
        radius: tangent of half the angle under which the lamp is seen; 0 gives hard shadows.
    """

    direction_xyz: Color
    rgb: Color
    radius: float


@dataclass(frozen=True)
class Lighting:
    """What lights a scene.

    Attributes:
        lights: lamps that cast shadows.
        sky_rgb: ambient light from above.
        ground_rgb: ambient light from below.
        occlusion_m: how far away something still takes ambient light from a surface.
        exposure: mean brightness of the picture in [0, 1] that the camera's automatic exposure aims at.
        window_phase: shifts the pattern of bright windows that shiny surfaces mirror.
    """

    lights: tuple[Light, ...] = (Light((0.4, -0.3, 1.0), (0.75, 0.75, 0.72), 0.06),)
    sky_rgb: Color = (0.42, 0.43, 0.45)
    ground_rgb: Color = (0.2, 0.19, 0.18)
    occlusion_m: float = 0.15
    exposure: float = 0.45
    window_phase: Color = (0.0, 0.0, 0.0)


DAYLIGHT = Lighting()


def sample_lighting(rng: np.random.Generator) -> Lighting:
    """One or two lamps of any colour temperature, hard to soft shadows, and ambient light to match."""
    lights = []
    for strength in (1.0, rng.uniform(0.2, 0.8))[: 1 + int(rng.random() < 0.5)]:
        yaw, height = rng.uniform(-np.pi, np.pi), np.sin(np.deg2rad(rng.uniform(20.0, 88.0)))
        level = np.sqrt(1.0 - height**2)
        direction = (float(level * np.cos(yaw)), float(level * np.sin(yaw)), float(height))
        rgb = strength * _white(rng, 0.12)
        lights.append(Light(direction, _color(rgb), float(np.exp(rng.uniform(np.log(0.01), np.log(0.35))))))
    ambient = rng.uniform(0.15, 1.2) * _white(rng, 0.08)
    return Lighting(
        lights=tuple(lights),
        sky_rgb=_color(ambient),
        ground_rgb=_color(ambient * rng.uniform(0.2, 0.8) * _white(rng, 0.08)),
        occlusion_m=float(np.exp(rng.uniform(np.log(0.04), np.log(0.5)))),
        exposure=float(rng.uniform(0.3, 0.58)),
        window_phase=_color(rng.uniform(0.0, 2.0 * np.pi, 3)),
    )


def _white(rng: np.random.Generator, spread: float) -> npt.NDArray[np.float64]:
    """White light, warmer or cooler."""
    warmth, tint = rng.normal(0.0, spread), rng.normal(0.0, spread / 4)
    return np.clip(np.array([1.0 + warmth, 1.0 + tint, 1.0 - warmth]), 0.3, 1.7)


def _color(rgb: npt.NDArray[np.float64]) -> Color:
    return (float(rgb[0]), float(rgb[1]), float(rgb[2]))


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
        triangles, normals, faces = [], [], []
        vertices = 0
        for item in self._placed:
            world = item.shape.mesh.vertices @ item.T_world_shape[:3, :3].T + item.T_world_shape[:3, 3]
            corners = world[np.asarray(item.shape.mesh.faces)].astype(np.float32)
            faces.append(np.asarray(item.shape.mesh.faces) + vertices)
            vertices += len(world)
            triangles.append(corners)
            normals.append(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
        counts = [len(t) for t in triangles]
        self._owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self._ids = np.repeat(np.array([item.instance_id for item in self._placed], np.uint8), counts)
        self._faces = np.concatenate(faces)
        self._area_normal = np.concatenate(normals)
        poses = np.array([item.T_world_shape for item in self._placed], np.float32)
        self._rotations, self._positions = poses[:, :3, :3], poses[:, :3, 3]
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
        linear = np.empty_like(rays)
        missed = cast.triangle.ravel() < 0
        linear[missed] = _surroundings(rays[missed], lighting)
        if not missed.all():
            self._add_surfaces(linear, cast, rays, intrinsics_fxfycxcy, T_world_camera, lighting)
        # A camera's automatic exposure, with limits: a black object on black cloth stays dark.
        gain = np.clip(lighting.exposure / max(float(np.sqrt(linear).mean()), 1e-3), 0.5, 1.8)
        image = np.minimum(gain * 255.0 * np.sqrt(linear) + 0.5, 255.0)
        return np.asarray(image.astype(np.uint8).reshape(height, width, 3))

    def _add_surfaces(
        self,
        linear: Float32Array,
        cast: Cast,
        rays: Float32Array,
        intrinsics_fxfycxcy: Sequence[float],
        T_world_camera: npt.NDArray[np.floating],
        lighting: Lighting,
    ) -> None:
        """Put the light of everything that was hit into a (H * W, 3) picture."""
        height, width = cast.depth_m.shape
        owner = np.where(cast.triangle >= 0, self._owner[cast.triangle], -1)
        eye = T_world_camera[:3, 3].astype(np.float32)
        seen = self._surface(cast.triangle.ravel(), cast.barycentric.reshape(-1, 2), cast.depth_m.ravel(), rays, eye)
        visible = np.ones((1 + len(lighting.lights), height * width), np.float32)
        visible[:, seen.ray] = self._visibility(seen, lighting, width)
        visible = _averaged(visible.reshape(-1, height, width), _surface_key(seen, owner)).reshape(-1, height * width)

        outline = np.repeat(_outline(owner), len(_SUBPIXELS))
        fine_rays = _subpixel_rays(outline, width, intrinsics_fxfycxcy, T_world_camera)
        hit = self._run(fine_rays, eye)
        triangle = np.where(hit["geomID"] >= 0, hit["primID"], -1)
        fine = self._surface(triangle, np.stack([hit["u"], hit["v"]], axis=-1), hit["tfar"], fine_rays, eye)

        in_view = np.union1d(seen.owner, fine.owner)
        table = TextureTable([self._placed[k].appearance for k in in_view])
        pixel_m = 1.0 / float(intrinsics_fxfycxcy[0])
        look = np.searchsorted(in_view, seen.owner)
        linear[seen.ray] = self._radiance(seen, look, table, lighting, visible[:, seen.ray], pixel_m)
        if len(outline):
            light = _surroundings(fine_rays, lighting)
            shadows = visible[:, _nearest_of_owner(outline[fine.ray], fine.owner, owner)]
            look = np.searchsorted(in_view, fine.owner)
            light[fine.ray] = self._radiance(fine, look, table, lighting, shadows, pixel_m)
            linear[outline[:: len(_SUBPIXELS)]] = light.reshape(-1, len(_SUBPIXELS), 3).mean(axis=1)

    def _run(self, rays: Float32Array, eye: Float32Array) -> dict[str, npt.NDArray[Any]]:
        """Embree's answer for (N, 3) rays from one point."""
        origins = np.empty_like(rays)
        origins[:] = eye
        answer: dict[str, npt.NDArray[Any]] = self._scene.run(origins, rays, output=True)
        return answer

    @cached_property
    def _corner_normal(self) -> Float32Array:
        """(F, 3, 3) unit normal of each corner, smooth across edges flatter than a crease."""
        return smooth_normals(self._faces, self._area_normal)

    def _surface(
        self,
        triangle: IntArray,
        barycentric: Float32Array,
        depth_m: Float32Array,
        rays: Float32Array,
        eye: Float32Array,
    ) -> _Surface:
        """The surface that (N,) rays hit; those that hit nothing are left out."""
        ray = np.flatnonzero(triangle >= 0)
        triangle, rays = triangle[ray], rays[ray]
        second, third = barycentric[ray].T
        weights = np.stack([1.0 - second - third, second, third], axis=1)
        normal = _unit(np.einsum("ij,ijk->ik", weights, self._corner_normal[triangle]))
        flat = self._area_normal[triangle]
        towards = -np.sign(np.einsum("ij,ij->i", flat, rays))[:, None].astype(np.float32)
        depth_m = depth_m[ray]
        return _Surface(
            ray,
            self._owner[triangle],
            rays * depth_m[:, None] + eye,
            normal * towards,
            _unit(rays),
            depth_m,
        )

    def _visibility(self, seen: _Surface, lighting: Lighting, width: int) -> Float32Array:
        """(1 + lights, N): 1 where a ray towards the surroundings, then towards each lamp, gets through, else 0."""
        sample = _DITHER[seen.ray // width % 4, seen.ray % width % 4]
        start = np.ascontiguousarray(seen.point_m + 1e-3 * seen.normal)
        around = np.arange(16) * _SPIRAL
        height = (2.0 * np.arange(16) + 1.0) / 16.0 - 1.0
        level = np.sqrt(1.0 - height**2)
        sphere = np.stack([level * np.cos(around), level * np.sin(around), height], axis=1).astype(np.float32)
        # A normal plus a point of the unit sphere: directions with the density of Lambert's cosine.
        found = [self._free(start, seen.normal + 0.98 * sphere[sample], lighting.occlusion_m)]
        radius = np.sqrt((np.arange(16) + 0.5) / 16.0)
        disk = np.stack([radius * np.cos(around), radius * np.sin(around)], axis=1)
        for light in lighting.lights:
            towards = np.asarray(light.direction_xyz) / np.linalg.norm(light.direction_xyz)
            side = np.cross(towards, [1.0, 0.0, 0.0] if abs(towards[0]) < 0.9 else [0.0, 1.0, 0.0])
            across = np.stack([side, np.cross(towards, side)]) / np.linalg.norm(side)
            directions = (towards + light.radius * disk @ across).astype(np.float32)
            found.append(self._free(start, directions[sample], _SHADOW_REACH_M))
        return np.stack(found).astype(np.float32)

    def _free(self, start: Float32Array, directions: Float32Array, reach: float) -> npt.NDArray[np.bool_]:
        """Which rays meet nothing within ``reach`` of their lengths."""
        reaches = np.full(len(start), reach, np.float32)
        hit = self._scene.run(start, np.ascontiguousarray(directions), dists=reaches, query="OCCLUDED")
        return np.asarray(hit != 0)

    def _radiance(
        self,
        seen: _Surface,
        look: npt.NDArray[np.int64],
        table: TextureTable,
        lighting: Lighting,
        visible: Float32Array,
        pixel_m: float,
    ) -> Float32Array:
        """(N, 3) linear light that surfaces send to the camera, after Phong with a mirrored share after Schlick."""
        R = self._rotations[seen.owner]
        local = np.einsum("ij,ijk->ik", seen.point_m - self._positions[seen.owner], R)
        facing_camera = np.clip(-np.einsum("ij,ij->i", seen.normal, seen.view), 0.0, 1.0)
        footprint_m = seen.depth_m * np.float32(pixel_m) / np.sqrt(np.maximum(facing_camera, 0.1))
        albedo = table.albedo(look, local, np.einsum("ij,ijk->ik", seen.normal, R), footprint_m) ** 2
        up = (0.5 + 0.5 * seen.normal[:, 2:]) * visible[0][:, None]
        sky, ground = (np.array(rgb, np.float32) for rgb in (lighting.sky_rgb, lighting.ground_rgb))
        diffuse = up * sky + (0.25 + 0.75 * visible[0][:, None]) * ground * (0.5 - 0.5 * seen.normal[:, 2:])
        gloss, shininess = table.gloss[look], table.shininess[look]
        shiny = np.flatnonzero(gloss > 0.005)
        mirror = seen.view[shiny] + 2.0 * facing_camera[shiny, None] * seen.normal[shiny]
        highlight = np.zeros((len(shiny), 3), np.float32)
        for light, free in zip(lighting.lights, visible[1:], strict=True):
            towards = (np.asarray(light.direction_xyz) / np.linalg.norm(light.direction_xyz)).astype(np.float32)
            rgb = np.array(light.rgb, np.float32)
            diffuse += (np.clip(np.einsum("ij,j->i", seen.normal, towards), 0.0, 1.0) * free)[:, None] * rgb
            lobe = np.clip(np.einsum("ij,j->i", mirror, towards), 0.0, 1.0) ** shininess[shiny]
            highlight += (lobe * free[shiny] * (0.5 + 0.1 * shininess[shiny]))[:, None] * rgb
        share = gloss[shiny] + (1.0 - gloss[shiny]) * (1.0 - facing_camera[shiny]) ** 5 * (gloss[shiny] > 0.02)
        highlight += _surroundings(mirror, lighting) * visible[0][shiny][:, None]
        result = albedo * diffuse
        result[shiny] += share[:, None] * (highlight - result[shiny])
        return np.maximum(result, 0.0)


@dataclass(frozen=True)
class _Surface:
    """Points seen by rays: flat index of the ray, shape, position and normal (world), direction of view, z-depth."""

    ray: npt.NDArray[np.int64]
    owner: IntArray
    point_m: Float32Array
    normal: Float32Array
    view: Float32Array
    depth_m: Float32Array


def _unit(vectors: Float32Array) -> Float32Array:
    """(N, 3) vectors at length 1."""
    return np.asarray(
        vectors / np.sqrt(np.maximum(np.einsum("ij,ij->i", vectors, vectors), 1e-12))[:, None], np.float32
    )


def smooth_normals(faces: npt.NDArray[np.int64], area_normal: Float32Array) -> Float32Array:
    """Unit normals at the corners of triangles, as if curved shapes had no facets.

    A corner takes the mean, weighted by area, of the triangles at its vertex that lie less than a crease apart from its
    own triangle.

    Args:
        faces: (F, 3) vertices of each triangle.
        area_normal: (F, 3) normals as long as the triangles are large.

    Returns:
        (F, 3, 3) float32, by triangle and corner.
    """
    unit = area_normal / np.maximum(np.linalg.norm(area_normal, axis=1, keepdims=True), 1e-12)
    vertex = faces.ravel()
    order = np.argsort(vertex, kind="stable")
    count = np.bincount(vertex)
    start = np.cumsum(count) - count
    # All pairs of corners that share a vertex.
    pairs = count[vertex]
    corner = np.repeat(np.arange(len(vertex)), pairs)
    within = np.arange(len(corner)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    other = order[start[vertex[corner]] + within] // 3
    smooth = np.einsum("ij,ij->i", unit[corner // 3], unit[other]) > _CREASE_COS
    corner, other = corner[smooth], other[smooth]
    sums = [np.bincount(corner, area_normal[other, k], minlength=len(vertex)) for k in range(3)]
    total = np.stack(sums, axis=1)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12), np.float32).reshape(
        -1, 3, 3
    )


def _surroundings(directions: Float32Array, lighting: Lighting) -> Float32Array:
    """(N, 3) light from far away in these directions: sky and ground, and windows in a wavy pattern."""
    direction = _unit(directions)
    share = np.clip(0.5 + 1.2 * direction[:, 2:], 0.0, 1.0)
    sky, ground = (np.array(rgb, np.float32) for rgb in (lighting.sky_rgb, lighting.ground_rgb))
    x, y, z = np.sin(5.0 * direction + np.array(lighting.window_phase, np.float32)).T
    wave = (x * y * z)[:, None]
    return np.asarray((ground + share * (sky - ground)) * (0.7 + 2.0 * np.clip(8.0 * wave - 2.0, 0.0, 1.0)), np.float32)


def _surface_key(seen: _Surface, owner: IntArray) -> npt.NDArray[np.int32]:
    """(H, W) numbers that differ between shapes, and between sides of a shape."""
    key = np.full(owner.size, -1, np.int32)
    axis = main_axis(seen.normal)
    side = 2 * axis + (seen.normal[np.arange(len(axis)), axis] > 0)
    key[seen.ray] = seen.owner * 6 + side
    return key.reshape(owner.shape)


def _averaged(values: Float32Array, key: npt.NDArray[np.int32]) -> Float32Array:
    """Means of (C, H, W) values over those of the 4 x 4 pixels around each pixel that have the same key."""
    height, width = key.shape
    padded = np.pad(values, ((0, 0), (2, 2), (2, 2)), mode="edge")
    keys = np.pad(key, 2, mode="edge")
    total, count = np.zeros_like(values), np.zeros(key.shape, np.float32)
    for row in range(1, 5):
        for column in range(1, 5):
            same = (keys[row : row + height, column : column + width] == key).astype(np.float32)
            total += padded[:, row : row + height, column : column + width] * same
            count += same
    return total / count


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
