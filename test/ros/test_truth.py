"""The judge of what the node publishes: it finds no fault in what is right, and each fault in what is not."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import GraspingSettings, GripperSettings, LiftingSettings, TrackingSettings
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.learning.synthetic.tabletop import SimulatedFrame, SimulatedTabletop
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.camera import camera_info
from instance_seg_ros.pipeline import Pipeline, Scene
from instance_seg_ros.results.panoptic import panoptic_image
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.ros.markers import marker_array
from instance_seg_ros.segmentation import ModelInfo
from instance_seg_ros.tracking.tracker import Tracker

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "truth.py"


@pytest.fixture(scope="module")
def truth() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("truth", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["truth"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class TrueMasks:
    """A segmenter that knows."""

    info = ModelInfo("truth", "1", ("object",), 0.5, 0.5, "f" * 64)
    backend = "none"
    ids: Any = None

    def segment(self, frame: Any) -> Instances:
        """The objects under their true masks."""
        return Instances.from_labels(self.ids)


@pytest.fixture(scope="module")
def seen(truth: ModuleType) -> list[tuple[SimulatedFrame, Scene]]:
    """Some frames of a table."""
    return frames_of(truth, seed=1)


def frames_of(truth: ModuleType, seed: int) -> list[tuple[SimulatedFrame, Scene]]:
    """Some frames of a table, and what the pipeline makes of them under true masks."""
    segmenter = TrueMasks()
    pipeline = Pipeline(
        segmenter,
        Lifter(LiftingSettings()),
        GraspSampler(GraspingSettings(), GripperSettings()),
        Tracker(TrackingSettings()),
    )
    table = SimulatedTabletop(seed=seed, size_wh=(320, 240), sensor=truth.SENSOR)
    frames = []
    for _, true in zip(range(3), table, strict=False):
        frame = replace(true.frame, stamp_ns=true.frame.stamp_ns + 1)
        segmenter.ids = true.ids
        frames.append((true, pipeline.run(frame)))
    return frames


def published(truth: ModuleType, scene: Scene) -> Any:
    header = outgoing.header(make_message, scene.frame.stamp_ns, scene.frame.frame_id)
    return truth.Published(
        outgoing.instance_array(make_message, scene),
        outgoing.label_image(make_message, scene),
        outgoing.panoptic_image(make_message, scene, panoptic_image(scene)),
        outgoing.cloud(make_message, scene),
        marker_array(scene, header, 1.0),
        camera_info(make_message, header, scene.frame.intrinsics),
    )


def spoil(name: str) -> Callable[[Any], object]:
    """What makes a fault in what is published."""

    def first(outputs: Any) -> Any:
        return next(each for each in outputs.instances.instances if each.grasps)

    spoils: dict[str, Callable[[Any], object]] = {
        "another stamp or frame": lambda o: setattr(o.cloud.header, "frame_id", "map"),
        "another camera": lambda o: setattr(o.instances, "fx", 2 * o.instances.fx),
        "labels or ids that are not unique": lambda o: setattr(
            o.instances.instances[0], "track_id", o.instances.instances[1].track_id
        ),
        "a label that no other instance has": lambda o: setattr(first(o), "occluded_by", [99]),
        "a support that contradicts itself": lambda o: setattr(first(o), "removal_order", 0),
        "a score or quality out of its range or order": lambda o: setattr(first(o), "score", 1.5),
        "a grasp that does not open as far as it closes": lambda o: setattr(first(o).grasps[0], "opening_m", 0.0),
        "a number that is not finite": lambda o: setattr(first(o).grasps[0].pose.position, "x", np.nan),
        "a mask that is not its label's": lambda o: setattr(first(o).region, "x_offset", first(o).region.x_offset - 1),
        "a panoptic image of other instances": lambda o: setattr(o.panoptic_image, "data", o.label_image.data[::-1]),
        "a cloud of other points than the instances": lambda o: setattr(first(o), "points_kept", 1),
        "markers that leave those of before": lambda o: o.markers.markers.pop(0),
        "markers of other instances": lambda o: o.markers.markers.pop(1),
    }
    return spoils[name]


def test_what_the_pipeline_makes_of_true_masks_agrees_with_itself_and_is_true(
    truth: ModuleType, seen: list[tuple[SimulatedFrame, Scene]]
) -> None:
    judged = truth.Truth()
    for true, scene in seen:
        outputs, frame = published(truth, scene), scene.frame
        assert not list(truth.faults_of(outputs, frame.stamp_ns, frame.frame_id, frame.intrinsics))
        judged.add(outputs, true)
    assert not list(judged.faults())
    assert judged.seen >= 9 and judged.switches == judged.swaps == 0


def test_what_lies_on_a_thin_board_and_beside_it_in_small_images_is_on_level_planes(truth: ModuleType) -> None:
    """A cup that leans on the board's rim is 4 sigma off, which two numbers of 63 are enough to tell."""
    judged = truth.Truth()
    for true, scene in frames_of(truth, seed=0):
        outputs, frame = published(truth, scene), scene.frame
        assert not list(truth.faults_of(outputs, frame.stamp_ns, frame.frame_id, frame.intrinsics))
        judged.add(outputs, true)
    assert max(judged.tilt_deg) < 0.2
    assert judged.beyond(truth.FAR_BEYOND) < 0.04 and judged.seen == 21


