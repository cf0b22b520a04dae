"""How surfaces look under lamps: the lighting of a scene, and the light that a surface sends to the camera.

Vectors are (3, N) arrays here, components first: NumPy works along the last axis, which must be long to be fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from instance_seg_ros.learning.synthetic.pictures.appearance import Color
from instance_seg_ros.learning.synthetic.pictures.texture_table import TextureTable, faces_up, main_axis

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
IndexArray = npt.NDArray[np.intp]

SIDES = 6  # of a shape that a key distinguishes: the main directions that a surface may face
_CREASE_COS = np.cos(np.deg2rad(38.0))


@dataclass(frozen=True)
class Light:
    """A distant lamp.

    Attributes:
        direction_xyz: towards the lamp in the world, of any length.
        rgb: strength of each channel; 1 shows a white surface that faces it in white.
        radius: tangent of half the angle under which the lamp is seen; 0 gives sharp shadows.
    """

    direction_xyz: Color
    rgb: Color
    radius: float

    def unit(self) -> Float32Array:
        """(3, 1) direction of length 1."""
        return unit(_column(self.direction_xyz))


@dataclass(frozen=True)
class Lighting:
    """What lights a scene.

    Attributes:
        lights: lamps that cast shadows.
        sky_rgb: ambient light from above.
        ground_rgb: ambient light from below.
        occlusion_m: up to this distance, things take ambient light from a surface.
        exposure: mean brightness of the picture in [0, 1] that the camera's automatic exposure aims for.
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
    """One or two lamps of any colour temperature, sharp to soft shadows, and ambient light to match."""
    lights = []
    for strength in (1.0, rng.uniform(0.2, 0.8))[: 1 + int(rng.random() < 0.5)]:
        yaw, height = rng.uniform(-np.pi, np.pi), np.sin(np.deg2rad(rng.uniform(20.0, 88.0)))
        level = np.sqrt(1.0 - height**2)
        direction = (float(level * np.cos(yaw)), float(level * np.sin(yaw)), float(height))
        rgb = strength * _white(rng, 0.12)
        radius = float(np.exp(rng.uniform(np.log(0.02), np.log(0.35)))) if rng.random() < 0.7 else 0.0
        lights.append(Light(direction, _color(rgb), radius))
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


@dataclass(frozen=True)
class Surface:
    """Points that the rays of a picture see.

    Attributes:
        ray: (N,) flat index of the ray.
        owner: (N,) index of the shape.
        point_m: (3, N) in the world.
        normal: (3, N) unit, in the world, towards the camera.
        view: (3, N) unit direction of the ray, in the world.
        depth_m: (N,) along the optical axis.
    """

    ray: IndexArray
    owner: IndexArray
    point_m: Float32Array
    normal: Float32Array
    view: Float32Array
    depth_m: Float32Array

    def part(self, which: slice) -> Surface:
        """A contiguous part of the points."""
        return Surface(
            self.ray[which],
            self.owner[which],
            self.point_m[:, which],
            self.normal[:, which],
            self.view[:, which],
            self.depth_m[which],
        )

    def at(self, index: IndexArray) -> Surface:
        """Some of the points."""
        return Surface(
            self.ray.take(index),
            self.owner.take(index),
            self.point_m.take(index, axis=1),
            self.normal.take(index, axis=1),
            self.view.take(index, axis=1),
            self.depth_m.take(index),
        )

    def key(self) -> IntArray:
        """(N,) numbers that differ between shapes, and between sides of a shape."""
        axis = main_axis(self.normal)
        return (self.owner * SIDES + 2 * axis + faces_up(self.normal, axis)).astype(np.int32)


