"""Sequences with exact truth for judging tracks: a living table before a camera that moves, jerks or looks away.

Objects are placed and moved by arithmetic and cast as rays; no code of tracking or lifting has a part in them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.learning.synthetic.objects import sample_object
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape, box_mesh, join, tube_mesh
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance, object_appearance
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.poses import camera_pose, direction, pose, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.supports import sample_support
from instance_seg_ros.learning.synthetic.rooms.world import Placed, Support
from instance_seg_ros.learning.synthetic.sensors.sensor import PRESETS, simulate_depth

FloatArray = NDArray[np.float64]

KINDS = ("still", "moving, tf", "jerky, tf", "away, tf", "moving", "jerky", "away")
"""What the camera does, one sequence after the other; with "tf" the tracker is told the camera's pose."""
RATE_HZ = 10
FRAMES = 80
AWAY_FRAMES = 25
HAND = 255
"""The label of a hand, which is no object."""
CAMERA = Intrinsics(320, 240, 304.0, 304.0, 159.5, 119.5)
FAMILIES = (
    *("carton", "box", "small_box", "book", "can", "cylinder", "bottle", "mug", "cup", "bowl", "banana", "fruit"),
    *("tape_roll", "spray_bottle", "toy_brick", "mouse"),
)
SLIVER_PX = 20
_SENSORS = ("structured_light", "active_stereo", "time_of_flight")
_TF_NOISE = (0.0015, np.radians(0.15))
"""Standard deviations of the pose that tf tells, on each axis: metres and radians."""
_ALIKE = 0.25
"""So many of the objects look like another one on the table."""
_GAPS_M = (0.005, 0.05)
_HALF_AREA_M = np.array([0.34, 0.28])
_UP = np.array([0.0, 0.0, 1.0])

_State = tuple[dict[int, Placed], Placed | None]
_Event = Generator[_State, None, dict[int, Placed]]


@dataclass(frozen=True, eq=False)
class TrueFrame:
    """A frame and what is true of it.

    Attributes:
        T_fixed_camera: what tf tells of the camera's pose, with its noise; None in sequences without tf.
        T_world_camera: the true pose.
        ids: (H, W) uint8 true ids, 0 for background, `HAND` for a hand; an object keeps its id, none is used twice.
    """

    frame: RgbdFrame
    T_fixed_camera: Transform | None
    T_world_camera: Transform
    ids: NDArray[np.uint8]


def tracking_sequence(index: int, seed: int, frames: int = FRAMES) -> Iterator[TrueFrame]:
    """The frames of sequence `index`, whose kind is `KINDS[index % len(KINDS)]`; the same arguments give the same ones.

    3 to 12 objects, some of them alike and often close together; every one to two seconds a hand passes between camera
    and objects, pushes one, carries one to another place, takes one away or brings another one.
    """
    kind, rng = KINDS[index % len(KINDS)], np.random.default_rng([seed, index])
    support, objects, path = _scene(rng, kind, frames)
    sensor = replace(PRESETS[_SENSORS[int(rng.integers(len(_SENSORS)))]], scale_error=0.0)  # constant for a camera
    background = (*support.solid, *support.surroundings)
    for number, (T_world_camera, (placed, hand)) in enumerate(zip(path, _story(rng, objects, path), strict=False)):
        caster = RayCaster([*background, *placed.values(), *([] if hand is None else [hand])])
        cast = caster.cast(CAMERA, T_world_camera)
        frame = RgbdFrame(
            caster.shade(cast, CAMERA, T_world_camera),
            simulate_depth(cast.depth_m, CAMERA.fx, rng, sensor),
            CAMERA,
            stamp_ns=(number + RATE_HZ) * 1_000_000_000 // RATE_HZ,
        )
        told = T_world_camera @ _wobble(rng, *_TF_NOISE) if kind.endswith("tf") else None
        yield TrueFrame(frame, told, T_world_camera, cast.ids)


def true_masks(frame: TrueFrame) -> Instances:
    """The objects of a frame under their true masks, slivers of `SLIVER_PX` included."""
    labels = np.where(frame.ids == HAND, 0, frame.ids)
    pixels = np.bincount(labels.reshape(-1), minlength=256)
    return Instances.from_labels(np.where(pixels[labels] >= SLIVER_PX, labels, 0))


