"""What a scene is made of.

The world frame has z up and its origin at the middle of the support's surface.
"""

from __future__ import annotations

from dataclasses import dataclass

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance

SUPPORTS = ("table", "small_table", "desk", "floor", "tote", "shelf")


@dataclass(frozen=True)
class Placed:
    """A shape in the world. ``instance_id`` 0 is background."""

    shape: ObjectShape
    T_world_shape: Transform
    instance_id: int
    appearance: Appearance


@dataclass(frozen=True)
class Support:
    """What objects rest on and what stands around it, all of it background.

    Attributes:
        kind: one of :data:`SUPPORTS`.
        solid: parts that objects collide with.
        surroundings: parts that are only seen.
        half_wh_m: half extents in x and y of the area where objects are put.
        open_yaw: directions (low, high) in radians from which a camera may look, about +z from +x.
    """

    kind: str
    solid: tuple[Placed, ...]
    surroundings: tuple[Placed, ...]
    half_wh_m: tuple[float, float]
    open_yaw: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """A support with objects at rest; instance ids are 1.. in no order, with gaps where objects were removed."""

    support: Support
    objects: tuple[Placed, ...]

    def placed(self) -> tuple[Placed, ...]:
        """Everything that can be seen."""
        return (*self.support.solid, *self.support.surroundings, *self.objects)


@dataclass(frozen=True)
class View:
    """A camera and the pose of its optical frame in the world."""

    intrinsics: Intrinsics
    T_world_camera: Transform