def radiance(
    seen: Surface,
    look: IndexArray,
    table: TextureTable,
    T_world_shapes: Float32Array,
    lighting: Lighting,
    visible: Float32Array,
    pixel_m: float,
) -> Float32Array:
    """Linear light that surfaces send to the camera, after Phong, with a mirrored share after Schlick.

    Args:
        seen: N points.
        look: (N,) index of their textures in ``table``.
        table: textures.
        T_world_shapes: (3, 4, S) the upper three rows of the pose of each shape.
        lighting: what lights them.
        visible: (1 + lamps, N) share in [0, 1] of the surroundings, then of each lamp, that the points see.
        pixel_m: width of a pixel at a depth of 1 m.

    Returns:
        (3, N) RGB, 1 is white.
    """
    local, local_normal = _to_shapes(seen, T_world_shapes)
    facing_camera = np.clip(-_dot(seen.normal, seen.view), 0.0, 1.0)
    footprint_m = np.asarray(seen.depth_m * pixel_m / np.sqrt(np.maximum(facing_camera, 0.1)), np.float32)
    result = table.albedo(look, local, local_normal, footprint_m)
    result *= result
    open_share, up = visible[0], 0.5 + 0.5 * seen.normal[2]
    diffuse = _column(lighting.sky_rgb) * (open_share * up)
    diffuse += _column(lighting.ground_rgb) * ((0.25 + 0.75 * open_share) * (1.0 - up))
    for light, free in zip(lighting.lights, visible[1:], strict=True):
        diffuse += _column(light.rgb) * (np.clip(_dot(seen.normal, light.unit()), 0.0, 1.0) * free)
    result *= diffuse

    gloss = table.gloss.take(look)
    shiny = np.flatnonzero(gloss > 0.005)
    gloss, shininess = gloss.take(shiny), table.shininess.take(look.take(shiny))
    facing_camera, open_share = facing_camera.take(shiny), open_share.take(shiny)
    mirror = seen.view.take(shiny, axis=1) + 2.0 * facing_camera * seen.normal.take(shiny, axis=1)
    mirrored = surroundings(mirror, lighting) * open_share
    for light, free in zip(lighting.lights, visible[1:], strict=True):
        lobe = np.clip(_dot(mirror, light.unit()), 0.0, 1.0) ** shininess
        mirrored += _column(light.rgb) * (lobe * free.take(shiny) * (0.5 + 0.1 * shininess))
    share = gloss + (1.0 - gloss) * (1.0 - facing_camera) ** 5 * (gloss > 0.02)
    own = result.take(shiny, axis=1)
    replace_at(result, shiny, own + share * (mirrored - own))
    return np.maximum(result, 0.0, out=result)


def through_surface(
    normal: Float32Array, view: Float32Array, tint: Float32Array, lighting: Lighting
) -> tuple[Float32Array, Float32Array]:
    """What a thin clear wall does to light that comes towards the camera: reflects some (Schlick), colours the rest.

    Args:
        normal: (3, N) unit, towards the camera.
        view: (3, N) unit direction of the rays.
        tint: (3, N) share of light that a wall lets through when looking straight at it.
        lighting: what is reflected.

    Returns:
        (3, N) light that the wall adds, and (3, N) the share of light from behind that passes.
    """
    facing = np.clip(-_dot(normal, view), 0.0, 1.0)
    share = 0.04 + 0.96 * (1.0 - facing) ** 5
    mirror = view + 2.0 * facing * normal
    mirrored = surroundings(mirror, lighting)
    for light in lighting.lights:
        mirrored += _column(light.rgb) * (20.0 * np.clip(_dot(mirror, light.unit()), 0.0, 1.0) ** 400)
    # The flatter the view, the longer the path through the wall.
    passed = tint ** (1.0 / np.maximum(facing, 0.2)) * (1.0 - share)
    return np.asarray(mirrored * share, np.float32), np.asarray(passed, np.float32)


