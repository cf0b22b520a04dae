"""What instances.json says of a scene."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from instance_seg_ros.core.geometry import OrientedBox
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.instances_json import document_of
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Scene


@pytest.fixture(scope="module")
def make() -> outgoing.MessageFactory:
    return message_factory(load_typestore())


@pytest.fixture
def document(make: outgoing.MessageFactory, make_scene: Callable[..., Scene]) -> dict[str, Any]:
    return json.loads(json.dumps(document_of(outgoing.instance_array(make, make_scene())), allow_nan=False))


def test_it_names_image_camera_model_plane_and_times(document: dict[str, Any]) -> None:
    assert document["image"] == [160, 120]
    assert document["stamp_ns"] == 1_700_000_000_123_456_789
    assert document["frame_id"] == "camera_color_optical_frame"
    assert document["intrinsics"] == {"fx": 150.0, "fy": 150.0, "cx": 79.5, "cy": 59.5}
    assert document["model"] == {"name": "by_hand", "digest": "0" * 64}
    assert document["support_plane"] == {"normal": [0.0, 0.0, -1.0], "offset_m": 0.8}
    assert document["stage_times_s"] == {"segment": 0.05, "lift": 0.01, "grasp": 0.02, "track": 0.001}


def test_an_object_has_its_box_its_place_and_its_grasps(document: dict[str, Any], make_scene: Any) -> None:
    block, lifted = document["instances"][0], make_scene().lifted.instances[0]
    assert (block["label"], block["track_id"], block["class"], block["score"]) == (1, 5, "object", 1.0)
    assert (block["sightings"], block["first_seen_ns"]) == (12, 1_699_999_999_000_000_001)
    assert block["bbox_xyxy"] == [20, 30, 60, 80]
    assert (block["pixels"], block["points"], block["points_rejected"]) == (2000, 2000, 7)
    np.testing.assert_allclose(block["centroid_m"], lifted.centroid_m, atol=1e-6)
    np.testing.assert_allclose(block["surface_centroid_m"], lifted.surface_centroid_m, atol=1e-6)
    np.testing.assert_allclose(block["box"]["center_m"], lifted.centroid_m, atol=1e-6)
    np.testing.assert_allclose(block["box"]["size_m"], lifted.box.size_m, atol=1e-6)
    assert block["box"]["quaternion_xyzw"] == [0.0, 0.0, 0.0, 1.0]
    assert (block["completion"], block["status"], block["reason"]) == ("support_plane", [], None)
    assert block["supported_by"] is None
    best, second = block["grasps"]
    assert (best["quality"], second["quality"], best["checked_against_scene"]) == (0.9, 0.4, True)
    assert (best["approach_distance_m"], best["lift_distance_m"]) == (0.08, 0.1)
    np.testing.assert_allclose(np.mean(best["contacts_m"], axis=0), best["position_m"], atol=1e-6)
    assert best["width_m"] == pytest.approx(lifted.box.size_m[0], abs=1e-6)


def test_what_the_frame_does_not_show_is_named(document: dict[str, Any]) -> None:
    assert document["unseen_tracks"] == [
        {
            "track_id": 3,
            "sightings": 7,
            "first_seen_ns": 1_000_000_002,
            "last_seen_ns": 3_000_000_004,
            "seen_empty": 2,
        }
    ]


def test_what_is_not_known_is_null_with_the_reason(document: dict[str, Any]) -> None:
    unknown = document["instances"][1]
    assert unknown["bbox_xyxy"] == [90, 40, 130, 70]
    assert [unknown[key] for key in ("centroid_m", "surface_centroid_m", "box", "supported_by")] == [None] * 4
    assert (unknown["points"], unknown["points_rejected"], unknown["grasps"]) == (0, 1200, [])
    assert "too few" in unknown["reason"]
    assert unknown["status"]


def test_the_covariance_of_a_centre_is_there_where_the_centre_is(
    make: outgoing.MessageFactory, make_scene: Callable[..., Scene]
) -> None:
    scene = make_scene()
    block, unknown = scene.lifted.instances
    covariance_m2 = 1e-8 * np.array([[64.0, 2, 3], [2, 64, 5], [3, 5, 100]])  # standard deviations of 0.8 to 1 mm
    measured = replace(block, centroid_covariance_m2=covariance_m2)
    scene = replace(scene, lifted=replace(scene.lifted, instances=(measured, unknown)))
    placed, not_placed = document_of(outgoing.instance_array(make, scene))["instances"]
    assert placed["centroid_covariance_m2"] == pytest.approx(covariance_m2.reshape(-1).tolist(), rel=1e-3)
    assert not_placed["centroid_covariance_m2"] is None


def test_bounds_of_a_box_are_there_where_the_box_is(
    make: outgoing.MessageFactory, make_scene: Callable[..., Scene]
) -> None:
    scene = make_scene()
    block, unknown = scene.lifted.instances
    assert block.box is not None
    larger = OrientedBox(block.box.T_camera_box, 2 * block.box.size_m)
    bounded = replace(block, inner_box=block.box, outer_box=larger)
    scene = replace(scene, lifted=replace(scene.lifted, instances=(bounded, unknown)))
    placed, not_placed = document_of(outgoing.instance_array(make, scene))["instances"]
    assert placed["inner_box"] == placed["box"]
    assert placed["outer_box"]["size_m"] == pytest.approx((2 * block.box.size_m).tolist(), abs=1e-4)
    assert not_placed["inner_box"] is not_placed["outer_box"] is None


def test_without_a_plane_it_is_null(make: outgoing.MessageFactory, make_scene: Callable[..., Scene]) -> None:
    empty = document_of(outgoing.instance_array(make, make_scene(empty=True)))
    assert (empty["support_plane"], empty["instances"]) == (None, [])