def _scene(rng: np.random.Generator, kind: str, frames: int) -> tuple[Support, dict[int, Placed], list[Transform]]:
    """A table, its objects, and the camera's path, at whose start something is seen and nothing is too near."""
    while True:
        support = sample_support(rng, str(rng.choice(["table", "desk", "floor"])))
        objects: dict[int, Placed] = {}
        for _ in range(int(rng.integers(3, 13))):
            objects |= _another(rng, objects)
        path = _camera_path(rng, kind, support, frames)
        cast = RayCaster([*support.solid, *support.surroundings, *objects.values()]).cast(CAMERA, path[0])
        if (cast.ids > 0).mean() > 0.02 and cast.depth_m[cast.depth_m > 0].min() > 0.25:
            return support, objects, path


# ---------------------------------------------------------------------------------------------------------------------
# The camera


def _camera_path(rng: np.random.Generator, kind: str, support: Support, frames: int) -> list[Transform]:
    motion = kind.partition(",")[0]
    yaw, elevation = float(rng.uniform(*support.open_yaw)), float(np.radians(rng.uniform(35, 65)))
    distance_m, speed = float(rng.uniform(0.75, 1.0)), float(rng.uniform(0.15, 0.35) * rng.choice([-1, 1]))
    middle_m = np.array([0.0, 0.0, 0.04])
    phases = rng.uniform(0, 2 * np.pi, 4)
    jump = np.zeros(5)
    path = []
    for number in range(frames):
        time_s = number / RATE_HZ
        swing = np.zeros(4) if motion == "still" else 0.05 * np.sin(0.9 * time_s + phases) - 0.05 * np.sin(phases)
        turn = speed * time_s if motion in ("moving", "away") else 0.0
        if motion == "jerky" and number and rng.random() < 0.25:
            jump = rng.normal(0, [0.12, 0.07, 0.06, 0.05, 0.05])
        eye_m = middle_m + (distance_m + jump[2] + swing[2]) * direction(
            elevation + jump[1] + swing[1], _within(yaw + turn + jump[0], support.open_yaw)
        )
        target_m = middle_m + np.array([*(swing[[0, 3]] + jump[3:]), 0.0])
        T_world_camera = camera_pose(eye_m, target_m, roll_rad=0.5 * jump[3])
        if motion == "jerky":
            T_world_camera = T_world_camera @ _wobble(rng, 0.004, np.radians(0.4))
        path.append(T_world_camera)
    return _looking_away(rng, path) if motion == "away" else path


def _looking_away(rng: np.random.Generator, path: list[Transform]) -> list[Transform]:
    """The same path, but for `AWAY_FRAMES` frames in its middle that look aside by 70 to 110 degrees."""
    first, aside = len(path) // 2 - AWAY_FRAMES // 2, np.radians(rng.uniform(70, 110) * rng.choice([-1, 1]))
    turned = []
    for number, T_world_camera in enumerate(path):
        since = number - first
        share = np.clip(min(since + 1, AWAY_FRAMES - since) / 3, 0, 1)
        about_z = Transform(yaw_rotation(float(share * aside)), np.zeros(3))
        rotation = about_z.rotation @ T_world_camera.rotation
        turned.append(Transform(rotation, T_world_camera.translation_m))
    return turned


def _within(yaw: float, open_yaw: tuple[float, float]) -> float:
    low, high = open_yaw
    return yaw if high - low > 6.0 else float(np.clip(yaw, low, high))


def _wobble(rng: np.random.Generator, sigma_m: float, sigma_rad: float) -> Transform:
    """A small random motion."""
    half = rng.normal(0, sigma_rad, 3) / 2
    return Transform.from_quaternion([*half, 1.0], rng.normal(0, sigma_m, 3))


# ---------------------------------------------------------------------------------------------------------------------
# The objects and the hand


