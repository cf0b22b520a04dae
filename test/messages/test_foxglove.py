"""What Foxglove shows of a scene, judged by readers of MCAP and by Foxglove's own types."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instance_seg_ros.bags.writer import new_bag
from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.messages import foxglove
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Scene

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
    assert {fact.key: fact.value for fact in entity.metadata}["grasps"] == "2"


def test_an_empty_scene_removes_what_was_there(make_scene: Callable[..., Scene], typestore: Any) -> None:
    make = message_factory(typestore)
    update = foxglove.scene_update(make, make_scene(empty=True))
    assert (len(update.deletions), update.entities) == (1, [])
    assert foxglove.image_annotations(make, make_scene(empty=True)).points == []


@pytest.mark.parametrize("name", list(foxglove.DEFINITIONS))
def test_every_field_is_one_of_foxgloves_own_type(name: str) -> None:
    schemas = pytest.importorskip("foxglove.messages")
    own = re.findall(r"^\S+ ([a-z_]+)$", foxglove.DEFINITIONS[name], re.MULTILINE)
    theirs = re.findall(r"(\w+)=", getattr(schemas, name).__text_signature__)
    assert own and set(own) <= set(theirs)


def test_the_layout_shows_the_topics_of_the_node_and_of_a_bag() -> None:
    layout = json.loads(LAYOUT.read_text())
    panels = set(re.findall(r'"(?:first|second)": "([^"]+)"', LAYOUT.read_text()))
    assert panels == set(layout["configById"])
    shown = set(re.findall(r"/instance_seg/([\w/]+)", LAYOUT.read_text()))
    assert shown <= {"cloud", "scene", "markers", "annotations", "camera_info", "overlay/compressed"}
