"""Views that lead lifting astray, with exact truth: things held low, on thin boards, half hidden, under bad masks.

Each scene has one labelled thing on a table, on a thin board without a label, or held a little above either, maybe with
something in front that has depth or none, and is seen under its true mask and under masks that are too small, too large
or beside it, as those of networks are. As for `geometry_scenes`, no code of lifting has a part in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.evaluation.geometry_scenes import (
    CAMERA,
    FEWEST_PX,
    NOISE_M,
    PLAIN,
    TrueScene,
    measured,
    shape_named,
    truth_of,
)
from instance_seg_ros.learning.synthetic.pictures.render import RayCaster
from instance_seg_ros.learning.synthetic.poses import camera_pose, direction, yaw_rotation
from instance_seg_ros.learning.synthetic.rooms.room import Room
from instance_seg_ros.learning.synthetic.rooms.world import Placed

BoolArray = NDArray[np.bool_]

SHAPES = ("box", "can", "sphere", "cone", "bottle", "carton", "book", "plate")
HEIGHTS_M = (0.0, 0.005, 0.01, 0.015, 0.02, 0.05)
"""How far things are held above what is below them; half of them stand."""
MASKS: dict[str, tuple[int, tuple[int, int]]] = {
    "exact": (0, (0, 0)),
    "eroded by 2 px": (-2, (0, 0)),
    "grown by 1 px": (1, (0, 0)),
    "grown by 2 px": (2, (0, 0)),
    "grown by 3 px": (3, (0, 0)),
    "down by 2 px": (0, (0, 2)),
    "down by 4 px": (0, (0, 4)),
    "aside by 3 px": (0, (3, 0)),
    "up by 3 px": (0, (0, -3)),
}
"""Masks that a thing is seen under: by how many pixels the true one is grown, and moved to the right and down."""
_DISTANCE_M, _ELEVATION_DEG = (0.45, 1.1), (20.0, 90.0)
_BOARD_M = (0.006, 0.025)
_NEARER = (0.5, 0.8)
"""Something in front is at so much of the distance of the thing."""
_HIDDEN, _FINGER = (0.25, 0.65), (0.12, 0.3)
"""Shares of a thing's extent in the image that something hides of its end, or across it."""


@dataclass(frozen=True, eq=False)
class Attack:
    """A scene with one labelled thing, and how it leads astray.

    Attributes:
        scene: its labels are the true ones, of what is seen of the thing.
        held_m: how far the thing is above what is below it.
        board_m: how thick an unlabelled board below it is, 0 without one.
        in_front: what hides a part of it: "nothing", "with depth" or "without depth".
        elevation_deg: of the camera above it.
    """

    scene: TrueScene
    held_m: float
    board_m: float
    in_front: str
    elevation_deg: float

    @property
    def cause(self) -> str:
        """What may lead astray, besides the mask."""
        if self.in_front != "nothing":
            return f"hidden in part by something {self.in_front}"
        below = "a thin board" if self.board_m else "the table"
        return f"held {1e3 * self.held_m:.0f} mm above {below}" if self.held_m else f"on {below}"

    def mask(self, name: str) -> BoolArray:
        """(H, W) one of `MASKS`."""
        grown_px, (right_px, down_px) = MASKS[name]
        own = (self.scene.labels > 0).astype(np.uint8)
        kernel = np.ones((2 * abs(grown_px) + 1,) * 2, np.uint8)
        own = cv2.dilate(own, kernel) if grown_px >= 0 else cv2.erode(own, kernel, borderValue=1)
        moved = np.zeros_like(own)
        rows, columns = own.shape
        moved[max(down_px, 0) : rows + min(down_px, 0), max(right_px, 0) : columns + min(right_px, 0)] = own[
            max(-down_px, 0) : rows + min(-down_px, 0), max(-right_px, 0) : columns + min(-right_px, 0)
        ]
        return moved > 0


def attacks(count: int, seed: int) -> Iterator[Attack]:
    """So many scenes; scene i of a seed is always the same."""
    for index in range(count):
        rng, attack = np.random.default_rng([seed, index]), None
        while attack is None:
            attack = _attack(rng, SHAPES[index % len(SHAPES)])
        yield attack


