"""What a scene is made of.

The world frame has z up and its origin at the middle of the support's surface.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.learning.synthetic.objects.shapes import ObjectShape
from instance_seg_ros.learning.synthetic.pictures.appearance import Appearance

ROBOT = "robot"
"""Family of the shapes that are a robot: background, which evaluation looks at by itself."""
SUPPORTS = ("table", "small_table", "desk", "floor", "tote", "shelf")


@dataclass(frozen=True)
class Placed:
    """A shape in the world.

    Attributes:
        shape: what it is.
        T_world_shape: where it is.
        instance_id: 0 is background.
        appearance: what it looks like.
        body_appearances: looks of its bodies (:attr:`.ObjectShape.bodies`) where they differ; else empty.
    """

    shape: ObjectShape
    T_world_shape: Transform
    instance_id: int
    appearance: Appearance
    body_appearances: tuple[Appearance, ...] = ()

    def by_look(self) -> tuple[Placed, ...]:
        """The same, in pieces that have one look each."""
        if not self.body_appearances:
            return (self,)
        pieces = zip(self.shape.bodies, self.body_appearances, strict=True)
        return tuple(
            replace(self, shape=ObjectShape(self.shape.family, mesh, ()), appearance=look, body_appearances=())
            for mesh, look in pieces
        )


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
        """Everything that can be seen, in pieces that have one look each."""
        pieces = (piece for item in self.objects for piece in item.by_look())
        return (*self.support.solid, *self.support.surroundings, *pieces)


@dataclass(frozen=True)
class View:
    """A camera.

    Attributes:
        intrinsics: of the camera.
        T_world_camera: pose of its optical frame in the world.
        attached: background that moves with the camera, such as the gripper of a robot that carries it.
    """

    intrinsics: Intrinsics
    T_world_camera: Transform
    attached: tuple[Placed, ...] = ()
