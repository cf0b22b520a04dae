"""What Foxglove shows of a scene, judged by readers of MCAP and by Foxglove's own types."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from instance_seg_ros.bags.writer import new_bag
from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.messages import foxglove
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.overlay import tag_of

LAYOUT = Path(__file__).resolve().parents[2] / "config" / "foxglove.json"


@pytest.fixture(scope="module")
def typestore() -> Any:
    return load_typestore()


@pytest.fixture
def decoded(tmp_path: Path, make_scene: Callable[..., Scene], typestore: Any) -> dict[str, Any]:
    """The messages of a bag with one scene by their topics, as Foxglove's own reader of ROS 2 decodes them."""
    reader = pytest.importorskip("mcap_ros2.reader")
    with new_bag(tmp_path / "out", "mcap", typestore) as results:
        results.write(5, make_scene(), GraspingSettings())
    return {found.channel.topic: found.ros_msg for found in reader.read_ros2_messages(tmp_path / "out" / "out.mcap")}


def test_outlines_lie_around_the_masks(decoded: dict[str, Any], make_scene: Callable[..., Scene]) -> None:
    annotations, scene = decoded["/instance_seg/annotations"], make_scene()
    assert len(annotations.points) == len(annotations.texts) == len(scene.instances) == 2
    for outline, mask in zip(annotations.points, scene.instances.masks, strict=True):
        rows, columns = np.nonzero(mask)
        corners = np.array([(point.x, point.y) for point in outline.points])
        # Of pixels' centres, where the corner of the first pixel is 0, 0.
        assert corners.min(axis=0).tolist() == [columns.min() + 0.5, rows.min() + 0.5]
        assert corners.max(axis=0).tolist() == [columns.max() + 0.5, rows.max() + 0.5]
        assert outline.type == 2
        assert outline.timestamp.sec * 10**9 + outline.timestamp.nanosec == scene.frame.stamp_ns


def test_objects_with_a_place_become_entities_that_replace_those_before(
    decoded: dict[str, Any], make_scene: Callable[..., Scene]
) -> None:
    update, scene = decoded["/instance_seg/scene"], make_scene()
    [placed] = [each for each in scene.objects() if each.lifted.box is not None]
    [deletion], [entity] = update.deletions, update.entities
    assert (deletion.type, deletion.timestamp.nanosec) == (1, scene.frame.stamp_ns % 10**9)
    assert (entity.id, entity.frame_id) == (str(placed.track_id), scene.frame.frame_id)
    [cube] = entity.cubes
    assert [cube.size.x, cube.size.y, cube.size.z] == pytest.approx(placed.lifted.box.size_m.tolist())
    box, *grippers = entity.lines
    corners_m = np.array([(point.x, point.y, point.z) for point in box.points])
    assert corners_m.min(axis=0) == pytest.approx(placed.lifted.box.corners_m.min(axis=0))
    assert len(grippers) == len(placed.grasps) == 2
    assert grippers[1].color.a < grippers[0].color.a == 1
    assert (entity.texts[0].text, entity.texts[0].color.b) == (tag_of(placed), 1), "white, as it is not flagged"
    facts = {fact.key: fact.value for fact in entity.metadata}
    assert (facts["grasps"], facts["sightings"]) == ("2", "12")


def test_the_tag_of_a_flagged_object_is_amber(make_scene: Callable[..., Scene], typestore: Any) -> None:
    scene = make_scene()
    flagged = [dataclasses.replace(each, status=each.status | Status.OCCLUDED) for each in scene.lifted.instances]
    scene = dataclasses.replace(scene, lifted=dataclasses.replace(scene.lifted, instances=tuple(flagged)))
    [entity] = foxglove.scene_update(message_factory(typestore), scene).entities
    assert entity.texts[0].color.b == pytest.approx(0.2)


def test_an_empty_scene_removes_what_was_there(make_scene: Callable[..., Scene], typestore: Any) -> None:
    make = message_factory(typestore)
    update = foxglove.scene_update(make, make_scene(empty=True))
    assert (len(update.deletions), update.entities) == (1, [])
    assert foxglove.image_annotations(make, make_scene(empty=True)).points == []


STANDARD = {
    "builtin_interfaces/Time": ".google.protobuf.Timestamp",
    "builtin_interfaces/Duration": ".google.protobuf.Duration",
    "geometry_msgs/Point": ".foxglove.Point3",
    "geometry_msgs/Pose": ".foxglove.Pose",
    "geometry_msgs/Vector3": ".foxglove.Vector3",
}
"""What Foxglove's own messages hold where ROS has a type of its own."""
SCALARS = {"float64": {"DOUBLE"}, "string": {"STRING"}, "bool": {"BOOL"}, "uint32": {"FIXED32", "UINT32"}}


