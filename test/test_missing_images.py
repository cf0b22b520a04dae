"""What the shipped model and the stages behind it make of a camera that gives less than it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.parameters import PipelineSettings, SegmentationSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.learning.evaluation.metrics import image_metrics
from instance_seg_ros.learning.synthetic.tabletop import SimulatedFrame, SimulatedTabletop
from instance_seg_ros.pipeline import Pipeline, Scene


@pytest.fixture(scope="module")
def simulated() -> SimulatedFrame:
    return next(SimulatedTabletop(3, (640, 480)))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.from_settings(PipelineSettings(segmentation=SegmentationSettings(backend="onnxruntime")))


def found_share(scene: Scene, simulated: SimulatedFrame) -> float:
    ids = simulated.ids
    truth = np.stack([ids == value for value in np.unique(ids[ids > 0]) if (ids == value).sum() > 400])
    return image_metrics(truth, scene.instances.masks).found_share


def with_striped_depth(frame: RgbdFrame) -> RgbdFrame:
    """Every other band of 8 columns is lost."""
    depth_m = frame.depth_m.copy()
    depth_m[:, (np.arange(depth_m.shape[1]) // 8) % 2 == 0] = 0
    return replace(frame, depth_m=depth_m)


def test_without_colour_objects_are_still_found_from_depth(pipeline: Pipeline, simulated: SimulatedFrame) -> None:
    whole, without = (
        found_share(pipeline.run(replace(simulated.frame, color_rgb=color)), simulated)
        for color in (simulated.frame.color_rgb, None)
    )
    assert whole >= 0.75
    assert without >= 0.5


def test_a_black_image_is_no_colour(pipeline: Pipeline, simulated: SimulatedFrame) -> None:
    black = np.zeros((480, 640, 3), dtype=np.uint8)
    without, dark = (pipeline.run(replace(simulated.frame, color_rgb=color)) for color in (None, black))
    assert (without.instances.label_image() == dark.instances.label_image()).all()


def test_with_half_of_the_depth_what_is_found_is_placed_in_space(pipeline: Pipeline, simulated: SimulatedFrame) -> None:
    scene = pipeline.run(with_striped_depth(simulated.frame))
    placed = [item for item in scene.objects() if not item.status & Status.TOO_FEW_POINTS]
    assert placed
    assert all(np.isfinite(item.lifted.centroid_m).all() for item in placed)


@pytest.mark.parametrize("colour", [True, False])
def test_without_depth_nothing_is_placed_in_space_and_each_object_says_why(
    pipeline: Pipeline, simulated: SimulatedFrame, colour: bool
) -> None:
    frame = replace(
        simulated.frame,
        depth_m=np.zeros_like(simulated.frame.depth_m),
        color_rgb=simulated.frame.color_rgb if colour else None,
    )
    scene = pipeline.run(frame)
    assert all(item.status & Status.TOO_FEW_POINTS for item in scene.objects())
    assert not any(item.grasps for item in scene.objects())
