"""A simulated RGB-D camera that circles a tabletop where objects get pushed and added now and then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np
import numpy.typing as npt

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.objects import sample_object
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance, object_appearance
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.poses import camera_pose, direction, pose, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.physics import moved, physics_model, settle
from instance_seg_ros.learning.synthetic.rooms.supports import sample_support
from instance_seg_ros.learning.synthetic.rooms.world import Placed, Support
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS, SensorSettings, simulate_depth

TABLETOP_FAMILIES = ("carton", "box", "can", "bottle", "mug", "bowl", "cup", "banana", "fruit", "book", "screwdriver")
_MAX_OBJECTS = 12
_EVENT_EVERY_FRAMES = 30
_MOTION_S = 1.5
_ORBIT_RAD_PER_S = 0.12


@dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """A camera's frame and its ground truth.

    Attributes:
        frame: colour and noised depth, stamped.
        T_world_camera: pose of the optical frame in the world (z up, origin on the table).
        ids: (H, W) uint8 true instance ids, 0 = background; an object keeps its id.
        clean_depth_m: (H, W) float32 depth without noise.
        bodies: what is on the table, where it is in the world; those out of the image, too.
    """

    frame: RgbdFrame
    T_world_camera: Transform
    ids: npt.NDArray[np.uint8]
    clean_depth_m: npt.NDArray[np.float32]
    bodies: tuple[Placed, ...]


class SimulatedTabletop(Iterator[SimulatedFrame]):
    """Endless frames of a living tabletop.

    The camera circles slowly. Every 30 frames an object is pushed or another one is dropped onto the table; MuJoCo
    moves what is touched. The same arguments give the same frames.

    Args:
        seed: of scene, events and noise.
        size_wh: image size in pixels.
        objects: bodies on the table at the start, at least 1.
        rate_hz: frames per second of simulated time; it sets stamps and speeds, nothing waits.
        sensor: defects of the depth camera.
        start_ns: stamp of the first frame.

    Raises:
        ValueError: for an impossible size, rate or number of objects.
    """

    def __init__(
        self,
        seed: int = 0,
        size_wh: tuple[int, int] = (640, 480),
        objects: int = 7,
        rate_hz: float = 10.0,
        sensor: SensorSettings = PRESETS["active_stereo"],
        start_ns: int = 0,
    ) -> None:
        if not 1 <= objects <= _MAX_OBJECTS:
            raise ValueError(f"objects must be between 1 and {_MAX_OBJECTS}, not {objects}")
        if not rate_hz > 0:
            raise ValueError(f"rate_hz must be positive, not {rate_hz}")
        width, height = size_wh
        focal = 0.95 * width
        self.intrinsics = Intrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
        self._rng = np.random.default_rng(seed)
        self._period_s = 1.0 / rate_hz
        # The scale error of one camera is constant; drawn for each frame, it would make everything jump back and forth.
        self._sensor = replace(sensor, scale_error=0.0)
        self._start_ns = start_ns
        self._index = 0
        self._support = _wooden(sample_support(self._rng, "table"))
        self._last_id = objects
        shapes = [sample_object(self._rng, TABLETOP_FAMILIES) for _ in range(objects)]
        self._bodies = settle(self._support, _spread_out(self._rng, shapes, self._support))
        self._caster = RayCaster(self._placed())
        self._physics: _Physics | None = None

    def _placed(self) -> tuple[Placed, ...]:
        return (*self._support.solid, *self._support.surroundings, *self._bodies)

    def __next__(self) -> SimulatedFrame:
        """The next frame."""
        self._advance()
        T_world_camera = self._camera_pose(self._index * self._period_s)
        camera = self.intrinsics
        cast = self._caster.cast(camera, T_world_camera)
        frame = RgbdFrame(
            color_rgb=self._caster.shade(cast, camera, T_world_camera),
            depth_m=simulate_depth(cast.depth_m, camera.fx, self._rng, self._sensor),
            intrinsics=camera,
            stamp_ns=self._start_ns + round(self._index * self._period_s * 1e9),
        )
        self._index += 1
        return SimulatedFrame(frame, T_world_camera, cast.ids, cast.depth_m, self._bodies)

    def _camera_pose(self, time_s: float) -> Transform:
        """Pose of the camera: around the table where it is open, back and forth in front of a wall."""
        low, high = self._support.open_yaw
        if high - low > 6.0:
            yaw = -np.pi / 2 + _ORBIT_RAD_PER_S * time_s
        else:
            yaw = (low + high) / 2 + 0.35 * (high - low) * np.sin(_ORBIT_RAD_PER_S * time_s)
        elevation = np.deg2rad(42.0 + 7.0 * np.sin(0.21 * time_s))
        distance_m = 0.85 + 0.06 * np.sin(0.17 * time_s)
        target_m = np.array([0.0, 0.0, 0.04])
        return camera_pose(target_m + distance_m * direction(elevation, yaw), target_m)

    def _advance(self) -> None:
        """Start an event when one is due, and let physics run for as long as things move."""
        since = self._index % _EVENT_EVERY_FRAMES
        if self._index > 0 and since == 0:
            self._start_event()
        if self._physics is None:
            return
        self._physics.run(self._period_s)
        self._bodies = self._physics.bodies()
        self._caster = RayCaster(self._placed())
        if since * self._period_s >= _MOTION_S:
            self._physics = None

    def _start_event(self) -> None:
        """Drop another object, or push one that is there."""
        if not self._bodies or (len(self._bodies) < _MAX_OBJECTS and self._rng.random() < 0.5):
            self._bodies = (*self._bodies, self._falling_object())
            self._physics = _Physics(self._support, self._bodies)
            return
        self._physics = _Physics(self._support, self._bodies)
        index = int(self._rng.integers(len(self._bodies)))
        inwards = -self._bodies[index].T_world_shape.translation_m[:2]
        direction = inwards / max(float(np.linalg.norm(inwards)), 1e-6) + self._rng.normal(0.0, 0.5, 2)
        self._physics.push(index, 0.5 * direction / np.linalg.norm(direction))

    def _falling_object(self) -> Placed:
        shape = sample_object(self._rng, TABLETOP_FAMILIES)
        x, y = self._rng.uniform(-0.15, 0.15, 2)
        tops = [body.T_world_shape.translation_m[2] + body.shape.height_m for body in self._bodies]
        z = max(tops, default=0.0) - shape.bottom_m + 0.02
        return Placed(shape, pose((x, y, z)), self._new_id(), object_appearance(self._rng, shape))

    def _new_id(self) -> int:
        """The next of the ids 1 to 255 that no body has; ids come back only after all others were used."""
        used = {body.instance_id for body in self._bodies}
        self._last_id = next(i for k in range(255) if (i := (self._last_id + k) % 255 + 1) not in used)
        return self._last_id


def _wooden(support: Support) -> Support:
    """The same support with a table top of wood."""
    wood = Appearance("wood", (0.66, 0.5, 0.34), seed=4, tile_m=0.8, size=256)
    return replace(support, solid=(replace(support.solid[0], appearance=wood), *support.solid[1:]))


def _spread_out(rng: np.random.Generator, shapes: Sequence[ObjectShape], support: Support) -> tuple[Placed, ...]:
    """Upright objects in the middle of the table, apart from each other as far as there is room."""
    area = np.minimum(support.half_wh_m, [0.32, 0.26])
    placed: list[Placed] = []
    for shape in sorted(shapes, key=lambda shape: -shape.footprint_radius_m):
        candidates = rng.uniform(-1.0, 1.0, (60, 2)) * np.maximum(area - shape.footprint_radius_m, 0.02)
        gaps = np.full(len(candidates), np.inf)
        for other in placed:
            distance = np.linalg.norm(candidates - other.T_world_shape.translation_m[:2], axis=1)
            gaps = np.minimum(gaps, distance - shape.footprint_radius_m - other.shape.footprint_radius_m)
        # The first place with room enough, not the best one: that would put everything at the rim.
        best = int(np.argmax(np.minimum(gaps, 0.02)))
        turn = float(rng.uniform(0.0, 2.0 * np.pi))
        T_world_shape = pose((*candidates[best], 0.002 - shape.bottom_m), yaw_rotation(turn))
        placed.append(Placed(shape, T_world_shape, len(placed) + 1, object_appearance(rng, shape)))
    return tuple(placed)


class _Physics:
    """MuJoCo running on a set of bodies."""

    def __init__(self, support: Support, bodies: tuple[Placed, ...]) -> None:
        self._support = support
        self._start = bodies
        self._model = physics_model(support, bodies)
        self._data = mujoco.MjData(self._model)

    def push(self, index: int, velocity_xy: npt.NDArray[np.float64]) -> None:
        """Give a body a horizontal velocity in m/s."""
        self._data.qvel[6 * index : 6 * index + 2] = velocity_xy

    def run(self, duration_s: float) -> None:
        """Advance simulated time."""
        for _ in range(round(duration_s / self._model.opt.timestep)):
            mujoco.mj_step(self._model, self._data)

    def bodies(self) -> tuple[Placed, ...]:
        """The bodies where they are now, without those that fell off."""
        return moved(self._support, self._start, self._data.qpos)
