"""What a planning scene of MoveIt must hold, by answers: objects come, stay while hidden, move, and go."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import trimesh
from rosbags.typesys import get_types_from_msg

from instance_seg_ros.core.geometry import OrientedBox, Plane, Transform
from instance_seg_ros.lifting.support import Surface
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.planning_scene import (
    PLATE_M,
    Contents,
    PlanningSceneKeeper,
    Plate,
    planning_scene_diff,
)
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.tracking import TrackRecord

MakeScene = Callable[..., Scene]
BORDER_M = np.array([[-0.4, -0.3, 0.8], [-0.4, 0.3, 0.8], [0.4, 0.3, 0.8], [0.4, -0.3, 0.8]])
"""Of a table below a camera that looks straight down, anticlockwise seen from above: there y points away."""
BOX_M = OrientedBox(Transform(np.eye(3), np.array([0.1, 0.0, 0.75])), np.array([0.06, 0.04, 0.1]))
HERE = Transform.identity()

FIELDS = {
    "object_recognition_msgs/msg/ObjectType": "string key\nstring db",
    "octomap_msgs/msg/Octomap": "std_msgs/Header header\nbool binary\nstring id\nfloat64 resolution\nint8[] data",
    "octomap_msgs/msg/OctomapWithPose": (
        "std_msgs/Header header\ngeometry_msgs/Pose origin\noctomap_msgs/Octomap octomap"
    ),
    "moveit_msgs/msg/CollisionObject": (
        "std_msgs/Header header\ngeometry_msgs/Pose pose\nstring id\nobject_recognition_msgs/ObjectType type\n"
        "shape_msgs/SolidPrimitive[] primitives\ngeometry_msgs/Pose[] primitive_poses\n"
        "shape_msgs/Mesh[] meshes\ngeometry_msgs/Pose[] mesh_poses\n"
        "shape_msgs/Plane[] planes\ngeometry_msgs/Pose[] plane_poses\n"
        "string[] subframe_names\ngeometry_msgs/Pose[] subframe_poses\nuint8 operation"
    ),
    "moveit_msgs/msg/AttachedCollisionObject": (
        "string link_name\nmoveit_msgs/CollisionObject object\nstring[] touch_links\n"
        "trajectory_msgs/JointTrajectory detach_posture\nfloat64 weight"
    ),
    "moveit_msgs/msg/RobotState": (
        "sensor_msgs/JointState joint_state\nsensor_msgs/MultiDOFJointState multi_dof_joint_state\n"
        "moveit_msgs/AttachedCollisionObject[] attached_collision_objects\nbool is_diff"
    ),
    "moveit_msgs/msg/AllowedCollisionEntry": "bool[] enabled",
    "moveit_msgs/msg/AllowedCollisionMatrix": (
        "string[] entry_names\nmoveit_msgs/AllowedCollisionEntry[] entry_values\n"
        "string[] default_entry_names\nbool[] default_entry_values"
    ),
    "moveit_msgs/msg/LinkPadding": "string link_name\nfloat64 padding",
    "moveit_msgs/msg/LinkScale": "string link_name\nfloat64 scale",
    "moveit_msgs/msg/ObjectColor": "string id\nstd_msgs/ColorRGBA color",
    "moveit_msgs/msg/PlanningSceneWorld": (
        "moveit_msgs/CollisionObject[] collision_objects\noctomap_msgs/OctomapWithPose octomap"
    ),
    "moveit_msgs/msg/PlanningScene": (
        "string name\nmoveit_msgs/RobotState robot_state\nstring robot_model_name\n"
        "geometry_msgs/TransformStamped[] fixed_frame_transforms\n"
        "moveit_msgs/AllowedCollisionMatrix allowed_collision_matrix\nmoveit_msgs/LinkPadding[] link_padding\n"
        "moveit_msgs/LinkScale[] link_scale\nmoveit_msgs/ObjectColor[] object_colors\n"
        "moveit_msgs/PlanningSceneWorld world\nbool is_diff"
    ),
}


@pytest.fixture(scope="module")
def make() -> outgoing.MessageFactory:
    """Makes messages that went through CDR, so that every field has been checked and encoded."""
    typestore = load_typestore()
    types: dict[str, Any] = {}
    for name, fields in FIELDS.items():
        types.update(get_types_from_msg(fields, name))
    typestore.register(types)
    factory = message_factory(typestore)

    def make(type_name: str, /, **fields: Any) -> Any:
        if "operation" in fields:
            fields["operation"] = fields["operation"][0]  # a `byte` is a number here
        numbers = {"dimensions": np.float64, "vertex_indices": np.uint32, "data": np.int8}
        arrays = {name: np.array(fields[name], numbers[name]) for name in numbers if name in fields}
        arrays |= {name: np.zeros(0) for name in ("position", "velocity", "effort") if fields.get(name) == []}
        arrays |= {"default_entry_values": np.zeros(0, bool)} if "default_entry_values" in fields else {}
        message = factory(type_name, **{**fields, **arrays})
        return typestore.deserialize_cdr(typestore.serialize_cdr(message, type_name), type_name)

    return make


@pytest.fixture
def answer_of(make: outgoing.MessageFactory, make_scene: MakeScene) -> Callable[..., Any]:
    """An answer with one object that has a place, of track 5, and one that has none, of track 6."""

    def answer_of(
        box: OrientedBox | None = BOX_M,
        sightings: int = 3,
        surfaces: Collection[Surface] = (),
        unseen: dict[int, int] | None = None,
        empty: bool = False,
        has_depth: bool = True,
    ) -> Any:
        scene = make_scene(empty=empty)
        tracks = {5: TrackRecord(sightings, 1, 2, 0), 6: TrackRecord(9, 1, 2, 0)} if not empty else {}
        tracks |= {track_id: TrackRecord(9, 1, 2, seen_empty) for track_id, seen_empty in (unseen or {}).items()}
        if not empty:
            block, unknown = scene.lifted.instances
            scene = replace(scene, lifted=replace(scene.lifted, instances=(replace(block, outer_box=box), unknown)))
        if not has_depth:
            scene = replace(scene, frame=replace(scene.frame, depth_m=np.zeros_like(scene.frame.depth_m)))
        scene = replace(scene, tracks=tracks, lifted=replace(scene.lifted, surfaces=tuple(surfaces)))
        return outgoing.instance_array(make, scene)

    return answer_of


def table(border_m: np.ndarray = BORDER_M) -> Surface:
    return Surface(Plane(np.array([0.0, 0.0, -1.0]), 0.8), border_m)


def moved(x_m: float) -> OrientedBox:
    return OrientedBox(BOX_M.T_camera_box @ Transform(np.eye(3), np.array([x_m, 0, 0])), BOX_M.size_m)


@pytest.mark.parametrize(
    ("world", "attached", "shown", "placed", "removed"),
    [
        ([], [], {}, ["object_5"], []),
        ([], [], {"sightings": 2}, [], []),  # not often enough yet
        (["object_5"], [], {"sightings": 2}, [], []),  # of a run before: that stays until this one is certain
        ([], [], {"box": None}, [], []),  # nothing known in space
        (["object_5"], [], {"box": None}, [], []),  # nothing known any more: it stays where it was
        (["object_7"], [], {"unseen": {7: 0}}, ["object_5"], []),  # hidden
        (["object_7"], [], {"unseen": {7: 2}}, ["object_5"], []),  # its place looked empty, which may be noise
        (["object_7"], [], {"unseen": {7: 3}}, ["object_5"], ["object_7"]),  # its place is empty
        (["object_7"], [], {}, ["object_5"], []),  # its track ended, which may be a restart of the node
        ([], ["object_5"], {}, [], []),  # the robot has it
        (["object_5"], ["object_5"], {}, [], ["object_5"]),  # attached while it was being added
        (["object_7"], ["object_7"], {"unseen": {7: 0}, "empty": True}, [], ["object_7"]),
        (["bench", "surface_of_door", "object_of_mine"], [], {"empty": True}, [], []),  # somebody else's
        ([], [], {"surfaces": [table()]}, ["object_5", "surface_1"], []),
        (["surface_1", "surface_2"], [], {"surfaces": [table()], "empty": True}, ["surface_1"], ["surface_2"]),
        (["surface_1"], [], {"empty": True}, [], []),  # the table does not go because all is covered for once
        (["object_7", "surface_1"], [], {"has_depth": False}, [], []),  # what the frame shows tells nothing
    ],
)
def test_what_is_seen_comes_and_what_is_gone_goes(
    answer_of: Callable[..., Any],
    world: list[str],
    attached: list[str],
    shown: dict[str, Any],
    placed: list[str],
    removed: list[str],
) -> None:
    changes = PlanningSceneKeeper(3, 0.005).changes(answer_of(**shown), HERE, Contents(world, attached))
    assert [name for name, body in changes.items() if body is not None] == placed
    assert [name for name, body in changes.items() if body is None] == removed


def test_what_a_node_saw_before_its_restart_goes_when_what_it_sees_now_comes(answer_of: Callable[..., Any]) -> None:
    """The object is the same, and no longer in the scene at no time."""
    keeper, there = PlanningSceneKeeper(3, 0.005), Contents(["object_70"], [])
    first, second, third = (keeper.changes(answer_of(sightings=count), HERE, there) for count in (1, 2, 3))
    assert first == second == {}
    assert (list(third), third["object_70"]) == (["object_70", "object_5"], None)


def test_what_is_remembered_again_begins_to_end_anew(answer_of: Callable[..., Any]) -> None:
    keeper, there = PlanningSceneKeeper(2, 0.005), Contents(["object_7"], [])
    shown: list[dict[int, int]] = [{}, {7: 0}, {}, {}]
    gone = ["object_7" in keeper.changes(answer_of(empty=True, unseen=unseen), HERE, there) for unseen in shown]
    assert gone == [False, False, False, True]


def test_a_scene_that_lost_what_is_hidden_has_it_again_where_it_was(answer_of: Callable[..., Any]) -> None:
    """As when move_group is restarted, and once more where that change does not arrive."""
    keeper, nothing = PlanningSceneKeeper(3, 0.005), Contents([], [])
    placed = keeper.changes(answer_of(surfaces=[table()]), HERE, nothing)
    hidden = {"empty": True, "unseen": {5: 0}}
    assert keeper.changes(answer_of(**hidden), HERE, Contents(list(placed), [])) == {}
    assert keeper.changes(answer_of(**hidden), HERE, nothing) == placed
    keeper.did_not_arrive()
    assert keeper.changes(answer_of(**hidden), HERE, nothing) == placed
    assert "object_5" not in keeper.changes(answer_of(empty=True, unseen={5: 3}), HERE, nothing)


def test_what_the_robot_took_away_does_not_come_back(answer_of: Callable[..., Any]) -> None:
    keeper, hidden = PlanningSceneKeeper(3, 0.005), {"empty": True, "unseen": {5: 0}}
    keeper.changes(answer_of(), HERE, Contents([], []))
    assert keeper.changes(answer_of(**hidden), HERE, Contents([], ["object_5"])) == {}
    assert keeper.changes(answer_of(**hidden), HERE, Contents([], [])) == {}


def test_what_moved_by_more_than_noise_is_placed_anew(answer_of: Callable[..., Any]) -> None:
    """A creep below the threshold is followed, too: it counts from where the object was placed last."""
    keeper, there = PlanningSceneKeeper(3, 0.005), Contents([], [])
    placed = []
    for x_m in (0.0, 0.004, 0.006, 0.01, 0.02):
        changes = keeper.changes(answer_of(moved(x_m)), HERE, there)
        placed += [x_m] if changes else []
        there = Contents(["object_5"], [])
    assert placed == [0.0, 0.006, 0.02]
    keeper.did_not_arrive()
    assert list(keeper.changes(answer_of(moved(0.02)), HERE, there)) == ["object_5"]
    assert keeper.changes(answer_of(moved(0.02)), HERE, there) == {}
    keeper.forget()
    assert list(keeper.changes(answer_of(moved(0.02)), HERE, there)) == ["object_5"]


def test_what_the_robot_set_down_is_placed_as_it_is_seen(answer_of: Callable[..., Any]) -> None:
    keeper = PlanningSceneKeeper(3, 0.005)
    assert list(keeper.changes(answer_of(), HERE, Contents([], []))) == ["object_5"]
    assert keeper.changes(answer_of(), HERE, Contents([], ["object_5"])) == {}
    assert list(keeper.changes(answer_of(), HERE, Contents(["object_5"], []))) == ["object_5"], "not as it was attached"


def test_bodies_are_where_the_camera_was_when_it_saw_them(
    make: outgoing.MessageFactory, answer_of: Callable[..., Any]
) -> None:
    """The camera is 1.2 m above the floor and looks down on a table that is 0.4 m high."""
    T_scene_camera = Transform(np.diag([1.0, -1.0, -1.0]), np.array([0.5, 0.0, 1.2]))
    answer = answer_of(surfaces=[table()])
    changes = PlanningSceneKeeper(3, 0.005).changes(answer, T_scene_camera, Contents([], []))
    scene = planning_scene_diff(make, outgoing.header(make, 7, "base_link"), {**changes, "object_9": None})
    assert scene.is_diff
    assert scene.robot_state.is_diff
    box, plate, gone = scene.world.collision_objects
    assert [each.header.frame_id for each in (box, plate, gone)] == ["base_link"] * 3
    assert (box.id, box.operation, gone.id, gone.operation, len(gone.primitives)) == ("object_5", 0, "object_9", 1, 0)
    assert (box.primitives[0].type, box.primitives[0].dimensions.tolist()) == (1, [0.06, 0.04, 0.1])
    at, turned = box.pose.position, box.pose.orientation
    assert (at.x, at.y, at.z) == pytest.approx((0.6, 0.0, 0.45))
    assert (abs(turned.x), turned.y, turned.z, turned.w) == pytest.approx((1, 0, 0, 0))
    solid = trimesh.Trimesh(
        [(vertex.x, vertex.y, vertex.z) for vertex in plate.meshes[0].vertices],
        [triangle.vertex_indices for triangle in plate.meshes[0].triangles],
    )
    assert solid.is_watertight
    assert solid.volume == pytest.approx(0.8 * 0.6 * PLATE_M), "positive: faces look outwards"
    np.testing.assert_allclose(solid.bounds, [[0.1, -0.3, 0.4 - PLATE_M], [0.9, 0.3, 0.4]], atol=1e-9)


@pytest.mark.parametrize("corners", [3, 4, 7])
def test_a_plate_of_any_number_of_corners_is_closed(corners: int) -> None:
    angles = 2 * math.pi * np.arange(corners) / corners
    upper_m = np.stack([np.cos(angles), np.sin(angles), np.zeros(corners)], axis=1)
    plate = Plate(np.concatenate([upper_m, upper_m - [0, 0, 0.1]]))
    solid = trimesh.Trimesh(plate.corners_m, plate.triangles)
    assert solid.is_watertight
    assert solid.volume == pytest.approx(0.1 * corners / 2 * math.sin(2 * math.pi / corners))