@pytest.mark.parametrize(
    "name",
    [
        "another stamp or frame",
        "another camera",
        "labels or ids that are not unique",
        "a label that no other instance has",
        "a support that contradicts itself",
        "a score or quality out of its range or order",
        "a grasp that does not open as far as it closes",
        "a number that is not finite",
        "a mask that is not its label's",
        "a panoptic image of other instances",
        "a cloud of other points than the instances",
        "markers that leave those of before",
        "markers of other instances",
    ],
)
def test_each_contradiction_is_told(name: str, truth: ModuleType, seen: list[tuple[SimulatedFrame, Scene]]) -> None:
    scene = seen[0][1]
    outputs = published(truth, scene)
    spoil(name)(outputs)
    told = list(truth.faults_of(outputs, scene.frame.stamp_ns, scene.frame.frame_id, scene.frame.intrinsics))
    assert name in told


def test_what_is_said_of_a_camera_that_stands_elsewhere_is_not_true(
    truth: ModuleType, seen: list[tuple[SimulatedFrame, Scene]]
) -> None:
    judged, aside = truth.Truth(), Transform.from_quaternion((0.03, 0.0, 0.0, 1.0), (0.05, 0.0, 0.0))
    for true, scene in seen:
        judged.add(published(truth, scene), replace(true, T_world_camera=true.T_world_camera @ aside))
    told = " ".join(judged.faults())
    assert "beyond 3.29 standard deviations" in told and "tilted" in told


@pytest.mark.parametrize(
    ("off_sigma", "axes", "told"),
    [
        (1.7, 300, []),
        (1.7, 310, ["10.3 % of centres' axes beyond 1.645 standard deviations"]),
        (6.0, 45, []),
        (6.0, 48, ["1.6 % of centres' axes beyond 3.29 standard deviations"]),
    ],
)
def test_more_centres_off_than_their_covariance_says_are_told(
    off_sigma: float, axes: int, told: list[str], truth: ModuleType
) -> None:
    off = np.zeros(3000)
    off[:axes] = off_sigma
    judged = truth.Truth(seen=1000, off_m=[0.0], cloud_off_m=[0.0], off_sigma=[*off.reshape(1000, 3)])
    assert list(judged.faults()) == told


def test_ids_that_go_from_object_to_object_and_clouds_beside_the_surface_are_told(
    truth: ModuleType, seen: list[tuple[SimulatedFrame, Scene]]
) -> None:
    judged = truth.Truth()
    for step, (true, scene) in enumerate(seen):
        outputs = published(truth, scene)
        ids = [each.track_id for each in outputs.instances.instances]
        for each, track_id in zip(outputs.instances.instances, np.roll(ids, step), strict=True):
            each.track_id = int(track_id)
        judged.add(outputs, replace(true, clean_depth_m=true.clean_depth_m + np.float32(0.01)))
    told = " ".join(judged.faults())
    assert "those of another object" in told and "off the surface" in told


class BeganError(Exception):
    """Instead of ROS's beginning."""


def test_other_nodes_of_the_machine_are_not_heard(truth: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin() -> None:
        raise BeganError

    monkeypatch.setattr(truth.rclpy, "init", begin)
    for name in truth.isolated_environment():
        monkeypatch.setenv(name, os.environ.get(name, ""))  # as it was after the test
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    with pytest.raises(BeganError):
        truth.run(1.0, 1, (64, 48), 1, "onnxruntime", tf=False)
    assert int(os.environ["ROS_DOMAIN_ID"]) > 0
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"


def test_the_node_tells_the_truth_between_processes() -> None:
    command = [sys.executable, str(SCRIPT), "--frames", "5", "--seed", "1", "--size", "320x240"]
    command += ["--backend", "onnxruntime"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "nothing was wrong" in found.stdout