@pytest.mark.parametrize("name", list(foxglove.DEFINITIONS))
def test_every_field_and_constant_is_one_of_foxgloves_own_schema(name: str) -> None:
    schemas = pytest.importorskip("foxglove.messages")
    descriptors = pytest.importorskip("google.protobuf.descriptor_pb2")
    files = descriptors.FileDescriptorSet.FromString(getattr(schemas, name).get_schema().data).file
    [theirs] = [message for file in files for message in file.message_type if message.name == name]
    fields = {field.name: field for field in theirs.field}
    constants = {value.name: value.number for kinds in theirs.enum_type for value in kinds.value}

    for kind, field, value in re.findall(r"^(\S+) ([^\s=]+)(?:=(\d+))?$", foxglove.DEFINITIONS[name], re.MULTILINE):
        if value:
            assert constants[field] == int(value)
            continue
        their_kind = descriptors.FieldDescriptorProto.Type.Name(fields[field].type).removeprefix("TYPE_")
        many = fields[field].label == descriptors.FieldDescriptorProto.LABEL_REPEATED
        if kind == "uint8[]":
            assert (their_kind, many) == ("BYTES", False)
        elif kind == "uint8":
            assert (their_kind, many) == ("ENUM", False)
        else:
            own = kind.removesuffix("[]")
            assert many == kind.endswith("[]")
            if own in SCALARS:
                assert their_kind in SCALARS[own]
            else:
                assert fields[field].type_name == STANDARD.get(own, "." + own.replace("foxglove_msgs/", "foxglove."))


def test_the_layout_shows_the_topics_of_the_node_and_of_a_bag() -> None:
    layout = json.loads(LAYOUT.read_text())
    panels = set(re.findall(r'"(?:first|second)": "([^"]+)"', LAYOUT.read_text()))
    assert panels == set(layout["configById"])
    shown = set(re.findall(r"/instance_seg/([\w/]+)", LAYOUT.read_text()))
    assert shown <= {"cloud", "scene", "markers", "annotations", "camera_info", "overlay/compressed"}


def test_every_key_and_choice_of_the_layout_is_one_of_foxgloves_own_panels() -> None:
    layouts = pytest.importorskip("foxglove.layouts")
    configs = {
        "3D": layouts.ThreeDeeConfig,
        "Image": layouts.ImageConfig,
        "DiagnosticSummary": layouts.DiagnosticsSummaryConfig,
    }
    for panel, config in json.loads(LAYOUT.read_text())["configById"].items():
        refused = list(refusals(configs[panel.partition("!")[0]], config))
        assert not refused, f"{panel}: {refused}"


def refusals(kind: Any, value: Any) -> Iterator[str]:
    """What Foxglove's type of a panel's setting has no place for."""
    either = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    kinds = [each for each in either if each is not NoneType]
    if len(kinds) > 1:  # topics and layers of any kind
        found = [list(refusals(each, value)) for each in kinds]
        yield from min(found, key=len)
    elif dataclasses.is_dataclass(kinds[0]):
        known = {_camel(name): hint for name, hint in get_type_hints(kinds[0]).items()}
        for key, inner in value.items():
            if key in known:
                yield from (f"{key}: {refusal}" for refusal in refusals(known[key], inner))
            else:
                yield f"{key} is unknown"
    elif get_origin(kinds[0]) is dict:
        for key, inner in value.items():
            yield from (f"{key}: {refusal}" for refusal in refusals(get_args(kinds[0])[1], inner))
    elif get_origin(kinds[0]) is tuple:
        if len(value) != len(get_args(kinds[0])):
            yield f"{value} has not {len(get_args(kinds[0]))} numbers"
    elif get_origin(kinds[0]) is Literal:
        if value not in get_args(kinds[0]):
            yield f"{value} is none of {get_args(kinds[0])}"
    elif get_origin(kinds[0]) is list:
        for inner in value:
            yield from refusals(get_args(kinds[0])[0], inner)
    elif not isinstance(value, (int, float) if kinds[0] is float else kinds[0]):
        yield f"{value} is no {kinds[0].__name__}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def test_a_setting_that_foxglove_does_not_know_is_refused() -> None:
    layouts = pytest.importorskip("foxglove.layouts")
    spoilt = {"cameraState": {"phi": "150"}, "followMode": "pose", "topics": {"/cloud": {"visble": True}}}
    assert len(list(refusals(layouts.ThreeDeeConfig, spoilt))) == 3
    assert list(refusals(layouts.ThreeDeeConfig, {"cameraState": {"target": [0, 0]}}))


def test_the_3d_view_is_that_of_the_camera_from_behind_and_above() -> None:
    """By Foxglove's own convention: three.js's spherical coordinates, turned so that their pole is z, which is up."""
    [panel] = [config for name, config in json.loads(LAYOUT.read_text())["configById"].items() if name[:2] == "3D"]
    state = panel["cameraState"]
    assert panel["followTf"] == "camera_color_optical_frame"
    phi, theta = np.deg2rad([state["phi"], -state["thetaOffset"]])
    # Spherical coordinates with the pole y, turned by 90 degrees about x.
    behind = np.array([np.sin(phi) * np.sin(theta), -np.sin(phi) * np.cos(theta), np.cos(phi)])
    eye_m = np.array(state["targetOffset"]) + state["distance"] * behind
    right = np.cross(-behind, [0, 0, 1])
    right /= np.linalg.norm(right)
    up = np.cross(right, -behind)

    assert eye_m[2] < 0 and eye_m[1] < 0, "behind the camera, and above it, as its y points down"
    assert right == pytest.approx([1, 0, 0], abs=1e-6)
    assert up[1] < 0, "what is above in the picture is above in the view"
