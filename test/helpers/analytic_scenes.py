"""Scenes of closed-form bodies rendered by NumPy alone: exact ground truth for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.poses import camera_pose, direction, pose, yaw_rotation

VGA = Intrinsics(640, 480, 600.0, 600.0, 319.5, 239.5)
"""640x480, 56 degrees wide."""

FloatArray = NDArray[np.float64]


def upright(x_m: float, y_m: float, z_m: float, yaw_deg: float = 0.0) -> Transform:
    """Pose of a body at (x, y, z) in the world (z up), turned about the vertical."""
    return pose((x_m, y_m, z_m), yaw_rotation(np.radians(yaw_deg)))


@dataclass(frozen=True)
class Box:
    """A box by its full side lengths and the pose of its centre."""

    size_m: tuple[float, float, float]
    T_world_body: Transform

    def depths(self, origin: NDArray[np.floating], directions: NDArray[np.floating]) -> FloatArray:
        """The smallest t > 0 at which origin + t * direction meets the body, inf for none, in the body's frame."""
        with np.errstate(divide="ignore", invalid="ignore"):
            first = (-np.array(self.size_m) / 2 - origin) / directions
            second = (np.array(self.size_m) / 2 - origin) / directions
        enter = np.minimum(first, second).max(axis=-1)
        leave = np.maximum(first, second).min(axis=-1)
        return np.where((enter <= leave) & (enter > 0), enter, np.inf)


@dataclass(frozen=True)
class Sphere:
    """A ball by its radius and the pose of its centre."""

    radius_m: float
    T_world_body: Transform

    def depths(self, origin: NDArray[np.floating], directions: NDArray[np.floating]) -> FloatArray:
        """As `Box.depths`."""
        return _nearest_root((directions**2).sum(-1), directions @ origin, origin @ origin - self.radius_m**2)[0]


@dataclass(frozen=True)
class Cylinder:
    """A cylinder about its z axis by its radius, its full length and the pose of its centre."""

    radius_m: float
    length_m: float
    T_world_body: Transform

    def depths(self, origin: NDArray[np.floating], directions: NDArray[np.floating]) -> FloatArray:
        """As `Box.depths`."""
        flat, flat_origin = directions[..., :2], origin[:2]
        roots = _nearest_root((flat**2).sum(-1), flat @ flat_origin, flat_origin @ flat_origin - self.radius_m**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            first = (-self.length_m / 2 - origin[2]) / directions[..., 2]
            second = (self.length_m / 2 - origin[2]) / directions[..., 2]
        enter = np.maximum(roots[0], np.minimum(first, second))
        leave = np.minimum(roots[1], np.maximum(first, second))
        return np.where((enter <= leave) & (enter > 0), enter, np.inf)


Body = Box | Sphere | Cylinder


def _nearest_root(
    a: NDArray[np.floating], half_b: NDArray[np.floating], c: NDArray[np.floating]
) -> tuple[FloatArray, FloatArray]:
    """Both roots of a t^2 + 2 half_b t + c, (inf, -inf) where there is none."""
    discriminant = half_b**2 - a * c
    real = discriminant >= 0
    root = np.sqrt(np.where(real, discriminant, 0))
    return np.where(real, (-half_b - root) / a, np.inf), np.where(real, (-half_b + root) / a, -np.inf)


@dataclass(frozen=True)
class AnalyticScene:
    """Bodies over a table at z = 0 of the world, and the camera that looks at them.

    Attributes:
        bodies: body i has the label i + 1.
        T_world_camera: pose of the camera's optical frame.
        table_size_m: sides of the table, centred at the world's origin; None for a floor without end at z = 0.
        floor_z_m: height of a floor without end below the table; None for nothing there.
    """

    bodies: Sequence[Body]
    T_world_camera: Transform
    table_size_m: tuple[float, float] | None = None
    floor_z_m: float | None = None
    intrinsics: Intrinsics = field(default=VGA)

    def render(self, noise_m: float = 0.0, seed: int = 0) -> tuple[RgbdFrame, NDArray[np.uint16]]:
        """The frame, with white noise of this standard deviation on its depth, and its labels (H, W), 0 for none."""
        rays = self.intrinsics.rays.astype(np.float64)
        directions_camera = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=-1)
        directions = directions_camera @ self.T_world_camera.rotation.T
        origin = self.T_world_camera.translation_m
        depth_m = np.full(rays.shape[:2], np.inf)
        for height_m, size_m in ((0.0, self.table_size_m), (self.floor_z_m, None)):
            if height_m is not None:
                depth_m = np.minimum(depth_m, _horizontal(height_m, size_m, origin, directions))
        labels = np.zeros(depth_m.shape, dtype=np.uint16)
        for label, body in enumerate(self.bodies, start=1):
            T_body_world = body.T_world_body.inverse()
            body_m = body.depths(T_body_world.apply(origin), directions @ T_body_world.rotation.T)
            nearer = body_m < depth_m
            depth_m[nearer], labels[nearer] = body_m[nearer], label
        depth_m[depth_m > 20] = 0
        measured = depth_m > 0
        noise = np.random.default_rng(seed).normal(0, noise_m, depth_m.shape) if noise_m else 0
        depth_m = np.where(measured, np.maximum(depth_m + noise, 1e-3), 0)
        color_rgb = np.stack([40 + 40 * (labels % 5), 200 - 30 * (labels % 4), 90 + 30 * (labels % 6)], axis=-1)
        return RgbdFrame(color_rgb.astype(np.uint8), depth_m.astype(np.float32), self.intrinsics), labels

    @property
    def T_camera_world(self) -> Transform:
        """Pose of the world in the camera's optical frame."""
        return self.T_world_camera.inverse()


def _horizontal(
    height_m: float, size_m: tuple[float, float] | None, origin: FloatArray, directions: FloatArray
) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (height_m - origin[2]) / directions[..., 2]
    hit = t > 0
    if size_m is not None:
        at = origin[:2] + np.where(hit, t, 0)[..., None] * directions[..., :2]
        hit &= (np.abs(at) <= np.array(size_m) / 2).all(axis=-1)
    return np.where(hit, t, np.inf)


def look_at(target_m: ArrayLike, distance_m: float, elevation_deg: float, azimuth_deg: float = 0.0) -> Transform:
    """`T_world_camera` of a camera that looks at a point from a distance, at an angle above the horizontal; no roll."""
    elevation, azimuth = np.radians([elevation_deg, azimuth_deg])
    target = np.asarray(target_m, dtype=np.float64)
    eye = target + distance_m * direction(elevation, azimuth)
    return camera_pose(eye, target, up=direction(elevation + np.pi / 2, azimuth))
