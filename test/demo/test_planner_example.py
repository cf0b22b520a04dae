"""What the planner-like subscriber makes of an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from instance_seg_ros.demo.planner_example import ReceivedFrame, failure_of, table_of, write_frame
from instance_seg_ros.files.result_files import scene_document
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.camera import color_image, depth_image
from instance_seg_ros.messages.instances_json import document_of
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.overlay import draw_overlay
from instance_seg_ros.ros.convert import make_message


@pytest.fixture
def received(make_scene: Callable[..., Scene]) -> ReceivedFrame:
    """A scene as it arrives over the topics."""
    scene = make_scene()
    answer = outgoing.instance_array(make_message, scene, frame_age_s=0.123)
    assert scene.frame.color_rgb is not None
    images = {
        "overlay": outgoing.overlay_image(make_message, scene, draw_overlay(scene)),
        "labels": outgoing.label_image(make_message, scene),
        "color": color_image(make_message, answer.header, scene.frame.color_rgb),
        "depth": depth_image(make_message, answer.header, scene.frame.depth_m),
    }
    return ReceivedFrame(answer, images)


def test_the_table_tells_what_a_planner_wants_to_know(received: ReceivedFrame) -> None:
    headline, _, _, known, unknown = table_of(received.answer, 7).strip().splitlines()

    assert headline.startswith("frame 7, stamp 1700000000.123456789: 2 instance(s), age 123 ms (segment 50, lift 10")
    assert re.split("  +", known) == [
        "5",
        "object",
        "1.00",
        "0.77 m",
        "18.2 x 22.9 x 10.0",
        "quality 0.90, width 18.2 cm",
        "ok",
    ]
    assert re.split("  +", unknown)[3:] == ["unknown", "unknown", "none", "too_few_points, no_grasp_candidate"]


def test_the_table_of_an_empty_answer_is_its_headline_with_the_reason(make_scene: Callable[..., Scene]) -> None:
    answer = outgoing.instance_array(make_message, make_scene(empty=True))
    answer.status_text = "nothing to see"

    assert table_of(answer, 1).strip().endswith("nothing to see")
    assert len(table_of(answer, 1).strip().splitlines()) == 1


def test_the_document_of_an_answer_says_what_the_document_of_its_scene_says(make_scene: Callable[..., Scene]) -> None:
    of_message = document_of(outgoing.instance_array(make_message, make_scene()))
    of_scene = scene_document(make_scene())
    assert of_scene["model"].pop("version") == "1"
    assert json.loads(json.dumps(of_message)) == json.loads(json.dumps(of_scene))


def test_the_files_hold_what_came_over_the_topics(received: ReceivedFrame, tmp_path: Path) -> None:
    write_frame(received, tmp_path)

    labels = cv2.imread(str(tmp_path / "labels.png"), cv2.IMREAD_UNCHANGED)
    overlay_bgr = cv2.imread(str(tmp_path / "overlay.png"))
    assert (labels.dtype, sorted(np.unique(labels).tolist())) == (np.uint16, [0, 1, 2])
    np.testing.assert_array_equal(
        overlay_bgr.reshape(-1), np.frombuffer(received.images["overlay"].data, dtype=np.uint8)
    )
    header, _, body = (tmp_path / "scene.ply").read_bytes().partition(b"end_header\n")
    vertices = int(header.split(b"element vertex ")[1].split()[0])
    assert vertices == 160 * 115  # the top five rows have no depth
    assert len(body) == vertices * (3 * 4 + 3 + 2)
    assert json.loads((tmp_path / "instances.json").read_text())["instances"][1]["centroid_m"] is None


def test_a_frame_is_complete_with_its_answer_and_all_images(received: ReceivedFrame) -> None:
    assert received.complete
    assert not ReceivedFrame(received.answer, {"overlay": received.images["overlay"]}).complete
    assert not ReceivedFrame(None, received.images).complete


@pytest.mark.parametrize(
    ("level", "node", "failure"),
    [
        (DiagnosticStatus.ERROR, "/instance_seg", "instance_seg: model: no such file"),
        (DiagnosticStatus.WARN, "/instance_seg", None),
        (DiagnosticStatus.ERROR, "/battery", None),
    ],
)
def test_only_an_error_of_the_segmentation_node_is_its_failure(level: bytes, node: str, failure: str | None) -> None:
    status = DiagnosticStatus(level=level, name=f"{node[1:]}: model", message="no such file", hardware_id=node)
    assert failure_of(DiagnosticArray(status=[status]), "/instance_seg") == failure