def _story(rng: np.random.Generator, objects: dict[int, Placed], path: list[Transform]) -> Iterator[_State]:
    """What is on the table, frame by frame, without end."""
    events = (_passes, _passes, _pushed, _carried, _taken, _brought)
    next_id, done = len(objects) + 1, 0
    while True:
        for _ in range(int(rng.integers(5, 15))):
            done += 1
            yield objects, None
        event = events[int(rng.integers(len(events)))]
        if event is not _brought and not objects:
            event = _brought
        script = event(rng, objects, path[min(done, len(path) - 1)].translation_m, next_id)
        while True:
            try:
                state = next(script)
            except StopIteration as end:
                objects = end.value
                break
            done += 1
            yield state
        next_id = max(next_id, *(number + 1 for number in objects), 0)


def _passes(rng: np.random.Generator, objects: dict[int, Placed], eye_m: FloatArray, _: int) -> _Event:
    """A hand comes in between the camera and an object, stays a while and goes."""
    target_m = _any(rng, objects).T_world_shape.translation_m
    over_m = target_m + (eye_m - target_m) * rng.uniform(0.15, 0.35)
    angle = float(rng.uniform(-np.pi, np.pi))
    outside_m = over_m + 0.7 * direction(0.2, angle)
    way = [*_smooth(outside_m, over_m, 5), *[over_m] * int(rng.integers(3, 12)), *_smooth(over_m, outside_m, 5)]
    for at_m in way:
        yield objects, _hand(at_m, angle)
    return objects


def _pushed(rng: np.random.Generator, objects: dict[int, Placed], eye_m: FloatArray, _: int) -> _Event:
    """A hand pushes an object over the table."""
    number = int(rng.choice(list(objects)))
    item, others = objects[number], [other for key, other in objects.items() if key != number]
    start_m, radius_m = item.T_world_shape.translation_m, item.shape.footprint_radius_m
    for _ in range(40):
        angle, length_m = float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(0.06, 0.16))
        step_m = length_m * direction(0.0, angle)
        way = _smooth(start_m, start_m + step_m, 7)
        inside = (np.abs(way[-1][:2]) < _HALF_AREA_M).all()
        if inside and all(_gap_m(at_m, radius_m, others) > 0 for at_m in way[2:]):
            break
    else:
        return (yield from _passes(rng, objects, eye_m, 0))
    for at_m in way:
        objects = objects | {number: _at(item, at_m)}
        behind_m = at_m - (radius_m + 0.02) * direction(0.0, angle) + [0, 0, item.shape.height_m / 2 + 0.01]
        yield objects, _hand(behind_m, angle + np.pi)
    return objects


def _carried(rng: np.random.Generator, objects: dict[int, Placed], _eye_m: FloatArray, _: int) -> _Event:
    """A hand lifts an object and puts it down elsewhere, turned a little."""
    number = int(rng.choice(list(objects)))
    item, others = objects[number], {key: other for key, other in objects.items() if key != number}
    start_m = item.T_world_shape.translation_m
    end_m = _free_spot(rng, item.shape, others) * [1, 1, 0] + [0, 0, start_m[2]]
    yield from _transport(rng, item, others, start_m, end_m)
    return others | {number: _at(item, end_m)}


def _taken(rng: np.random.Generator, objects: dict[int, Placed], _eye_m: FloatArray, _: int) -> _Event:
    """A hand takes an object out of the scene."""
    number = int(rng.choice(list(objects)))
    item, others = objects[number], {key: other for key, other in objects.items() if key != number}
    start_m = item.T_world_shape.translation_m
    yield from _transport(rng, item, others, start_m, start_m + 1.2 * direction(0.1, rng.uniform(-np.pi, np.pi)))
    return others


def _brought(rng: np.random.Generator, objects: dict[int, Placed], _eye_m: FloatArray, next_id: int) -> _Event:
    """A hand brings another object."""
    if len(objects) >= 12:
        return (yield from _taken(rng, objects, _eye_m, next_id))
    item = replace(next(iter(_another(rng, objects).values())), instance_id=next_id)
    end_m = item.T_world_shape.translation_m
    yield from _transport(rng, item, objects, end_m + 1.2 * direction(0.1, rng.uniform(-np.pi, np.pi)), end_m)
    return objects | {next_id: item}


