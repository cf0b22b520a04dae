"""Answers as what MoveIt's planning scene must hold, so that no motion hits what was seen. Imports no ROS.

Each object is a box, the outer one of its bounds, so that what was hidden of it is in there, too (how well that holds:
`docs/moveit.md`). Surfaces that objects stand on are thin plates as far as they were seen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.messages.outgoing import MessageFactory, point, transform_to_pose

PACKAGE = "moveit_msgs"
OBJECT, SURFACE = "object_", "surface_"
"""How the ids of an object and of a surface begin; the track id of the one, the number of the other follows."""
_OWN_ID = re.compile(rf"({OBJECT}|{SURFACE})\d+")
PLATE_M = 0.01
"""Thickness of a surface, below what was seen of it."""
BOX = 1
"""Of shape_msgs/SolidPrimitive."""
ADD, REMOVE = b"\x00", b"\x01"
"""Of moveit_msgs/CollisionObject, whose type `byte` is this in Python."""
_FRAME_OK = 0
"""STATUS_OK of InstanceArray."""


@dataclass(frozen=True, eq=False)
class Plate:
    """A flat convex body, closed below.

    Attributes:
        corners_m: (2 B, 3) float64, B of its upper side, anticlockwise seen from above, then those below them.
    """

    corners_m: NDArray[np.float64]

    @property
    def triangles(self) -> NDArray[np.uint32]:
        """(4 B - 4, 3) indices of corners, anticlockwise from outside."""
        count = len(self.corners_m) // 2
        upper = [(0, index, index + 1) for index in range(1, count - 1)]
        lower = [(count, count + index + 1, count + index) for index in range(1, count - 1)]
        sides = []
        for index in range(count):
            following = (index + 1) % count
            sides += [(index, count + index, following), (following, count + index, count + following)]
        return np.array(upper + lower + sides, dtype=np.uint32)


Body = OrientedBox | Plate


@dataclass(frozen=True)
class Contents:
    """What a planning scene holds already, by ids.

    Attributes:
        world: of what stands around the robot.
        attached: of what the robot carries.
    """

    world: Collection[str]
    attached: Collection[str]


class PlanningSceneKeeper:
    """Says what must change in a planning scene for it to hold what an answer shows.

    An object stays where it was seen last while it is remembered, and goes when its place was seen empty, or its track
    ended. What the robot carries is left alone. Surfaces are those of the latest frame with any. Where ids begin anew,
    as after a restart of the node, the new bodies come and those of before go in one change: none is missed meanwhile.

    Args:
        fewest_frames: so many must show an object for it to be added, and its place empty, or nothing remembered of it,
            for it to be removed.
        least_change_m: what is there already is replaced once a corner has moved by more: a motion that is at work is
            checked anew at each change.
    """

    def __init__(self, fewest_frames: int, least_change_m: float) -> None:
        self._fewest_frames = fewest_frames
        self._least_change_m = least_change_m
        self._arrived = True
        self.forget()

    def forget(self) -> None:
        """Knows nothing of what it sent, as after a while in which others changed what is there."""
        self._sent: dict[str, Body] = {}
        self._ended: dict[str, int] = {}

    def did_not_arrive(self) -> None:
        """The latest changes did not: what is seen is sent anew."""
        self._arrived = False

    def changes(self, answer: Any, T_scene_camera: Transform, there: Contents) -> dict[str, Body | None]:
        """Bodies to add or replace, by their ids, and None for those to remove; no change is no entry.

        What was sent, is hidden and not there any more, as in a move_group that was restarted, is added again.

        Args:
            answer: an InstanceArray of the topic `instances`; nothing follows from one whose status is not OK.
            T_scene_camera: of the answer's frame at its stamp in that of the scene.
            there: what the scene holds.
        """
        if answer.status != _FRAME_OK:
            return {}
        seen = {f"{OBJECT}{each.track_id}": each for each in answer.instances if each.track_id}
        bodies: dict[str, Body] = {
            name: _outer_box(each, T_scene_camera)
            for name, each in seen.items()
            if each.sightings >= self._fewest_frames and math.isfinite(each.outer_box.pose.position.x)
        }
        surfaces = [_plate(each, T_scene_camera) for each in answer.support_surfaces if len(each.border) > 2]
        bodies |= {f"{SURFACE}{number}": plate for number, plate in enumerate(surfaces, start=1)}
        own = {name for name in there.world if _OWN_ID.fullmatch(name)}
        unseen = {f"{OBJECT}{each.track_id}": each.seen_empty for each in answer.unseen_tracks}
        ended = {name for name in own if name.startswith(OBJECT)} - set(seen) - set(unseen)
        self._ended = {name: self._ended.get(name, 0) + 1 for name in ended}
        absent = {**unseen, **self._ended}
        may_stay = set(seen) | {name for name, count in absent.items() if count < max(self._fewest_frames, 1)}
        if not surfaces:
            may_stay |= {name for name in {*own, *self._sent} if name.startswith(SURFACE)}
        lost = {name: body for name, body in self._sent.items() if name in may_stay and name not in own}
        wanted = {name: body for name, body in {**lost, **bodies}.items() if name not in there.attached}
        gone = own - (set(wanted) | (may_stay - set(there.attached)))
        changed = {name: body for name, body in wanted.items() if name not in own or self._has_changed(name, body)}
        self._sent = {name: body for name, body in self._sent.items() if name in own - gone} | changed
        self._arrived = True
        return {**dict.fromkeys(sorted(gone)), **changed}

    def _has_changed(self, name: str, body: Body) -> bool:
        if name not in self._sent or not self._arrived:
            return True
        before_m, now_m = self._sent[name].corners_m, body.corners_m
        apart_m = np.linalg.norm(before_m[:, None] - now_m[None], axis=2)
        return bool(max(apart_m.min(axis=0).max(), apart_m.min(axis=1).max()) > self._least_change_m)


def planning_scene_diff(make: MessageFactory, header: Any, changes: Mapping[str, Body | None]) -> Any:
    """A moveit_msgs/PlanningScene with `is_diff` that makes these changes and touches nothing else.

    Args:
        header: its frame is the one that the bodies are in.
    """
    no_state = make(
        f"{PACKAGE}/msg/RobotState",
        joint_state=make("sensor_msgs/msg/JointState", header=header, name=[], position=[], velocity=[], effort=[]),
        multi_dof_joint_state=make(
            "sensor_msgs/msg/MultiDOFJointState", header=header, joint_names=[], transforms=[], twist=[], wrench=[]
        ),
        attached_collision_objects=[],
        is_diff=True,
    )
    no_octomap = make(
        "octomap_msgs/msg/OctomapWithPose",
        header=header,
        origin=transform_to_pose(make, Transform.identity()),
        octomap=make("octomap_msgs/msg/Octomap", header=header, binary=False, id="", resolution=0.0, data=[]),
    )
    return make(
        f"{PACKAGE}/msg/PlanningScene",
        name="",
        robot_state=no_state,
        robot_model_name="",
        fixed_frame_transforms=[],
        allowed_collision_matrix=make(
            f"{PACKAGE}/msg/AllowedCollisionMatrix",
            entry_names=[],
            entry_values=[],
            default_entry_names=[],
            default_entry_values=[],
        ),
        link_padding=[],
        link_scale=[],
        object_colors=[],
        world=make(
            f"{PACKAGE}/msg/PlanningSceneWorld",
            collision_objects=[collision_object(make, header, name, body) for name, body in changes.items()],
            octomap=no_octomap,
        ),
        is_diff=True,
    )


def collision_object(make: MessageFactory, header: Any, name: str, body: Body | None) -> Any:
    """A moveit_msgs/CollisionObject that adds or replaces a body, or, for None, removes it.

    The pose of an object is that of its box, so that a frame of this name is at the box's centre and has its axes.
    """
    here = transform_to_pose(make, Transform.identity())
    pose, primitives, meshes = here, [], []
    if isinstance(body, OrientedBox):
        pose = transform_to_pose(make, body.T_camera_box)
        no_polygon = make("geometry_msgs/msg/Polygon", points=[])
        primitives = [
            make("shape_msgs/msg/SolidPrimitive", type=BOX, dimensions=body.size_m.tolist(), polygon=no_polygon)
        ]
    elif body is not None:
        triangles = [make("shape_msgs/msg/MeshTriangle", vertex_indices=corners) for corners in body.triangles]
        vertices = [point(make, corner_m) for corner_m in body.corners_m]
        meshes = [make("shape_msgs/msg/Mesh", triangles=triangles, vertices=vertices)]
    return make(
        f"{PACKAGE}/msg/CollisionObject",
        header=header,
        pose=pose,
        id=name,
        type=make("object_recognition_msgs/msg/ObjectType", key="", db=""),
        primitives=primitives,
        primitive_poses=[here] * len(primitives),
        meshes=meshes,
        mesh_poses=[here] * len(meshes),
        planes=[],
        plane_poses=[],
        subframe_names=[],
        subframe_poses=[],
        operation=REMOVE if body is None else ADD,
    )


def _outer_box(instance: Any, T_scene_camera: Transform) -> OrientedBox:
    box = instance.outer_box
    at, turned = box.pose.position, box.pose.orientation
    T_camera_box = Transform.from_quaternion((turned.x, turned.y, turned.z, turned.w), (at.x, at.y, at.z))
    return OrientedBox(T_scene_camera @ T_camera_box, np.array([box.size.x, box.size.y, box.size.z]))


def _plate(surface: Any, T_scene_camera: Transform) -> Plate:
    upper_m = np.array([[corner.x, corner.y, corner.z] for corner in surface.border])
    down = -np.asarray(surface.plane[:3], dtype=np.float64)
    return Plate(np.asarray(T_scene_camera.apply(np.concatenate([upper_m, upper_m + PLATE_M * down]))))