def _to_shapes(seen: Surface, T_world_shapes: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Points and normals, (3, N) each, in the frames of their shapes."""
    pose = T_world_shapes.take(seen.owner, axis=2)
    offset = seen.point_m - pose[:, 3]
    local, normal = np.empty_like(offset), np.empty_like(offset)
    for k in range(3):
        local[k] = _dot(pose[:, k], offset)
        normal[k] = _dot(pose[:, k], seen.normal)
    return local, normal


def surroundings(directions: Float32Array, lighting: Lighting) -> Float32Array:
    """(3, N) light from far away in (3, N) directions: sky and ground, and windows in a wavy pattern."""
    direction = unit(directions)
    sky, ground = _column(lighting.sky_rgb), _column(lighting.ground_rgb)
    share = np.clip(0.5 + 1.2 * direction[2], 0.0, 1.0)
    x, y, z = np.sin(5.0 * direction + _column(lighting.window_phase))
    return np.asarray((ground + share * (sky - ground)) * (0.7 + 2.0 * np.clip(8.0 * x * y * z - 2.0, 0.0, 1.0)))


def replace_at(vectors: Float32Array, index: IndexArray, others: Float32Array) -> None:
    """Replace some of (3, N) vectors; NumPy takes several times as long for all components at once."""
    for component, other in zip(vectors, others, strict=True):
        component[index] = other


def unit(vectors: Float32Array) -> Float32Array:
    """(3, N) vectors at length 1."""
    return np.asarray(vectors / np.sqrt(np.maximum(_dot(vectors, vectors), 1e-12)), np.float32)


def _dot(a: Float32Array, b: Float32Array) -> Float32Array:
    """Scalar products of (3, N) vectors, the second may be (3, 1)."""
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2], np.float32)


def _column(values: Color) -> Float32Array:
    return np.array(values, np.float32)[:, None]


def smooth_normals(faces: npt.NDArray[np.integer], corners_m: Float32Array) -> Float32Array:
    """Unit normals at the corners of triangles, as if curved shapes had no facets.

    A corner takes the mean of the triangles at its vertex that lie less than a crease apart from its own triangle,
    weighted by their angles there (Thuermer and Wuethrich 1998).

    Args:
        faces: (F, 3) vertices of each triangle.
        corners_m: (F, 3, 3) positions of these vertices.

    Returns:
        (F, 3, 3) float32, by triangle and corner.
    """
    normal = triangle_normals(corners_m)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    angle = _corner_angles(corners_m).ravel()
    vertex = faces.ravel()
    order = np.argsort(vertex, kind="stable")
    count = np.bincount(vertex)
    start = np.cumsum(count) - count
    # All pairs of corners that share a vertex.
    pairs = count.take(vertex)
    corner = np.repeat(np.arange(len(vertex)), pairs)
    first = start.take(vertex) - (np.cumsum(pairs) - pairs)
    other = order.take(np.repeat(first, pairs) + np.arange(len(corner)))
    by_corner = np.ascontiguousarray(np.repeat(normal, 3, axis=0).T)
    theirs = by_corner.take(other, axis=1)
    smooth = np.flatnonzero(_dot(np.repeat(by_corner, pairs, axis=1), theirs) > _CREASE_COS)
    corner, weighted = corner.take(smooth), (theirs * angle.take(other)).take(smooth, axis=1)
    total = np.stack([np.bincount(corner, component, minlength=len(vertex)) for component in weighted])
    smoothed = total / np.maximum(np.linalg.norm(total, axis=0), 1e-12)
    return np.asarray(smoothed.T, np.float32).reshape(-1, 3, 3)


def _corner_angles(corners_m: Float32Array) -> Float32Array:
    """(F, 3) angles of triangles with these (F, 3, 3) corners."""
    corners_m = np.ascontiguousarray(corners_m.transpose(2, 1, 0))
    forth = corners_m[:, [1, 2, 0]] - corners_m
    back = -forth[:, [2, 0, 1]]
    length = np.sqrt(_dot(forth, forth))
    cosines = _dot(forth, back) / np.maximum(length * length[[2, 0, 1]], 1e-18)
    return np.arccos(np.clip(cosines, -1.0, 1.0)).T


def triangle_normals(corners_m: Float32Array) -> Float32Array:
    """(F, 3) normals of triangles with these (F, 3, 3) corners; their lengths are twice the areas."""
    return np.asarray(np.cross(corners_m[:, 1] - corners_m[:, 0], corners_m[:, 2] - corners_m[:, 0]), np.float32)


def averaged_by_surface(flags: npt.NDArray[np.bool_], key: npt.NDArray[np.int32]) -> Float32Array:
    """Share of (C, H, W) flags that are set in the 4 x 4 pixels around each pixel, counting those of its own surface.

    Args:
        flags: what to average.
        key: (H, W) from :meth:`Surface.key`. Other sides of the same shape count little: they matter only where a side
            is so narrow that it has hardly any pixels of its own.
    """
    height, width = key.shape
    owner = key // SIDES
    keys, owners = np.pad(key, 2, mode="edge"), np.pad(owner, 2, mode="edge")
    padded = np.pad(flags.view(np.uint8), ((0, 0), (2, 2), (2, 2)), mode="edge")
    # Counts of set flags and of pixels, by side and by shape; bytes, because a processor adds many at once.
    by_side, by_shape = (np.zeros((len(flags) + 1, height, width), np.uint8) for _ in range(2))
    for row in range(1, 5):
        for column in range(1, 5):
            rows, columns = slice(row, row + height), slice(column, column + width)
            for counts, mine, theirs in ((by_side, key, keys), (by_shape, owner, owners)):
                alike = (theirs[rows, columns] == mine).view(np.uint8)
                counts[:-1] += padded[:, rows, columns] & alike
                counts[-1] += alike
    *total, count = by_side + np.float32(0.05) * (by_shape - by_side)
    return np.stack(total) / count


def spread_by_surface(
    values: Float32Array, coarse_key: npt.NDArray[np.int32], key: npt.NDArray[np.int32], stride: int
) -> Float32Array:
    """(C, H, W) values at all pixels, interpolated within surfaces from every ``stride``-th row and column.

    Args:
        values: (C, h, w) at the pixels (0, 0), (0, stride), ...
        coarse_key: (h, w) of those pixels, from :meth:`Surface.key`.
        key: (H, W) of all pixels.
        stride: at least 2.
    """
    height, width = key.shape
    rows, columns = np.arange(height) // stride, np.arange(width) // stride
    # Where all four coarse pixels around see what the pixel sees, they are simply interpolated.
    padded = np.pad(coarse_key, ((0, 1), (0, 1)), mode="edge")
    alike = (coarse_key == padded[1:, :-1]) & (coarse_key == padded[:-1, 1:]) & (coarse_key == padded[1:, 1:])
    at = np.ix_(rows, columns)
    simple = alike[at] & (coarse_key[at] == key)
    shift = np.array([[1.0 / stride, 0.0, 0.0], [0.0, 1.0 / stride, 0.0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    spread = [cv2.warpAffine(v, shift, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE) for v in values]
    result = np.stack(spread).astype(np.float32)

    row, column = np.divmod(np.flatnonzero(~simple), width)
    total, count = np.zeros((len(values), len(row)), np.float32), np.zeros(len(row), np.float32)
    for down in (0, 1):
        near_row = np.minimum(row // stride + down, values.shape[1] - 1)
        share_down = np.abs(1 - down - row % stride / stride)
        for right in (0, 1):
            near_column = np.minimum(column // stride + right, values.shape[2] - 1)
            share = share_down * np.abs(1 - right - column % stride / stride) + 1e-3
            # Other surfaces matter only where a surface has no coarse pixel at all around here.
            share[coarse_key[near_row, near_column] != key[row, column]] *= 1e-4
            total += values[:, near_row, near_column] * share.astype(np.float32)
            count += share.astype(np.float32)
    result[:, row, column] = total / count
    return result