def _transport(
    rng: np.random.Generator, item: Placed, others: dict[int, Placed], start_m: FloatArray, end_m: FloatArray
) -> Iterator[_State]:
    """A hand holds an object from above, along an arc between two places."""
    angle = float(rng.uniform(-np.pi, np.pi))
    frames = max(8, round(float(np.linalg.norm(end_m - start_m)) / 0.05))
    for share, at_m in zip(np.linspace(0, 1, frames), _smooth(start_m, end_m, frames), strict=True):
        above_m = at_m + 0.15 * np.sin(np.pi * share) * _UP
        grip_m = above_m + (item.shape.bottom_m + item.shape.height_m + 0.01) * _UP
        yield others | {item.instance_id: _at(item, above_m)}, _hand(grip_m, angle)


def _another(rng: np.random.Generator, objects: dict[int, Placed]) -> dict[int, Placed]:
    """An object that stands where there is room; one in some looks like another one that is there."""
    shape = sample_object(rng, FAMILIES)
    look = object_appearance(rng, shape, [other.appearance for other in objects.values()])
    if objects and rng.random() < _ALIKE:
        twin = _any(rng, objects)
        shape, look = twin.shape, twin.appearance
    spot_m = _free_spot(rng, shape, objects)
    T_world_shape = pose(spot_m, yaw_rotation(float(rng.uniform(-np.pi, np.pi))))
    number = 1 + max(objects, default=0)
    return {number: Placed(shape, T_world_shape, number, look)}


def _free_spot(rng: np.random.Generator, shape: ObjectShape, objects: dict[int, Placed]) -> FloatArray:
    """A place on the table, as close to others as a random gap allows, or the freest of many where it is crowded."""
    area_m = np.maximum(_HALF_AREA_M - shape.footprint_radius_m, 0.02)
    spots_m = [np.array([*(rng.uniform(-1, 1, 2) * area_m), -shape.bottom_m]) for _ in range(60)]
    gaps_m = np.array([_gap_m(spot_m, shape.footprint_radius_m, list(objects.values())) for spot_m in spots_m])
    wanted_m = rng.uniform(*_GAPS_M)
    return spots_m[int(np.argmax(np.minimum(gaps_m, wanted_m)))]


def _gap_m(at_m: FloatArray, radius_m: float, others: list[Placed]) -> float:
    """Free room between an upright object at a place and the nearest of the others, below 0 where they may touch."""
    return min(
        (
            float(np.linalg.norm((at_m - other.T_world_shape.translation_m)[:2]))
            - radius_m
            - other.shape.footprint_radius_m
            for other in others
        ),
        default=np.inf,
    )


def _hand(at_m: FloatArray, angle: float) -> Placed:
    """A hand at a place, its arm pointing to an angle about the vertical."""
    return Placed(_HAND_SHAPE, pose(at_m, yaw_rotation(angle)), HAND, _SKIN)


def _at(item: Placed, at_m: FloatArray) -> Placed:
    return replace(item, T_world_shape=Transform(item.T_world_shape.rotation, at_m))


def _any(rng: np.random.Generator, objects: dict[int, Placed]) -> Placed:
    return objects[int(rng.choice(list(objects)))]


def _smooth(start_m: FloatArray, end_m: FloatArray, frames: int) -> list[FloatArray]:
    """A way that begins and ends at rest."""
    share = np.linspace(0, 1, frames)
    return [start_m + (3 * u**2 - 2 * u**3) * (end_m - start_m) for u in share]


_SKIN = Appearance("plain", (0.78, 0.57, 0.45))
_HAND_SHAPE = ObjectShape(
    "hand",
    join(
        [
            box_mesh((0.05, 0.04, 0.014), (0.0, 0.0, 0.014)),
            *(box_mesh((0.035, 0.008, 0.009), (-0.08, y, 0.012)) for y in (-0.03, -0.01, 0.01, 0.03)),
            tube_mesh(np.array([[0.04, 0, 0.015], [0.2, 0, 0.06], [0.6, 0, 0.25]]), np.array([0.03, 0.038, 0.05])),
        ]
    ),
    (),
)