def _attack(rng: np.random.Generator, shape_name: str) -> Attack | None:
    """None where too little of the thing is seen."""
    shape = shape_named(rng, shape_name)
    held_m = float(rng.choice(HEIGHTS_M[1:])) if rng.random() < 0.5 else 0.0
    board_m = float(rng.uniform(*_BOARD_M)) if rng.random() < 0.25 else 0.0
    in_front = str(rng.choice(("nothing", "with depth", "without depth"), p=(0.7, 0.1, 0.2)))
    elevation_deg, noise_m = float(rng.uniform(*_ELEVATION_DEG)), float(rng.uniform(*NOISE_M))
    room = Room(rng)
    room.add_box((0.6, 0.45, 0.02), (0.0, 0.0, -0.02))
    room.add_box((3.0, 3.0, 0.05), (0.0, 0.0, -0.8))
    if board_m:
        beyond_m = shape.footprint_radius_m * rng.uniform(0.9, 1.6, 2) + 0.02
        room.add_box((*beyond_m, board_m / 2), (0.0, 0.0, board_m / 2), yaw=float(rng.uniform(0, np.pi)))
    rotation = yaw_rotation(rng.uniform(0, 2 * np.pi))
    at_m = np.array([*rng.uniform(-0.01, 0.01, 2), board_m + held_m - shape.bottom_m])
    item = Placed(shape, Transform(rotation, at_m), 1, PLAIN)
    distance_m = float(rng.uniform(*_DISTANCE_M))
    target_m = np.array([*rng.uniform(-0.08, 0.08, 2), 0.03])
    away = direction(np.radians(elevation_deg), rng.uniform(-np.pi, np.pi))
    T_world_camera = camera_pose(target_m + distance_m * away, target_m, float(rng.normal(0, 0.05)))
    cast = RayCaster([*room.solid, *room.surroundings, item]).cast(CAMERA, T_world_camera)
    own, depth_m = cast.ids == 1, cast.depth_m
    if np.count_nonzero(own) < FEWEST_PX:
        return None
    hidden = np.zeros(own.shape, dtype=bool) if in_front == "nothing" else _hidden(rng, own)
    if in_front != "nothing":
        depth_m = np.where(hidden, np.float32(depth_m[own].min() * rng.uniform(*_NEARER)), depth_m)
    depth_m = measured(rng, depth_m, noise_m)
    if in_front == "without depth":
        depth_m[hidden] = 0
    seen = own & ~hidden
    if np.count_nonzero(seen) < FEWEST_PX:
        return None
    true = truth_of(item, "nothing" if held_m else "plane", int(np.count_nonzero(seen)), T_world_camera)
    frame, labels = RgbdFrame(None, depth_m, CAMERA), seen.astype(np.uint16)
    scene = TrueScene("attack", frame, noise_m, labels, T_world_camera, (true,), None)
    return Attack(scene, held_m, board_m, in_front, elevation_deg)


def _hidden(rng: np.random.Generator, own: BoolArray) -> BoolArray:
    """(H, W) a strip, as of a finger, a rod or a hand, that hides an end of a thing or goes across it."""
    rows, columns = np.nonzero(own)
    angle = rng.uniform(0, 2 * np.pi)
    along_px = np.cos(angle) * np.arange(own.shape[1])[None] + np.sin(angle) * np.arange(own.shape[0])[:, None]
    low_px, high_px = float(along_px[rows, columns].min()), float(along_px[rows, columns].max())
    extent_px = high_px - low_px
    if rng.random() < 0.6:
        share = float(rng.uniform(*_HIDDEN))
        return np.asarray((along_px > high_px - share * extent_px) & (along_px < high_px + extent_px))
    middle_px, half_px = low_px + rng.uniform(0.3, 0.7) * extent_px, rng.uniform(*_FINGER) * extent_px / 2
    return np.asarray(np.abs(along_px - middle_px) < half_px)
